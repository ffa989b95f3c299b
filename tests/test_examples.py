"""Every example runs as it stands and prints something; `compare_solvers.py` on one problem with two solvers.

`navigation.py` is the problem that the others share.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "navigation")
OPTIONS = {"compare_solvers.py": ["--problems=1", "--solvers=cem,categorical_cem"]}


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in EXAMPLES])
def test_examples_run(path, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(path), *OPTIONS.get(path.name, [])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    # Figures are written where the example is run, and nothing else is.
    assert all(file.suffix == ".png" for file in tmp_path.iterdir())
