"""Episodes for the tests of formats, and what a format is told with: names of columns, sizes, groups."""

import contextlib
import subprocess

import numpy as np

from swmjax.data.formats import get_format, groups

TEXTS = ["grüner", "Kreis", "", "a longer text"]


def episode(length, seed=0, images=True):
    """Every row differs from all others; frames are smooth, so that lossy formats keep them."""
    rng = np.random.default_rng(seed)
    columns = {
        "agent": rng.normal(size=(length, 2, 2)),
        "terminated": rng.random(length) < 0.5,
        "count": rng.integers(-(2**62), 2**62, length),
        "task": [TEXTS[(seed + i) % len(TEXTS)] for i in range(length)],
        "action": rng.normal(size=(length, 3)).astype(np.float32),
        "seed": np.full(length, seed),
    }
    return {"pixels": frames(length, seed)} | columns if images else columns


def frames(length, seed=0, size=(24, 16), channels=3):
    """Smooth frames [length, height, width, channels], uint8; each of another colour."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(20, 200, (length, 1, 1, channels))
    ramp = np.add.outer(np.linspace(0, 25, size[0]), np.linspace(0, 25, size[1]))[None, :, :, None]
    return (base + ramp).astype(np.uint8)


def write(form, path, episodes, mode="error", **options):
    with get_format(form).writer(path, mode, **options) as writer:
        writer.write_episodes(episodes)


def read(form, path, **options):
    """All rows of all columns, and the lengths."""
    reader = get_format(form).reader(path, **options)
    return reader.read(list(reader.columns), np.arange(reader.rows)), reader.lengths.tolist()


def joined(episodes, name):
    return np.concatenate([np.asarray(one[name], object if name == "task" else None) for one in episodes])


def npz(file):
    """The arrays of an npz file, which is closed."""
    with np.load(file) as arrays:
        return dict(arrays)


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextlib.contextmanager
def every_episode_a_group():
    before, groups.BYTES = groups.BYTES, 1
    try:
        yield
    finally:
        groups.BYTES = before


def dead_process():
    """The number of a process that was here and died."""
    died = subprocess.Popen(["true"])
    died.wait()
    return died.pid
