"""Programs of users, seen by mypy and pyright as where swmjax is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import envs_mjx
import swmjax
from swmjax.planning import SOLVERS

HERE = Path(__file__).parent
PROGRAMS = ("plans.py", "mistakes.py")


@pytest.fixture
def user(tmp_path):
    """A folder with nothing but the programs, and an environment in which the packages are installed."""
    site = tmp_path / "site"
    site.mkdir()
    for package in (swmjax, envs_mjx):
        folder = Path(package.__file__).parent
        (site / folder.name).symlink_to(folder)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text((HERE / name).read_text())

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(site), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        command = [sys.executable, "-m", *command]
        return subprocess.run(
            command, cwd=programs, env=environment, capture_output=True, text=True, check=False
        ).stdout

    return run


def mistakes():
    lines = (HERE / "mistakes.py").read_text().splitlines()
    return {("mistakes.py", number) for number, line in enumerate(lines, 1) if line.endswith("# mistake")}


def test_every_solver_is_in_the_program():
    program = (HERE / "plans.py").read_text()
    assert [one.__name__ for one in SOLVERS.values() if f"solve({one.__name__}(" not in program] == []


def test_mypy(user):
    found = user("mypy", "--strict", "--config-file=", "--output=json", "--hide-error-context", *PROGRAMS)
    errors = [json.loads(line) for line in found.splitlines() if line.startswith("{")]
    assert {(one["file"], one["line"]) for one in errors if one["severity"] == "error"} == mistakes(), found


def test_pyright(user):
    found = user("pyright", "--outputjson", "--pythonpath", sys.executable, *PROGRAMS)
    errors = [one for one in json.loads(found)["generalDiagnostics"] if one["severity"] == "error"]
    assert {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in errors} == mistakes(), found
