"""Shorten the reference's recordings of PushT without frames for the tests.

Run with `python tests/golden/trim_pusht_goldens.py FOLDER_OF_THE_RECORDINGS`. All keys stay but the empty ones; states
and angles are rounded to 2**-16 (1.5e-5 px) and rewards to 2**-10, so that they compress; starts, goals and the states
after reset stay exact.
"""

import sys
from pathlib import Path

import numpy as np

ROUNDED = {"state": 2.0**16, "block_angle": 2.0**16, "reward": 2.0**10}


def main(source: Path) -> None:
    """Write the shortened files next to this script."""
    for name in ("pusht_t.npz", "pusht_shapes.npz", "pusht_dynamic_agents.npz"):
        recorded = np.load(source / name)
        kept = {key: recorded[key] for key in recorded.files if recorded[key].size}
        for key, scale in ROUNDED.items():
            kept[key] = np.round(kept[key] * scale) / scale
        kept = {key: value.astype(np.int8) if value.dtype == np.int64 else value for key, value in kept.items()}
        np.savez_compressed(Path(__file__).parent / name, **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
