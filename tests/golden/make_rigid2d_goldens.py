"""Record what pymunk 7.3.1 makes of small collisions and scenes: `rigid2d_collisions.npz`, `rigid2d_scenes.npz`.

Run with `PYTHONPATH=tests python tests/golden/make_rigid2d_goldens.py`.
"""

from pathlib import Path

import numpy as np
from envs.pymunk_scenes import KINDS, played_scenes, random_collisions

FOLDER = Path(__file__).parent


def main() -> None:
    """Write the two files."""
    collisions = {}
    for seed, kind in enumerate(KINDS):
        recorded = random_collisions(seed, 40, *kind)
        collisions |= {f"{kind[0]}_{kind[1]}_{name}": values for name, values in recorded.items()}
    np.savez_compressed(FOLDER / "rigid2d_collisions.npz", **collisions)
    scenes = {}
    for blocks, damping in ((1, 0.0), (1, 0.5), (2, 0.0)):
        recorded = played_scenes(10 * blocks + int(damping > 0), 12, blocks, damping)
        recorded["pose"] = recorded["pose"][:, 4::5]
        recorded["contacts"] = recorded["contacts"].astype(np.int8)
        scenes |= {f"{blocks}_{damping}_{name}": values for name, values in recorded.items()}
    np.savez_compressed(FOLDER / "rigid2d_scenes.npz", **scenes)


if __name__ == "__main__":
    main()
