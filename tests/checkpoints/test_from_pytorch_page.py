"""The page docs/from_pytorch.md runs as written, on a small checkpoint in the place of the released one."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swmjax.checkpoints import read_state_dict
from swmjax.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "from_pytorch.md"
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(GOLDEN / "lewm_mini_hf5", checkpoints / "models--quentinll--lewm-pusht")
    names: dict[str, Any] = {}
    ran = []
    for language, code in re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        if language == "bash":
            for line in code.splitlines():
                program, *arguments = shlex.split(line)
                done = CliRunner().invoke(app, arguments, catch_exceptions=False)
                assert (program, done.exit_code) == ("swmjax", 0), done.output
                print(line, done.stdout)
        elif language == "python":
            exec(compile(code, PAGE.name, "exec"), names)
        ran.append(language)
    assert ran == ["bash", "python", "bash", "bash", "text", "python", "python"]
    printed = capsys.readouterr().out
    assert "cost " in printed
    x, y = map(float, re.search(r"ends at \[ *(\S+) +(\S+)\]", printed).groups())
    assert abs(x - 1) < 0.05 > abs(y - 1)
    exported = read_state_dict(checkpoints / "lewm-pusht-torch" / "weights.pt")
    assert exported.keys() == read_state_dict(GOLDEN / "lewm_mini_hf5" / "weights.pt").keys()
    assert (tmp_path / "results" / "first-try").is_dir()
    made = {"lewm-pusht", "lewm-pusht-torch", "lewm-pusht-half", "lewm-pusht-tuned", "models--quentinll--lewm-pusht"}
    assert {entry.name for entry in checkpoints.iterdir()} == made
