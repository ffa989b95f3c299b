"""The behaviour policy: random pushes near the block, as the reference collects its datasets with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx.pusht.dynamics import ACTION_SCALE
from envs_mjx.state import State


def behaviour_action(key: Key[Array, ""], state: State, max_distance: float = 100.0) -> Float[Array, "2"]:
    """A uniformly random relative action whose target stays near the block's origin.

    Args:
        key: Typed key.
        state: State of a PushT environment with relative actions.
        max_distance: Largest distance of the target from the block along each axis, in px, above 0.

    Returns:
        Action in [-1, 1].

    Source: reference, envs/pusht/expert_policy.py (`WeakPolicy`).
    """
    agent, block = state.obs["state"][:2], state.obs["state"][2:4]
    action = jax.random.uniform(key, (2,), agent.dtype, -1.0, 1.0)
    target = jnp.clip(agent + ACTION_SCALE * action, block - max_distance, block + max_distance)
    return jnp.clip((target - agent) / ACTION_SCALE, -1.0, 1.0).astype(jnp.float32)
