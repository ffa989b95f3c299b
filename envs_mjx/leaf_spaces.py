"""Spaces of single factors of variation; `envs_mjx.spaces` puts them together.

Source: reference: stable_worldmodel/spaces.py.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from envs_mjx.checks import UserError

MAX_TRIES = 1000

Constraint = Callable[[Any], Any]
TracedConstraint = Callable[[Any, Mapping[str, Array]], Any]

_log = logging.getLogger(__name__)


class FactorError(UserError, AssertionError):
    """A value, or a combination of values, outside its space; an AssertionError too, as in the reference."""


class Space:
    """What every space here adds to Gymnasium's: an initial value, a current value and a constraint."""

    init_value: Any
    value: Any
    constrain_fn: Constraint | None
    traced_constrain_fn: TracedConstraint | None

    def _in_bounds(self, x: Any) -> bool:
        raise NotImplementedError

    def _sample_once(self, mask: Any, set_value: bool) -> Any:
        raise NotImplementedError

    def _assign(self, value: Any) -> None:
        raise NotImplementedError

    def _meets_constraint(self, x: Any) -> bool:
        return self.constrain_fn is None or bool(self.constrain_fn(x))

    def contains(self, x: Any) -> bool:
        """Whether `x` is inside the bounds and meets the constraint."""
        return self._in_bounds(x) and self._meets_constraint(x)

    def sample(
        self, mask: Any = None, max_tries: int = MAX_TRIES, warn_after_s: float | None = 5.0, set_value: bool = True
    ) -> Any:
        """Sample with Gymnasium's generator until the constraint is met.

        Args:
            mask: as in Gymnasium.
            max_tries: samples to try.
            warn_after_s: seconds after which a slow search is logged; None for never.
            set_value: whether the sample becomes the current value.

        Raises:
            RuntimeError: no sample met the constraint.
        """
        started = time.monotonic()
        for tries in range(max_tries):
            candidate = self._sample_once(mask, set_value)
            if self.contains(candidate):
                if set_value:
                    self._assign(candidate)
                return candidate
            if warn_after_s is not None and time.monotonic() - started > warn_after_s:
                _log.warning("%d samples of %s, and none meets its constraint yet", tries + 1, self)
                warn_after_s = None
        raise RuntimeError(f"no sample of {self} met its constraint in {max_tries} tries")

    @property
    def _constrained(self) -> bool:
        return self.constrain_fn is not None or self.traced_constrain_fn is not None

    def _traced_meets(self, x: Any, factors: Mapping[str, Array]) -> Array:
        """The constraint inside `jit`; the traced twin wins because it sees the other factors of the draw."""
        if self.traced_constrain_fn is not None:
            return jnp.asarray(self.traced_constrain_fn(x, factors), bool)
        return jnp.asarray(True if self.constrain_fn is None else self.constrain_fn(x), bool)


class Leaf(Space):
    """A space of one factor.

    Attributes:
        init_value: value after `reset`.
        value: current value; `init_value` until something is sampled or set.
        constrain_fn: predicate of a value; it must be traceable by JAX unless `traced_constrain_fn` is given.
        traced_constrain_fn: the same predicate for `Dict.draw`, of a value and all factors of the draw by dotted name
            (those later in the sampling order still have their initial values).
    """

    dtype: Any
    shape: Any
    _gymnasium: ClassVar[Any]

    def _setup(self, init_value: Any, constrain_fn: Constraint | None, traced: TracedConstraint | None) -> None:
        self.constrain_fn = constrain_fn
        self.traced_constrain_fn = traced
        if init_value is not None and not self._in_bounds(init_value):
            raise FactorError(f"init_value {init_value!r} is not in {self}")
        self.init_value = self.value = None if init_value is None else self._native(init_value)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value, both allowed, in the space's shape; float64 or int64."""
        raise NotImplementedError

    def _native(self, x: Any) -> Any:
        return np.asarray(x, dtype=self.dtype)

    def _in_bounds(self, x: Any) -> bool:
        return self._gymnasium.contains(self, np.asarray(x) if isinstance(x, jax.Array) else x)

    def _sample_once(self, mask: Any, set_value: bool) -> Any:
        return self._gymnasium.sample(self, mask=mask)

    def _assign(self, value: Any) -> None:
        self.value = value

    def check(self) -> bool:
        """Whether the current value meets the constraint and the bounds; logs a warning when not."""
        good = self._meets_constraint(self.value) and self._in_bounds(self.value)
        if not good:
            _log.warning("value %r is not in %s or breaks its constraint", self.value, self)
        return good

    def reset(self) -> None:
        """Make the initial value current."""
        self.value = self.init_value

    def set_value(self, value: Any) -> None:
        """Make `value` current; ValueError when it is not contained."""
        self._require(value)
        self.value = self._native(value)

    def set_init_value(self, value: Any) -> None:
        """Change the initial value, current from the next `reset` on; ValueError when it is not contained."""
        self._require(value)
        self.init_value = self._native(value)

    def _require(self, value: Any) -> None:
        if not self._in_bounds(value):
            raise FactorError(f"value {value!r} is not in {self}")
        if not self._meets_constraint(value):
            raise FactorError(f"value {value!r} breaks the constraint of {self}")

    def _traced_dtype(self) -> np.dtype:
        return jax.dtypes.canonicalize_dtype(self.dtype)

    def _candidate(self, key: Array) -> Array:
        """One sample from the bounds alone."""
        dtype, (low, high) = self._traced_dtype(), self.bounds
        if np.issubdtype(dtype, np.floating):
            if not np.all(np.isfinite([low, high])):
                raise UserError(f"cannot draw from {self}: its bounds must be finite")
            # A bound that float32 rounds outwards would let samples leave the space by one ulp.
            cast_low, cast_high = low.astype(dtype), high.astype(dtype)
            low = np.where(cast_low < low, np.nextafter(cast_low, dtype.type(np.inf)), cast_low)
            high = np.where(cast_high > high, np.nextafter(cast_high, dtype.type(-np.inf)), cast_high)
            return jax.random.uniform(key, self.shape, dtype, low, high)
        return jax.random.randint(key, self.shape, low, high + 1, dtype=int).astype(dtype)

    def _draw(self, key: Array, factors: Mapping[str, Array]) -> Array:
        if not self._constrained:
            return self._candidate(key)

        def attempt(tries: Array) -> tuple[Array, Array]:
            candidate = self._candidate(jax.random.fold_in(key, tries))
            return candidate, self._traced_meets(candidate, factors)

        return until_met(attempt)

    def _traced_valid(self, x: Array, factors: Mapping[str, Array]) -> Array:
        low, high = (limit.astype(self._traced_dtype()) for limit in self.bounds)
        return jnp.all((x >= low) & (x <= high)) & self._traced_meets(x, factors)


class Box(Leaf, gymnasium.spaces.Box):  # type: ignore[misc]
    """Interval of real or integer arrays; see `gymnasium.spaces.Box`."""

    _gymnasium = gymnasium.spaces.Box

    def __init__(
        self,
        low: Any,
        high: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = np.float32,
        seed: Any = None,
        init_value: Any = None,
        constrain_fn: Constraint | None = None,
        traced_constrain_fn: TracedConstraint | None = None,
    ) -> None:
        gymnasium.spaces.Box.__init__(self, low, high, shape, dtype, seed)
        self._setup(init_value, constrain_fn, traced_constrain_fn)

    def _in_bounds(self, x: Any) -> bool:
        if isinstance(x, np.ndarray | np.generic | jax.Array):
            # A float64 array is not an element of a float32 box, as in Gymnasium.
            x = np.asarray(x)
            if not np.can_cast(x.dtype, self.dtype):
                return False
        else:
            try:
                x = np.asarray(x, dtype=np.float64)
            except (TypeError, ValueError):
                return False
            if np.issubdtype(self.dtype, np.integer) and not np.all(x == np.floor(x)):
                return False
            low, high = self.low.astype(np.float64), self.high.astype(np.float64)
            return x.shape == self.shape and bool(np.all((x >= low) & (x <= high)))
        return gymnasium.spaces.Box.contains(self, x)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        dtype = np.float64 if np.issubdtype(self.dtype, np.floating) else np.int64
        return self.low.astype(dtype), self.high.astype(dtype)


class RGBBox(Box):
    """Colour or image: integers 0 to 255, one axis of length 3."""

    def __init__(
        self,
        shape: Sequence[int] = (3,),
        seed: Any = None,
        init_value: Any = None,
        constrain_fn: Constraint | None = None,
        traced_constrain_fn: TracedConstraint | None = None,
    ) -> None:
        if 3 not in shape:
            raise UserError(f"shape of an RGBBox must have an axis of length 3, not {tuple(shape)}")
        super().__init__(0, 255, shape, np.uint8, seed, init_value, constrain_fn, traced_constrain_fn)


class Discrete(Leaf, gymnasium.spaces.Discrete):  # type: ignore[misc]
    """Integers `start` to `start + n - 1`."""

    _gymnasium = gymnasium.spaces.Discrete

    def __init__(
        self,
        n: int,
        seed: Any = None,
        start: int = 0,
        init_value: Any = None,
        constrain_fn: Constraint | None = None,
        traced_constrain_fn: TracedConstraint | None = None,
    ) -> None:
        gymnasium.spaces.Discrete.__init__(self, n, seed, start)
        self._setup(init_value, constrain_fn, traced_constrain_fn)

    def _native(self, x: Any) -> Any:
        return np.int64(x)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.start, np.int64), np.asarray(self.start + self.n - 1, np.int64)


class MultiDiscrete(Leaf, gymnasium.spaces.MultiDiscrete):  # type: ignore[misc]
    """Array of integers, each `start[i]` to `start[i] + nvec[i] - 1`."""

    _gymnasium = gymnasium.spaces.MultiDiscrete

    def __init__(
        self,
        nvec: Any,
        seed: Any = None,
        start: Any = None,
        init_value: Any = None,
        constrain_fn: Constraint | None = None,
        traced_constrain_fn: TracedConstraint | None = None,
    ) -> None:
        gymnasium.spaces.MultiDiscrete.__init__(self, nvec, np.int64, seed, start)
        self._setup(init_value, constrain_fn, traced_constrain_fn)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        start = np.asarray(self.start, np.int64)
        return start, start + np.asarray(self.nvec, np.int64) - 1


def until_met(attempt: Callable[[Array], tuple[Any, Array]]) -> Any:
    """Repeat `attempt(tries) -> (candidate, met)` until it is met, at most `MAX_TRIES` times."""

    def again(carry: tuple[Array, Any, Array]) -> Array:
        tries, _, met = carry
        return ~met & (tries < MAX_TRIES)

    def once(carry: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        tries, _, _ = carry
        return (tries + 1, *attempt(tries))

    first = jnp.asarray(0)
    return jax.lax.while_loop(again, once, (first + 1, *attempt(first)))[1]
