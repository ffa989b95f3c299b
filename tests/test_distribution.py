"""What a source distribution holds, and the bounds of what the package needs."""

import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOWER_BOUNDS = ROOT / "tools" / "lower_bounds"


def test_the_source_distribution_holds_all_that_its_tests_need(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    for folder in (".ci", "benchmarks", "configs", "docs", "envs_mjx", "examples", "swmjax", "tests", "tools"):
        there = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert there, folder
        assert there <= held, sorted(there - held)
    assert {"README.md", "LICENSE", "pyproject.toml", "requirements.lock"} <= held


def bounds(extras=None):
    """Requirements of the package, or of one of its extras."""
    listed = PROJECT["dependencies"] if extras is None else PROJECT["optional-dependencies"][extras]
    return [Requirement(text) for text in listed if not text.startswith("swmjax[")]


def test_every_dependency_has_one_lower_bound_that_the_lock_satisfies():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    lowest = {}
    for extra in (None, *PROJECT["optional-dependencies"]):
        for requirement in bounds(extra):
            (low,) = [one.version for one in requirement.specifier if one.operator == ">="]
            assert lowest.setdefault(requirement.name, low) == low, f"{requirement.name} has several lower bounds"
            version = locked.get(requirement.name)
            assert version is None or requirement.specifier.contains(version), f"{requirement} is locked to {version}"
    assert set(locked) >= {requirement.name for extra in (None, "dev") for requirement in bounds(extra)}
    listed = subprocess.run([sys.executable, LOWER_BOUNDS, "--list"], capture_output=True, text=True, check=True).stdout
    assert dict(line.split("==") for line in listed.split()).items() <= lowest.items()
    assert {"mujoco==3.17", "mujoco-mjx==3.17"} <= set(listed.split())


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lowest versions are those for the lowest Python")
def test_the_lowest_versions_work_together():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, LOWER_BOUNDS], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the lowest versions work" in done.stdout
