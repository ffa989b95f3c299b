"""A save that is killed at any point leaves the checkpoint that was there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"

# Every child loads what the one before it left, then begins a save over it and dies in the middle: at the n-th time
# that Python touches a file, or at a moment of the parent's choice while Orbax writes. Forks, before JAX has started
# any thread, save the seconds that imports take.
PROGRAM = """
import json, os, random, signal, sys, time, warnings
warnings.simplefilter("ignore")
import jax, numpy as np
import orbax.checkpoint
from swmjax.checkpoints import load_pretrained, save_pretrained

origin, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree")


def child(number, die_at, ready):
    os.environ["JAX_PLATFORMS"] = "cpu"
    model = load_pretrained(origin)
    found = load_pretrained(folder) if os.path.exists(folder + "/config.json") else None
    value = None if found is None else float(found.scale.value[...][0])
    for name in ("dynamics", "qs"):
        if found is not None:
            for ours, theirs in zip(*(jax.tree.leaves(getattr(m, name)) for m in (found, model)), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    model.scale.value.set_value(model.scale.value[...] * 0 + number)
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in EVENTS and folder in str(arguments):
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    if die_at:
        sys.addaudithook(hook)
    os.write(ready, json.dumps(value).encode() + b"\\n")
    begin = time.monotonic()
    save_pretrained(model, folder, overwrite=True)
    os.write(ready, f"{time.monotonic() - begin}\\n".encode())


def run(number, die_at=0, after=None):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            child(number, die_at, write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as lines:
        value = json.loads(lines.readline() or '"could not load what was there"')
        if after is not None:
            time.sleep(after)
            os.kill(pid, signal.SIGKILL)
        rest = lines.read()
    status = os.waitpid(pid, 0)[1]
    return value, float(rest) if rest else None, status


draw = random.Random(0)
value, seconds, status = run(1)
assert (value, status) == (None, 0), (value, status)
known, killed = [1.0], 0
for number in range(2, count + 2):
    at_event = number % 2 == 0
    die_at = draw.randrange(1, 60) if at_event else 0
    value, done, status = run(number, die_at, None if at_event else draw.uniform(0, 1.2) * seconds)
    # What loads is what was there, or the model of the save that died, if it died late enough.
    assert value in known, (number, value, known)
    known = [number] if done is not None else [value, number]
    killed += os.WIFSIGNALED(status)
value, done, status = run(count + 2)
assert value in known and status == 0, (value, known, status)
print(json.dumps({"killed": killed, "left": sorted(os.listdir(folder))}))
"""


def killed_saves(folder: Path, count: int) -> None:
    command = [sys.executable, "-c", PROGRAM, GOLDEN / "tdmpc2_state", folder, str(count)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["killed"] >= count // 3
    assert [name.split("-")[0] for name in told["left"]] == ["arrays", "config.json"]


def test_a_few_killed_saves(tmp_path: Path) -> None:
    killed_saves(tmp_path / "run", 4)


@pytest.mark.slow
def test_many_killed_saves(tmp_path: Path) -> None:
    killed_saves(tmp_path / "run", 150)
