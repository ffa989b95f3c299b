"""Ten thousand damaged and hostile `.pt` files: an error or plain arrays, with bounded work, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swmjax.checkpoints.torch.pickle_subset import MAX_OPERATIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited through what Linux tells of it")


def read_hostile(folder: Path, count: int) -> None:
    command = [sys.executable, Path(__file__).with_name("hostile.py"), folder, str(count)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    print(told)
    assert told["wrong"] == {}
    assert told["survived"] == []
    assert told["counts"]["refused"] > count // 2
    assert told["longest"][1] <= MAX_OPERATIONS, told["longest"]
    # A second on a fast machine that does nothing else.
    assert told["slowest"][1] < 30.0, told["slowest"]


def test_some_hostile_files(tmp_path: Path) -> None:
    read_hostile(tmp_path, 400)


@pytest.mark.slow
def test_ten_thousand_hostile_files(tmp_path: Path) -> None:
    read_hostile(tmp_path, 10_400)
