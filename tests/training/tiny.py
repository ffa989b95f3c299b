"""A training that takes no time: a point on a line, networks of eight units."""

import jax.numpy as jnp

from swmjax.training import ExpertConfig

NETWORKS = {"hidden": [8, 8]}
ALGORITHMS = {
    "sac": {
        "name": "sac", **NETWORKS, "num_envs": 4, "updates": 2, "batch_size": 8, "warmup_steps": 16, "buffer_size": 64,
    },
    "ppo": {
        "name": "ppo", **NETWORKS, "value_hidden": [8], "num_envs": 4, "unroll": 4, "minibatches": 2, "passes": 2,
    },
}  # fmt: skip


def settings(algorithm: str = "sac", **changes) -> ExpertConfig:
    """Six epochs of 16 or 32 steps, an evaluation after every second one."""
    return ExpertConfig(
        **{
            "env": "test/Goal-v0",
            "env_options": {"gain": 0.2},
            "episode_steps": 5,
            "algorithm": ALGORITHMS[algorithm],
            "steps": 96,
            "evaluations": 3,
            "epochs_per_evaluation": 2,
            "eval_episodes": 3,
            "seed": 7,
        }
        | changes
    )


def same_to_the_bit(a, b) -> bool:
    """Whether two arrays have the same dtype, shape and bits, those of NaN included."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
