"""A process that writes is killed at any moment: nothing committed is lost, and nothing half-written is returned."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from data_episodes import episode, joined, read, write

from swmjax.data.formats import get_format

pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")
pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")
pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")

PATHS = {"lance": "set.lance", "hdf5": "set.h5", "folder": "set", "video": "clips", "lance_video": "frames"}

_WRITER = """
import sys
from data_episodes import episode
from swmjax.data.formats import get_format, groups

groups.BYTES, groups.MOST = 1, 3
form, path, first = get_format(sys.argv[1]), sys.argv[2], int(sys.argv[3])
mode = sys.argv[4]
print("ready", flush=True)
while True:
    with form.writer(path, mode) as writer:
        for _ in range(5):
            number = writer.episodes if mode == "append" else first
            writer.write_episode(episode(3 + number % 3, number))
            print(writer.committed, flush=True)
            first += mode != "append"
    first = 0
"""


def killed(form, path, first, mode, after):
    """What a writer has said that was committed before it was killed, so many seconds after its first commit."""
    command = [sys.executable, "-c", _WRITER, form, str(path), str(first), mode]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split()
        assert process.wait() == -signal.SIGKILL
    return [int(each) for each in said]


def check(form, path, least):
    """Every episode that is there is whole; there are at least so many. Returns how many."""
    if not path.exists():
        assert least == 0
        return 0
    found, lengths = read(form, path)
    assert len(lengths) >= least
    episodes = [episode(3 + number % 3, number) for number in range(len(lengths))]
    assert lengths == [len(one["action"]) for one in episodes]
    np.testing.assert_array_equal(found["count"].reshape(-1), joined(episodes, "count"))
    np.testing.assert_array_equal(found["action"], joined(episodes, "action"))
    np.testing.assert_array_equal(found["task"], joined(episodes, "task"))
    away = np.abs(found["pixels"].astype(int) - joined(episodes, "pixels")).mean(axis=(1, 2, 3))
    assert away.max() < 3
    return len(lengths)


def trial(form, path, rng, first, mode):
    said = killed(form, path, first, mode, rng.uniform(0, 0.8) ** 2)
    count = check(form, path, max([first if mode == "append" else 0, *said[-1:]]) if mode == "append" else 0)
    # The next writer goes on behind all that is there.
    write(form, path, [episode(3 + count % 3, count)], "append")
    assert check(form, path, count + 1) == count + 1
    assert os.listdir(path.parent) == [path.name]
    return count + 1


@pytest.mark.parametrize("form", PATHS)
def test_a_kill_takes_nothing_that_was_committed(form, tmp_path):
    path = tmp_path / "deep" / PATHS[form]
    path.parent.mkdir()
    trial(form, path, random.Random(form), 0, "append")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("form", PATHS)
def test_kills_at_any_moment(form, mode, tmp_path):
    rng, path, count = random.Random(f"{form} {mode}"), tmp_path / "deep" / PATHS[form], 0
    path.parent.mkdir()
    for i in range(10):
        if count > 40:
            write(form, path, [episode(3)], "overwrite")
            count = 1
        count = trial(form, path, rng, count if mode == "append" else 0, mode)
        assert get_format(form).writer(path, "append").episodes == count, i
