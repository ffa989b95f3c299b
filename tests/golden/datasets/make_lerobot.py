"""Makes `lerobot_v3` or `lerobot_v21`, and what LeRobot itself reads of them, in an environment that has LeRobot.

Python 3.12 with lerobot 0.6.1 and torch 2.11.0 makes the first; one with lerobot 0.3.3 and datasets 3.6.0 before them
on its path the second, whose videos the old package cannot decode beside this torch: there, `_read.npz` has the frames
that were drawn instead of those that were read.
    python tests/golden/datasets/make_lerobot.py tests/golden/datasets/lerobot_v3
"""

import shutil
import sys
from pathlib import Path

import numpy as np

LENGTHS = (12, 7, 9)
FPS = 10
SIZE = (32, 40)
TASKS = ("push the block", "open the drawer", "push the block")


def frame(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture of some colour with a bright square somewhere."""
    height, width = SIZE
    ramp = np.add.outer(np.linspace(0, 30, height), np.linspace(0, 30, width))[..., None]
    picture = rng.uniform(20, 180, 3) + ramp
    y, x = rng.integers(0, height - 8), rng.integers(0, width - 8)
    picture[y : y + 8, x : x + 8] = 230
    return picture.astype(np.uint8)


def main(root: Path) -> None:
    from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

    modern = CODEBASE_VERSION >= "v3"
    shape = (*SIZE, 3)
    names = ["height", "width", "channels"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        "observation.images.top": {"dtype": "video", "shape": shape, "names": names},
    }
    if modern:
        features["observation.images.wrist"] = {"dtype": "image", "shape": shape, "names": names}
    shutil.rmtree(root, ignore_errors=True)
    dataset = LeRobotDataset.create("tests/made", FPS, features, root=root)
    rng, drawn = np.random.default_rng(0), []
    for length, task in zip(LENGTHS, TASKS, strict=True):
        for step in range(length):
            values = {
                "observation.state": rng.normal(size=3).astype(np.float32),
                "action": rng.normal(size=2).astype(np.float32),
                "next.success": np.array([step == length - 1]),
                "observation.images.top": frame(rng),
            }
            drawn.append(values["observation.images.top"])
            if modern:
                values["observation.images.wrist"] = frame(rng)
                dataset.add_frame(values | {"task": task})
            else:
                dataset.add_frame(values, task=task)
        dataset.save_episode()
    if modern:
        dataset.finalize()
    shutil.rmtree(root / "images", ignore_errors=True)

    read = LeRobotDataset("tests/made", root=root, video_backend="pyav")
    rows = [read[i] if modern else read.hf_dataset[i] for i in range(sum(LENGTHS))]
    arrays = {}
    for name in dict.fromkeys((*features, "timestamp", "episode_index", "frame_index")):
        if name not in rows[0]:
            arrays[name] = np.array(drawn)
            continue
        arrays[name] = np.array([row[name].numpy() for row in rows])
        if name.startswith("observation.images"):
            arrays[name] = np.round(arrays[name].transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    arrays["task"] = np.repeat(TASKS, LENGTHS)
    np.savez_compressed(root.with_name(f"{root.name}_read.npz"), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
