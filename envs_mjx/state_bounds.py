"""Which states can be: bounds of state and goal vectors, and the one check of what is given as such a vector.

Values that are known are refused before anything is compiled. Of traced ones only a flag can tell.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from envs_mjx.checks import UserError

_SLACK = 1e-6
"""Share of a bound by which rounding to float32 may miss it."""
_LARGEST = float(np.finfo(np.float32).max)


class StateBounds(NamedTuple):
    """Smallest and largest entries of a vector; infinite where every finite number will do.

    Attributes:
        low: [S].
        high: [S].
        neutral: [S], a vector that can be; it takes the place of a traced one that is not finite.
    """

    low: np.ndarray
    high: np.ndarray
    neutral: np.ndarray

    @classmethod
    def of(cls, low: Any, high: Any, size: int, neutral: Any = None) -> "StateBounds":
        """Bounds for each entry, or one for all; by default the middle is neutral, and 0 where there is none."""
        low, high = (np.broadcast_to(np.asarray(bound, float), (size,)) for bound in (low, high))
        if neutral is None:
            bounded = np.isfinite(low) & np.isfinite(high)
            neutral = (np.where(bounded, low, 0.0) + np.where(bounded, high, 0.0)) / 2
        return cls(low, high, np.asarray(neutral, float))

    def hold(self, value: Any) -> Any:
        """Which entries of floating point vectors [..., S] are finite and in range; NumPy or JAX."""
        low, high = (
            np.clip(bound + sign * _SLACK * np.maximum(np.abs(bound), 1.0), -_LARGEST, _LARGEST)
            for bound, sign in ((self.low, -1.0), (self.high, 1.0))
        )
        return (value >= low.astype(value.dtype)) & (value <= high.astype(value.dtype))


BoundsOf = Callable[[int], StateBounds]
"""Bounds of the vectors of a size."""


def unbounded(size: int) -> StateBounds:
    """All finite numbers."""
    return StateBounds.of(-np.inf, np.inf, size)


def check_vectors(name: str, value: Any, bounds_of: BoundsOf = unbounded) -> None:
    """Raise unless numbers are finite, and those of vectors in their range; traced ones are not looked at.

    Args:
        name: what the message calls the value.
        value: a vector [S] or a batch of them [n, S]; other arrays and pytrees of them must be finite.
        bounds_of: bounds of the vectors of a size.

    Raises:
        UserError: names the row of a batch, the entry, its value and what is allowed.
    """
    if is_traced(value):
        return
    if not _is_array(value):
        if not all(np.isfinite(leaf).all() for leaf in _floats(value)):
            raise UserError(f"{name} holds a number that is not finite")
        return
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name} must hold numbers, got {value!r}") from None
    bounds = bounds_of(numbers.shape[-1]) if numbers.ndim in (1, 2) else None
    good = np.isfinite(numbers) if bounds is None else bounds.hold(numbers)
    if good.all():
        return
    place = tuple(int(index) for index in np.argwhere(~good)[0])
    low, high = (-np.inf, np.inf) if bounds is None else (bounds.low[place[-1]], bounds.high[place[-1]])
    where = f"row {place[0]}, entry {place[1]}" if len(place) == 2 else f"entry {', '.join(map(str, place))}"
    raise UserError(f"{name}: {f'{where} is' if place else 'got'} {numbers[place]:g}, but must be {_limits(low, high)}")


def traced_vector(value: Any, bounds_of: BoundsOf) -> tuple[Any, Bool[Array, ""], Bool[Array, ""]]:
    """A value as it may be entered, whether it was finite, and whether it was also in range.

    Args:
        value: a vector, or any other array or pytree of them, which need only be finite.
        bounds_of: bounds of the vectors of a size.

    Returns:
        The value, of which a vector that is not finite is replaced by a neutral one; two truth values.
    """
    if not _is_array(value):
        finite = jnp.stack([jnp.asarray(True), *(jnp.isfinite(leaf).all() for leaf in _floats(value))]).all()
        return value, finite, finite
    value = jnp.asarray(value)
    numbers = value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))
    finite = jnp.isfinite(numbers).all()
    if value.ndim != 1:
        return jnp.where(finite, value, jnp.zeros_like(value)), finite, finite
    bounds = bounds_of(value.shape[0])
    neutral = jnp.asarray(bounds.neutral).astype(value.dtype)
    return jnp.where(finite, value, neutral), finite, bounds.hold(numbers).all()


def is_traced(value: Any) -> bool:
    """Whether the numbers of a value are not known yet, all or some."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def _floats(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]


def _is_array(value: Any) -> bool:
    """Whether a value is a number, an array or a nested list of numbers, and no other pytree."""
    if isinstance(value, list | tuple):
        return not hasattr(value, "_fields") and all(_is_array(part) for part in value)
    return jax.tree_util.all_leaves([value])


def _limits(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "finite"
    if np.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if np.isinf(high) else f"from {low:g} to {high:g}"
