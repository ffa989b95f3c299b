"""The interpreter that has the reference, for live comparisons."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def reference_python() -> str:
    """Its path; the test is skipped where there is none."""
    python = os.environ.get("SWMJAX_REFERENCE_PYTHON")
    if not python:
        pytest.skip("SWMJAX_REFERENCE_PYTHON does not name an interpreter that has the reference")
    return python


def run_reference(code: str, *arguments: str | Path) -> str:
    """What a program prints there."""
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [reference_python(), "-c", code, *map(str, arguments)], capture_output=True, text=True, env=quiet, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
