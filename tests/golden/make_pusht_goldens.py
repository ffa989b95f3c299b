"""Record what the reference makes of PushT's discrete actions and of the cross that marks an action.

Run with the reference's interpreter: `python tests/golden/make_pusht_goldens.py`.
"""

from pathlib import Path

import cv2
import numpy as np
from stable_worldmodel.envs.pusht import PushTDiscrete
from stable_worldmodel.envs.quantizer import PolarQuantizer

EPISODES, STEPS = 4, 20
MARK_SIZES = (96, 224, 300, 512)
MARK_ACTIONS = np.array([[-0.4, 0.9], [256.0, 100.0], [500.0, 512.0]], np.float32)
QUANTIZERS = {"usual": (16, 16, 1.0), "uneven": (5, 12, 0.7)}


def quantized() -> dict[str, np.ndarray]:
    """Bins of random vectors, and the vector of every bin."""
    rng = np.random.default_rng(0)
    vectors = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
    vectors[:5] = [[0, 0], [1, 0], [-1, 0], [0, -1], [1, 0.9]]
    result = {"vectors": vectors}
    for name, (rings, sectors, distance) in QUANTIZERS.items():
        quantizer = PolarQuantizer(rings, sectors, distance)
        result[f"{name}_bins"] = np.stack([quantizer.quantize(vector) for vector in vectors])
        cells = [[quantizer.dequantize((i, j)) for j in range(sectors)] for i in range(rings)]
        result[f"{name}_vectors"] = np.array(cells)
    return result


def marks() -> dict[str, np.ndarray]:
    """Where the cross is, by picture size and action, as packed bits."""
    result = {"mark_actions": MARK_ACTIONS}
    for size in MARK_SIZES:
        pictures = []
        for action in MARK_ACTIONS:
            picture = np.zeros((size, size, 3), np.uint8)
            place = (action / 512 * 96).astype(np.int32)
            kind, wide = cv2.MARKER_CROSS, int(1 / 96 * size)
            cv2.drawMarker(picture, place, (255, 0, 0), markerType=kind, markerSize=int(8 / 96 * size), thickness=wide)
            pictures.append(picture[..., 0] > 0)
        result[f"mark_{size}"] = np.packbits(np.stack(pictures), axis=-1)
    return result


def episodes() -> dict[str, np.ndarray]:
    """Episodes of the discrete environment from given starts, with a T of the scale that all versions agree on."""
    rng = np.random.default_rng(1)
    env = PushTDiscrete(resolution=64)
    starts, goals, actions, states = [], [], [], []
    for _ in range(EPISODES):
        block = rng.uniform(200, 300, 2)
        start = np.array([*(block + rng.uniform(-90, 90, 2)), *block, rng.uniform(-6, 6), 0.0, 0.0])
        goal = np.array([60.0, 60.0, 400.0, 400.0, 1.0, 0.0, 0.0])
        values = {"block.scale": 30.0, "agent.scale": 40.0}
        options = {"variation": (), "variation_values": values, "state": start, "goal_state": goal}
        observation, _ = env.reset(seed=0, options=options)
        taken = rng.integers(0, 16, (STEPS, 2))
        seen = [observation["state"]]
        for action in taken:
            seen.append(env.step(action)[0]["state"])
        for column, entry in zip((starts, goals, actions, states), (start, goal, taken, seen), strict=True):
            column.append(entry)
    return {"start": starts, "goal_state": goals, "action": np.array(actions, np.int8), "state": states}


if __name__ == "__main__":
    folder = Path(__file__).parent
    np.savez_compressed(folder / "pusht_discrete.npz", **quantized(), **marks(), **episodes())
