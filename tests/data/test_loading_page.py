"""docs/loading.md: its Python runs as it stands, on a small dataset."""

import re
from pathlib import Path

import numpy as np
import pytest

from swmjax.data import LanceWriter

for package in ("lance", "grain", "simplejpeg"):
    pytest.importorskip(package, reason="needs swmjax[data]")
PAGE = (Path(__file__).parents[2] / "docs" / "loading.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    with LanceWriter("pusht.lance") as writer:
        for number in range(3):
            pixels = np.full((100, 8, 8, 3), number, np.uint8)
            writer.write_episode({"pixels": pixels, "action": np.zeros((100, 2), np.float32)})
    shown = {}
    for block in BLOCKS:
        exec(block.replace("/tmp/run", str(tmp_path)), shown)
    assert capsys.readouterr().out == "(64, 4, 8, 8, 3) (64, 4, 10)\n" * 3
    expected = iter(shown["loader"])
    next(expected)
    np.testing.assert_array_equal(next(shown["again"])["pixels"], next(expected)["pixels"])
    assert shown["buffer"].sample(32)["observation"].shape == (32, 4, 3)
    assert [entry.name[:6] for entry in (tmp_path / "home" / "snapshots").iterdir()] == ["pusht-"]
    assert len(shown["windows"]) == 243
