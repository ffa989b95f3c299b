"""A dataset in memory, which remembers what was read of it."""

import numpy as np

from swmjax.data.formats.base import Column, Reader


def column_of(array):
    if array.dtype.kind in "UO":
        return Column("text", (), np.dtype(object))
    image = array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] in (1, 3)
    return Column("image" if image else "number", array.shape[1:], array.dtype)


class Arrays(Reader):
    path = "arrays"

    def __init__(self, lengths, columns, episode_values=None):
        self.arrays = columns
        self.columns = {name: column_of(array) for name, array in columns.items()}
        self.lengths = np.asarray(lengths, np.int64)
        self.values = episode_values or {}
        self.asked = []

    def read(self, columns, rows, out=None):
        self.asked.append((list(columns), rows.tolist()))
        found = {}
        for name in columns:
            read = self.arrays[name][rows]
            if out is not None and name in out:
                out[name][...] = read
                read = out[name]
            found[name] = read
        return found

    @property
    def episode_columns(self):
        return tuple(self.values)

    def episode_data(self, episodes=None):
        wanted = range(len(self.lengths)) if episodes is None else episodes
        return {name: [value[i] for i in wanted] for name, value in self.values.items()}


def arrays(lengths=(12, 3, 9), seed=0, episode_values=None):
    """Episodes in which every row can be told from all others."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    return Arrays(
        lengths,
        {
            "pixels": rng.integers(0, 256, (rows, 5, 4, 3), np.uint8),
            "proprio": rng.normal(size=(rows, 3)).astype(np.float32),
            "reward": rng.normal(size=rows),
            "text": np.array([f"row {i}" for i in range(rows)], object),
            "action": rng.normal(size=(rows, 2)).astype(np.float32),
        },
        episode_values,
    )


def npz(source):
    """The arrays of an NPZ file by name; the file is closed, and not left to the garbage collector."""
    with np.load(source) as file:
        return dict(file)
