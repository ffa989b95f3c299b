"""The page docs/from_pytorch.md runs as written, on a small checkpoint in the place of the released one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swmjax.checkpoints import read_state_dict

PAGE = Path(__file__).parents[2] / "docs" / "from_pytorch.md"
GOLDEN = Path(__file__).parents[1] / "golden"
PROGRAM = "from swmjax.cli.app import main; main()"


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(GOLDEN / "lewm_mini_hf5", checkpoints / "models--quentinll--lewm-pusht")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "STABLEWM_HOME": str(tmp_path)}

    def run(code: str, *arguments: str) -> str:
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "bash", "bash", "text", "python", "python"]
    for line in (line for language, code in blocks if language == "bash" for line in code.splitlines()):
        program, *arguments = shlex.split(line)
        assert program == "swmjax"
        run(PROGRAM, *arguments)
    printed = run("\n".join(code for language, code in blocks if language == "python"))
    assert "cost " in printed
    x, y = map(float, re.search(r"ends at \[ *(\S+) +(\S+?) *\]", printed).groups())
    assert max(abs(x - 1), abs(y - 1)) < 0.05
    exported = read_state_dict(checkpoints / "lewm-pusht-torch" / "weights.pt")
    assert exported.keys() == read_state_dict(GOLDEN / "lewm_mini_hf5" / "weights.pt").keys()
    assert (tmp_path / "results" / "first-try" / "results.json").is_file()
    made = {"lewm-pusht", "lewm-pusht-torch", "lewm-pusht-half", "lewm-pusht-tuned", "models--quentinll--lewm-pusht"}
    assert {entry.name for entry in checkpoints.iterdir()} == made
