"""Discrete actions relaxed to probabilities: the slots of a discrete space, and the projection onto their simplices."""

from dataclasses import dataclass

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import MultiDiscrete
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.checks import UserError
from swmjax.planning.spaces import category_counts, check_horizon, from_one_hot, one_hot


@jax.tree_util.register_static
@dataclass(frozen=True)
class Slots:
    """The slots of a discrete action space, as a static part of a state.

    Args:
        counts: Categories of every slot.
        starts: The number of the first category of every slot.
    """

    counts: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def size(self) -> int:
        """A, the number of all categories."""
        return sum(self.counts)

    @property
    def space(self) -> MultiDiscrete:
        """A space of these slots."""
        return MultiDiscrete(np.array(self.counts), start=np.array(self.starts))

    def decode(self, vectors: Float[Array, "*batch A"]) -> Int[Array, "*batch slots"]:
        """The heaviest category of every slot."""
        return from_one_hot(vectors, self.space)

    def project(self, vectors: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
        """The nearest vectors whose slots are probabilities."""
        widest = max(self.counts)
        offsets = np.cumsum(self.counts) - self.counts
        inside = np.arange(widest)[None] < np.array(self.counts)[:, None]
        columns = np.where(inside, offsets[:, None] + np.arange(widest)[None], 0)
        return project_simplex(vectors[..., columns], jnp.asarray(inside))[..., inside]


def slots_of(space: gymnasium.Space) -> Slots:
    """The slots of a discrete space.

    Raises:
        UserError: Another space.
    """
    counts = category_counts(space)
    starts = np.atleast_1d(np.asarray(getattr(space, "start", 0)))
    return Slots(counts=counts, starts=tuple(int(start) for start in starts))


def nominal_probabilities(
    slots: Slots, horizon: int, warm_start: Int[Array, "W slots"] | Float[Array, "W A"] | None = None
) -> Float[Array, "H A"]:
    """The relaxed sequence that a solve starts from: the warm start, followed by zeros up to the horizon.

    Args:
        slots: Of the action space of one planner step.
        horizon: H, planner steps.
        warm_start: The first W <= H actions: whole numbers as in a plan, or one-hot or relaxed vectors.

    Returns:
        H rows; of the warm start's dtype if it is floating point, else of the default one.

    Raises:
        UserError: The horizon is not positive, or the warm start does not fit into it.
    """
    check_horizon(horizon)
    if warm_start is None:
        return jnp.zeros((horizon, slots.size))
    warm_start = jnp.asarray(warm_start)
    whole = jnp.issubdtype(warm_start.dtype, jnp.integer)
    width = len(slots.counts) if whole else slots.size
    if warm_start.ndim != 2 or warm_start.shape[1] != width or warm_start.shape[0] > horizon:
        raise UserError(
            f"warm_start must have the shape [at most {horizon}, {len(slots.counts)}] if it holds whole numbers, or "
            f"[at most {horizon}, {slots.size}] if it holds one-hot vectors, for this horizon and action space, "
            f"got {warm_start.dtype} of shape {list(warm_start.shape)}"
        )
    if whole:
        warm_start = one_hot(warm_start, slots.space, jnp.result_type(float))
    return jnp.pad(warm_start, ((0, horizon - warm_start.shape[0]), (0, 0)))


def project_simplex(
    vectors: Float[Array, "*batch K"], inside: Bool[Array, "*slots K"] | None = None
) -> Float[Array, "*batch K"]:
    """Euclidean projection onto the simplex of non-negative vectors that sum to 1.

    Args:
        vectors: Points.
        inside: Which entries exist, at least one a vector; the others become 0. All if not given.

    Returns:
        The nearest points of the simplex.

    Source: Duchi et al. 2008, "Efficient Projections onto the l1-Ball for Learning in High Dimensions", figure 1.
    """
    if inside is None:
        inside = jnp.ones(vectors.shape[-1:], bool)
    inside = jnp.broadcast_to(inside.reshape((1,) * (vectors.ndim - inside.ndim) + inside.shape), vectors.shape)
    # Moving all entries alike changes nothing, nor does what is more than 1 below the greatest; so large numbers stay
    # exact.
    vectors = vectors - jnp.max(vectors, axis=-1, keepdims=True, where=inside, initial=-jnp.inf)
    vectors = jnp.where(inside, jnp.maximum(vectors, -1), -1)
    falling = -jnp.sort(-vectors, axis=-1)
    count = jnp.arange(1, vectors.shape[-1] + 1, dtype=vectors.dtype).reshape((1,) * (vectors.ndim - 1) + (-1,))
    shift = (jnp.cumsum(falling, axis=-1) - 1) / count
    positive = jnp.maximum(jnp.sum(falling > shift, axis=-1, keepdims=True), 1)
    return jnp.where(inside, jnp.maximum(vectors - jnp.take_along_axis(shift, positive - 1, axis=-1), 0), 0)
