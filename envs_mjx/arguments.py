"""What the methods of environments take: one state, one key, an action of the action space."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from envs_mjx.checks import UserError
from envs_mjx.state import State, outline


def check_single(state: Any, call: str, advice: str = "") -> None:
    """Refuse what is not the state of one environment.

    Args:
        state: what was given.
        call: to which method.
        advice: what to do with a batch; `jax.vmap` by default.

    Raises:
        UserError: says what was given, and what to do with a batch.
    """
    if not isinstance(state, State):
        raise UserError(f"{call} takes a State, as reset returns it, got {type(state).__name__}")
    if jnp.ndim(state.step):
        advice = advice or f"jax.vmap(env.{call}) takes a batch"
        raise UserError(f"{call} takes the state of one environment, got a batch of {list(state.step.shape)}: {advice}")


def check_key(key: Any, call: str, advice: str) -> None:
    """Refuse what is not one random key; a raw one of JAX's older kind is let pass.

    Args:
        key: what was given.
        call: to which function.
        advice: what takes a batch of keys.

    Raises:
        UserError: says what was given, and what to do with a batch.
    """
    dtype, shape = getattr(key, "dtype", None), np.shape(key) if hasattr(key, "dtype") else None
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        if shape:
            raise UserError(f"{call} takes one key, got a batch of {list(shape)}: {advice}")
    elif dtype != jnp.uint32 or not shape:
        raise UserError(f"{call} takes a random key such as jax.random.key(0), got {key!r}")


def checked_action(action: Any, space: gymnasium.Space) -> Any:
    """An action, or a batch of actions in a batched space, as arrays of the kind that the space has.

    Args:
        action: an array, or a mapping of arrays for a `Dict` space.
        space: the action space.

    Raises:
        UserError: another shape, other names, or numbers of another kind.
    """
    if isinstance(space, gymnasium.spaces.Dict):
        if not isinstance(action, Mapping) or set(action) != set(space.spaces):
            names = sorted(action) if isinstance(action, Mapping) else outline(action)
            raise UserError(f"action must be a dict with the entries {', '.join(space.spaces)}, got {names}")
        return {name: checked_action(action[name], part) for name, part in space.spaces.items()}
    if not hasattr(action, "dtype") and not isinstance(action, int | float):
        raise UserError(f"action must be an array for {space}, got the {type(action).__name__} {action!r}")
    dtype = jnp.result_type(action)
    wanted = "floating point" if np.issubdtype(space.dtype, np.floating) else "integer"
    kind = jnp.floating if wanted == "floating point" else jnp.integer
    if jnp.shape(action) != space.shape or not jnp.issubdtype(dtype, kind):
        shape = jnp.shape(action)
        batch = "; jax.vmap(env.step) takes a batch" if shape and shape[1:] == space.shape else ""
        raise UserError(
            f"action must be {wanted} of shape {list(space.shape or ())} for {space}, "
            f"got {dtype} of shape {list(shape)}{batch}"
        )
    return jnp.asarray(action)


def valid_action(action: Any, space: gymnasium.Space) -> Bool[Array, ""]:
    """Whether all numbers of an action are finite, and those of a discrete action in their range."""
    if isinstance(space, gymnasium.spaces.Dict):
        return jnp.stack([valid_action(action[name], part) for name, part in space.spaces.items()]).all()
    if isinstance(space, gymnasium.spaces.Discrete):
        return (action >= int(space.start)) & (action < int(space.start + space.n))
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return ((action >= jnp.asarray(space.start)) & (action < jnp.asarray(space.start + space.nvec))).all()
    return jnp.isfinite(action).all()
