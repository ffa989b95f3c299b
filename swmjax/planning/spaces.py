"""Action spaces of one planner step, and the sequences that solves start from."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from jaxtyping import Array, Float, Int

from envs_mjx.checks import UserError, check_integer


def block_space(space: gymnasium.Space, action_block: int) -> gymnasium.Space:
    """The action space of one planner step: `action_block` environment actions one after the other.

    Args:
        space: The environment's action space: a one-axis Box, `Discrete`, `MultiDiscrete`, or a `Dict` of these.
        action_block: Environment steps per planner step, at least 1.

    Returns:
        A Box of size A = action_block * action_dim, time-major; a `MultiDiscrete` of as many slots; a `Dict` of these.

    Raises:
        UserError: Another space, or the block is not a positive integer.
    """
    check_integer("action_block", action_block, 1)
    if isinstance(space, gymnasium.spaces.Dict):
        return gymnasium.spaces.Dict({name: block_space(part, action_block) for name, part in space.spaces.items()})
    if isinstance(space, Discrete | MultiDiscrete):
        counts, start = category_counts(space), np.atleast_1d(space.start)
        return MultiDiscrete(np.tile(counts, action_block), start=np.tile(start, action_block))
    action_size(space)
    assert isinstance(space, Box)
    assert isinstance(space.dtype, np.dtype)
    return Box(np.tile(space.low, action_block), np.tile(space.high, action_block), dtype=space.dtype.type)


def action_size(space: gymnasium.Space) -> int:
    """Size A of the planner's action vector.

    Args:
        space: The action space of one planner step.

    Returns:
        A.

    Raises:
        UserError: The space is not a Box of floats with one axis.
    """
    if not isinstance(space, Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise UserError(f"the planner needs a one-axis Box of floats as action space, got {space}")
    return space.shape[0]


def category_counts(space: gymnasium.Space) -> tuple[int, ...]:
    """Number of categories of every slot of a discrete action.

    Args:
        space: `Discrete`, or `MultiDiscrete` with one axis.

    Returns:
        One number a slot.

    Raises:
        UserError: Another space.
    """
    if isinstance(space, Discrete):
        return (int(space.n),)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return tuple(int(count) for count in space.nvec)
    raise UserError(f"a discrete solver needs a Discrete or one-axis MultiDiscrete action space, got {space}")


def one_hot(actions: Int[Array, "*batch slots"], space: gymnasium.Space, dtype: Any = jnp.float32) -> Array:
    """Discrete actions as the one-hot vectors that discrete solvers hand to cost functions.

    Args:
        actions: One whole number a slot, each from its slot's start on.
        space: The discrete space of one planner step.
        dtype: Type of the result.

    Returns:
        [*batch, A], A the number of all categories, slot after slot.
    """
    starts = np.atleast_1d(np.asarray(getattr(space, "start", 0)))
    columns = [
        jax.nn.one_hot(actions[..., slot] - int(starts[slot]), count, dtype=dtype)
        for slot, count in enumerate(category_counts(space))
    ]
    return jnp.concatenate(columns, axis=-1)


def from_one_hot(vectors: Float[Array, "*batch A"], space: gymnasium.Space) -> Int[Array, "*batch slots"]:
    """The discrete actions of one-hot or relaxed vectors: the heaviest category of every slot.

    Args:
        vectors: A entries, slot after slot.
        space: The discrete space of one planner step.

    Returns:
        One whole number a slot, each from its slot's start on.
    """
    counts = category_counts(space)
    starts = np.atleast_1d(np.asarray(getattr(space, "start", 0)))
    ends = np.cumsum(counts)
    columns = [
        jnp.argmax(vectors[..., end - count : end], axis=-1) + int(start)
        for count, end, start in zip(counts, ends, starts, strict=True)
    ]
    return jnp.stack(columns, axis=-1).astype(jnp.int32)


def check_horizon(horizon: int) -> None:
    """Raise unless the horizon is a positive integer.

    Raises:
        UserError: It is not.
    """
    check_integer("horizon", horizon, 1)


def nominal_actions(
    space: gymnasium.Space, horizon: int, warm_start: Float[Array, "W A"] | None = None
) -> Float[Array, "H A"]:
    """The sequence that a solve starts from: the warm start, followed by zeros up to the horizon.

    Args:
        space: The action space of one planner step; gives the dtype when there is no warm start.
        horizon: H, planner steps.
        warm_start: The first W <= H actions, for example the rest of the previous plan.

    Returns:
        H actions, of the warm start's dtype if there is one.

    Raises:
        UserError: The horizon is not positive, or the warm start does not fit into it.
    """
    size = action_size(space)
    check_horizon(horizon)
    if warm_start is None:
        return jnp.zeros((horizon, size), jax.dtypes.canonicalize_dtype(space.dtype))
    warm_start = jnp.asarray(warm_start)
    if warm_start.ndim != 2 or warm_start.shape[1] != size or warm_start.shape[0] > horizon:
        raise UserError(
            f"warm_start must have the shape [at most {horizon}, {size}] for this horizon and action space, "
            f"got {list(warm_start.shape)}"
        )
    if not jnp.issubdtype(warm_start.dtype, jnp.floating):
        raise UserError(f"warm_start must be floating point, got {warm_start.dtype}")
    return jnp.pad(warm_start, ((0, horizon - warm_start.shape[0]), (0, 0)))
