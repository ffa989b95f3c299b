"""A training that takes no time: a point on a line, networks of sixteen units."""

import jax.numpy as jnp

from swmjax.training import ExpertConfig

ALGORITHMS = {
    "sac": {
        "name": "sac",
        "hidden": [16, 16],
        "num_envs": 4,
        "updates": 4,
        "batch_size": 32,
        "warmup_steps": 16,
        "buffer_size": 512,
        "learning_rate": 3e-3,
    },
    "ppo": {
        "name": "ppo",
        "hidden": [16, 16],
        "value_hidden": [16],
        "num_envs": 16,
        "unroll": 10,
        "minibatches": 2,
        "passes": 4,
        "learning_rate": 3e-3,
    },
}


def settings(algorithm: str = "sac", **changes) -> ExpertConfig:
    """Six epochs of 16 (SAC) or 160 steps (PPO), an evaluation after every second one."""
    return ExpertConfig(
        **{
            "env": "test/Goal-v0",
            "env_options": {"gain": 0.2},
            "episode_steps": 8,
            "algorithm": ALGORITHMS[algorithm],
            "steps": 96,
            "evaluations": 3,
            "epochs_per_evaluation": 2,
            "eval_episodes": 16,
            "seed": 7,
        }
        | changes
    )


def same_to_the_bit(a, b) -> bool:
    """Whether two arrays have the same dtype, shape and bits, those of NaN included."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
