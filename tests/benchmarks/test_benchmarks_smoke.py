"""The benchmark scripts run, and print what they promise; the figures of such small runs mean nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), "--quick", "--repeats", "2", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for fact in ("date", "processor", "JAX devices", "versions", "float32", "compile s"):
        assert fact in done.stdout
    return done.stdout


def test_planning(tmp_path):
    output = tmp_path / "results" / "planning.txt"
    printed = run("planning.py", "--output", str(output))
    number = r"[\d,.]+ \([\d,.]+\.\.[\d,.]+\)"
    assert re.search(rf"plan, frames to actions +│ +[\d.]+ │ +{number} │ +- │", printed)
    assert re.search(rf"encoding frame and goal +│ +[\d.]+ │ +{number} │ +- │", printed)
    assert re.search(rf"Candidates scored per second here: {number}", printed)
    assert "Reference skipped: --reference-python is not given" in printed
    assert output.read_text() == printed[: printed.index("Written to")]


def test_envs(tmp_path):
    absent = tmp_path / "python"
    printed = run("envs.py", "--envs", "PushT-v1", "--host-devices", "2", "--reference-python", str(absent))
    for devices in (1, 2):
        assert re.search(rf"control steps +│ swmjax +│ +4 │ +{devices} │", printed)
    assert re.search(r"frames of 224 x 224 px +│ swmjax +│ +2 │ +1 │", printed)
    assert f"Reference skipped: {absent} does not exist" in printed


def test_solvers():
    printed = run("solvers.py")
    for name in ("LeWM: pgd", "LeWM: lagrangian", "PushT physics: mppi"):
        assert re.search(rf"{name} +│ [\d x]+│ +[\d.]+ │", printed)
    assert re.search(r"us an iteration", printed)
    assert re.search(r"one after the other +│ [\d.]+ ", printed)


def test_command():
    command = [sys.executable, str(BENCHMARKS / "command.py"), "--repeats", "2", "--checkout", str(BENCHMARKS.parent)]
    command += ["--", "swm/TwoRoom-v1", "--episodes=2", "--no-video", "--set=solver.num_samples=16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = re.findall(r"(cold|warm) +│ +(here|there) +│ +([\d.]+) \(.*│ +\d of 2 │", done.stdout)
    assert [row[:2] for row in rows] == [("cold", "here"), ("cold", "there"), ("warm", "here"), ("warm", "there")]
    assert float(rows[0][2]) > float(rows[2][2]) > 0
