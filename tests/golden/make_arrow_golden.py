"""Record a dataset in the reference's first layout: `datasets/arrow`, as its `record_dataset` of 2025 laid it out.

Run with a Python that has Hugging Face `datasets` 3.6 and Pillow: `python tests/golden/make_arrow_golden.py`.
"""

import shutil
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Sequence, Value
from PIL import Image

FOLDER = Path(__file__).parent / "datasets" / "arrow"


def main() -> None:
    rng = np.random.default_rng(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    rows = []
    for episode, length in enumerate((7, 9)):
        colour = rng.integers(0, 256, 3)
        for step in range(length):
            name = f"img/{episode}/{step}_pixels.jpeg"
            (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            frame = np.clip(np.add.outer(np.arange(16) * 8 + step, np.arange(24) * 4)[..., None] + colour, 0, 255)
            Image.fromarray(frame.astype(np.uint8)).save(FOLDER / name, quality=95)
            rows.append(
                {
                    "pixels": name,
                    "action": rng.normal(size=2).tolist() if step + 1 < length else [float("nan")] * 2,
                    "proprio": rng.normal(size=(2, 2)).tolist(),
                    "reward": float(step) if step else None,
                    "terminated": step + 1 == length,
                    "episode_idx": episode,
                    "step_idx": step,
                    "episode_len": length,
                    "policy": "random",
                    "variation.agent.color": colour.tolist(),
                }
            )
    # Side by side, as environments were recorded.
    rows.sort(key=lambda row: (row["step_idx"], row["episode_idx"]))
    features = Features(
        {
            "pixels": Value("string"),
            "action": Sequence(Value("float32")),
            "proprio": Sequence(Sequence(Value("float64"))),
            "reward": Value("float32"),
            "terminated": Value("bool"),
            "episode_idx": Value("int32"),
            "step_idx": Value("int32"),
            "episode_len": Value("int32"),
            "policy": Value("string"),
            "variation.agent.color": Sequence(Value("uint8"), length=3),
        }
    )
    Dataset.from_list(rows, features=features).save_to_disk(str(FOLDER), num_shards=2)


if __name__ == "__main__":
    main()
