"""The datasets that loader.py reads: PushT in Lance and HDF5, and a table of very many rows."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from swmjax.data import LanceWriter, format_of, get_format

COLUMNS = ("pixels", "action", "proprio", "state")
"""What windows hold."""


def make(folder: Path, episodes: int, length: int, size: int, quick: bool) -> dict[str, str]:
    """PushT in Lance and HDF5, the same episodes, made unless they are there.

    Returns:
        Paths by format.
    """
    lance, hdf5 = folder / "pusht.lance", folder / "pusht.h5"
    if not lance.exists() and quick:
        with LanceWriter(lance) as writer:
            for number in range(episodes):
                writer.write_episode(drawn(length, size, number))
    elif not lance.exists():
        program = Path(sys.executable).with_name("swmjax")
        command = [str(program), "collect", "PushT", f"--episodes={episodes}", f"--max-steps={length}"]
        command += [f"--image-size={size}", f"--output={lance}"]
        subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    if not hdf5.exists():
        reader = format_of(lance).reader(lance)
        with get_format("hdf5").writer(hdf5) as writer:
            for first, rows in zip(reader.offsets.tolist(), reader.lengths.tolist(), strict=True):
                writer.write_episode(reader.read(COLUMNS, np.arange(first, first + rows)))
    return {"lance": str(lance), "hdf5": str(hdf5)}


def drawn(length: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """An episode of a few flat shapes that move, about as hard to encode as PushT; for small runs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    pixels = np.full((length, size, size, 3), 255, np.uint8)
    for _ in range(3):
        colour, (begin, end) = rng.integers(0, 256, 3), rng.uniform(0.2, 0.8, (2, 2))
        for row, (px, py) in enumerate(np.linspace(begin, end, length)):
            pixels[row][(x - px) ** 2 + (y - py) ** 2 < 0.02] = colour
    columns = {name: rng.normal(size=(length, width)) for name, width in (("action", 2), ("proprio", 4), ("state", 7))}
    return {"pixels": pixels, **{name: column.astype(np.float32) for name, column in columns.items()}}


def make_long(path: Path, rows: int) -> None:
    """A Lance table of very many rows in episodes of 100, each with the same small image."""
    import lance
    import pyarrow as pa

    from swmjax.data import encode_jpeg

    image, part = encode_jpeg(np.zeros((8, 8, 3), np.uint8)), 100_000

    def batch(first: int) -> pa.RecordBatch:
        numbers = np.arange(first, min(first + part, rows))
        actions = pa.array(np.zeros(2 * len(numbers), np.float32))
        return pa.record_batch(
            {
                "episode_idx": pa.array((numbers // 100).astype(np.int32)),
                "step_idx": pa.array((numbers % 100).astype(np.int32)),
                "pixels": pa.array([image] * len(numbers), pa.binary()),
                "action": pa.FixedSizeListArray.from_arrays(actions, 2),
            }
        )

    batches = (batch(first) for first in range(0, rows, part))
    lance.write_dataset(batches, str(path), schema=batch(0).schema)
