"""Run folders of evaluations that were never played, for what reads them."""

import numpy as np

from swmjax.runs.folder import RunFolder
from swmjax.world import EvalConfig
from swmjax.world.results import results_of, speed_of
from swmjax.world.rows import episodes_table


def write_run(path, outcomes, *, returns=None, seed=0, complete=True, offset=0.0, solved=(), **settings):
    """A run of TwoRoom with these outcomes; episode i starts at [i, i] plus the offset."""
    config = EvalConfig(
        env="swm/TwoRoom-v1",
        model="oracle",
        solver={"name": "cem", "num_samples": 30, "n_steps": 3},
        episodes=len(outcomes),
        seed=seed,
        **settings,
    )
    values = np.zeros(len(outcomes)) if returns is None else returns
    rows = [
        {
            "episode": i,
            "seed": seed + i,
            "start": [seed + i + offset] * 2,
            "goal": [0.0, 1.0],
            "success": bool(outcome),
            "steps": 10,
            "final_distance": 1.0,
            "return": float(value),
            "ended": bool(outcome),
            "solved_at_start": i in solved,
            "plans": 2,
            "failed_plans": 0,
        }
        for i, (outcome, value) in enumerate(zip(outcomes, values, strict=True))
    ]
    path.mkdir()
    folder = RunFolder(path)
    folder.write_config(config.to_dict())
    episodes_table(()).write(path, rows)
    folder.write_results(results_of(config, rows, (), complete) | speed_of(config, rows, 2 * len(rows), 1.0, 4.0))
    return path
