"""Spaces of factors of variation: Gymnasium spaces with an initial value, constraints and a pure sampler.

Every space has two faces. The stateful one (`sample`, `set_value`, `update`, `check`, `reset`) is the reference's and
runs on the host. The pure one, `Dict.draw`, is a function of a random key that works inside `jit`; it neither reads
nor writes `value`.

Source: reference: stable_worldmodel/spaces.py.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from envs_mjx.checks import UserError, check_name
from envs_mjx.leaf_spaces import (
    Box,
    Constraint,
    Discrete,
    FactorError,
    Leaf,
    MultiDiscrete,
    RGBBox,
    Space,
    TracedConstraint,
    until_met,
)

__all__ = ["Box", "Dict", "Discrete", "FactorError", "MultiDiscrete", "RGBBox", "reset_variation_space"]


class Dict(Space, gymnasium.spaces.Dict):  # type: ignore[misc]
    """Named spaces, possibly nested; factors are addressed by dotted names such as `agent.color`.

    Args:
        spaces: children by name; names hold no dot.
        seed: as in Gymnasium.
        sampling_order: order in which children are sampled, since a constraint may look at earlier factors; children
            that are left out follow in insertion order.
        constrain_fn: predicate of the nested dict of values; traceable unless `traced_constrain_fn` is given.
        traced_constrain_fn: the same predicate for `draw`, of the nested dict and of all factors by dotted name.
    """

    spaces: dict[str, Any]

    def __init__(
        self,
        spaces: Mapping[str, gymnasium.Space],
        seed: Any = None,
        sampling_order: Sequence[str] | None = None,
        constrain_fn: Constraint | None = None,
        traced_constrain_fn: TracedConstraint | None = None,
    ) -> None:
        for name, space in spaces.items():
            if not isinstance(space, Space) or "." in name:
                raise UserError(f"child {name!r} must be a space of envs_mjx.spaces and its name must hold no dot")
        order = list(sampling_order or ())
        for name in order:
            check_name("child in sampling_order", name, spaces)
        # A sequence of pairs keeps insertion order in every Gymnasium version; a mapping would be sorted.
        gymnasium.spaces.Dict.__init__(self, list(spaces.items()), seed)
        self.constrain_fn = constrain_fn
        self.traced_constrain_fn = traced_constrain_fn
        self._order = tuple(dict.fromkeys([*order, *spaces]))

    def _paths(self, children: Sequence[str] | None = None) -> dict[str, Any]:
        """All nodes below this one by dotted name, depth first, groups before their members."""
        found: dict[str, Any] = {}
        for name in children or self.spaces:
            child = self.spaces[name]
            found[name] = child
            if isinstance(child, Dict):
                below = child._paths(child._order if children else None)
                found |= {f"{name}.{path}": space for path, space in below.items()}
        return found

    @property
    def sampling_order(self) -> list[str]:
        """Dotted names in sampling order; a group comes before its members."""
        return list(self._paths(self._order))

    def names(self) -> list[str]:
        """Dotted names of the factors, in insertion order."""
        return [path for path, space in self._paths().items() if isinstance(space, Leaf)]

    def factor(self, name: str) -> Any:
        """The space of a factor or a group by its dotted name; ValueError for an unknown one."""
        paths = self._paths()
        check_name("factor of variation", name, paths)
        return paths[name]

    @property
    def init_value(self) -> dict[str, Any]:  # type: ignore[override]
        """Initial values of the children, nested."""
        return {name: space.init_value for name, space in self.spaces.items()}

    @property
    def value(self) -> dict[str, Any]:  # type: ignore[override]
        """Current values of the children, nested."""
        return {name: space.value for name, space in self.spaces.items()}

    def _in_bounds(self, x: Any) -> bool:
        if not isinstance(x, Mapping) or set(x) != set(self.spaces):
            return False
        return all(space.contains(x[name]) for name, space in self.spaces.items())

    def _sample_once(self, mask: Any, set_value: bool) -> Any:
        masks = mask or {}
        drawn = {name: self.spaces[name].sample(mask=masks.get(name), set_value=set_value) for name in self._order}
        return {name: drawn[name] for name in self.spaces}

    def _assign(self, value: Any) -> None:
        for name, space in self.spaces.items():
            space._assign(value[name])

    def check(self) -> bool:
        """Whether every child's current value is allowed; logs those that are not."""
        checks = [space.check() for space in self.spaces.values()]
        return all(checks)

    def reset(self) -> None:
        """Make all initial values current."""
        for space in self.spaces.values():
            space.reset()

    def update(self, keys: Sequence[str]) -> None:
        """Resample the named factors and groups in sampling order; `("all",)` means every factor.

        Raises:
            UserError: an unknown name, or a combination of values that breaks a constraint (also an AssertionError).
        """
        self._resample(keys)
        self._require_check()

    def _resample(self, keys: Sequence[str]) -> None:
        chosen = self.select(keys)
        if len(chosen) == len(self.names()):
            self.sample()
            return
        for path, space in self._paths(self._order).items():
            if path in chosen:
                space.sample()

    def _require_check(self) -> None:
        if not self.check():
            bad = [path for path in self.names() if not self.factor(path).check()]
            raise FactorError(f"factors of variation {bad} are outside their spaces or break their constraints")

    def set_value(self, values: Mapping[str, Any]) -> None:
        """Make values current, given by dotted name (a group takes a mapping of names relative to it).

        Raises:
            UserError: an unknown name, or a value outside its space (also an AssertionError).
        """
        for name, value in self._flatten(values).items():
            self._named(name, self.factor(name).set_value, value)

    def set_init_value(self, values: Mapping[str, Any]) -> None:
        """Change initial values, given as in `set_value`; they become current with the next `reset`."""
        for name, value in self._flatten(values).items():
            self._named(name, self.factor(name).set_init_value, value)

    @staticmethod
    def _named(name: str, setter: Callable[[Any], None], value: Any) -> None:
        try:
            setter(value)
        except FactorError as error:
            raise FactorError(f"factor {name!r}: {error}") from None

    def _flatten(self, values: Mapping[str, Any]) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in values.items():
            space = self.factor(name)
            if not isinstance(space, Dict):
                flat[name] = value
            elif isinstance(value, Mapping):
                flat |= {f"{name}.{below}": inner for below, inner in space._flatten(value).items()}
            else:
                raise FactorError(f"group {name!r} takes a mapping of its factors, not {value!r}")
        return flat

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """Dotted names of the factors meant by names of factors and groups, or by `("all",)`.

        Raises:
            UserError: an unknown name (the nearest are offered), or a bare string.
        """
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise UserError(f"variation must be a sequence of names such as ('agent.color',), not {names!r}")
        leaves = self.names()
        if "all" in names:
            return tuple(leaves)
        for name in names:
            self.factor(name)
        return tuple(leaf for leaf in leaves if any(leaf == name or leaf.startswith(f"{name}.") for name in names))

    def as_factors(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Explicit values, given as in `set_value`, as arrays by dotted name; pure.

        Raises:
            UserError: an unknown name, a value of another shape, or a concrete value outside its bounds.
        """
        return {name: _as_factor(name, self.factor(name), value) for name, value in self._flatten(values).items()}

    def draw(self, key: Array, names: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """Factors of one episode, as a pure function; works under `jit` and `vmap`.

        A factor's sample depends on the key and its own name alone, not on which others are sampled, unless a
        constraint ties them. A constraint that is not met after 1,000 tries keeps the last try; `valid` tells.

        Args:
            key: typed random key.
            names: factors and groups to sample, `("all",)` for every factor; the others take their initial values.
            values: explicit values, as in `set_value`; they win, may be traced, and then are not checked.

        Returns:
            Value of every factor by dotted name; float64 spaces give float32 unless x64 is on.

        Raises:
            UserError: an unknown name, a value of another shape, or a concrete value outside its bounds.
        """
        leaves = {name: self.factor(name) for name in self.names()}
        fixed = self.as_factors(values or {})
        chosen = set(self.select(names)) - set(fixed)
        for name, leaf in leaves.items():
            if leaf.init_value is None and name not in chosen and name not in fixed:
                raise UserError(f"factor {name!r} has no initial value: sample it or give one")
        initial = {
            name: jnp.asarray(leaf.init_value, leaf._traced_dtype())
            for name, leaf in leaves.items()
            if leaf.init_value is not None
        }

        def attempt(tries: Array | int) -> tuple[dict[str, Array], Array]:
            factors = initial | fixed
            for name in self.sampling_order:
                if name in chosen:
                    # A checksum of the name, so that adding a factor does not change the others' samples.
                    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
                    factors[name] = leaves[name]._draw(jax.random.fold_in(own, tries), factors)
            return {name: factors[name] for name in leaves}, self._groups_meet(factors)

        groups = [self, *(space for space in self._paths().values() if isinstance(space, Dict))]
        return until_met(attempt) if any(group._constrained for group in groups) else attempt(0)[0]

    def valid(self, factors: Mapping[str, Array]) -> Bool[Array, ""]:
        """Whether factors by dotted name are inside their spaces and meet all constraints; pure."""
        leaves = [self.factor(name)._traced_valid(factors[name], factors) for name in self.names()]
        return jnp.all(jnp.stack([*leaves, self._groups_meet(factors)]))

    def _groups_meet(self, factors: Mapping[str, Array], prefix: str = "") -> Array:
        good = jnp.asarray(True)
        if self._constrained:
            good = self._traced_meets(self._nested(factors, prefix), factors)
        for name, space in self.spaces.items():
            if isinstance(space, Dict):
                good = good & space._groups_meet(factors, f"{prefix}{name}.")
        return good

    def _nested(self, factors: Mapping[str, Array], prefix: str) -> dict[str, Any]:
        return {
            name: space._nested(factors, f"{prefix}{name}.") if isinstance(space, Dict) else factors[f"{prefix}{name}"]
            for name, space in self.spaces.items()
        }


def reset_variation_space(
    space: Dict, seed: int | None = None, options: Mapping[str, Any] | None = None, defaults: Sequence[str] = ()
) -> None:
    """Reset the stateful face for a new episode: seed, initial values, samples, explicit values, check.

    Args:
        space: the variation space.
        seed: seed of Gymnasium's generators; None for entropy of the operating system.
        options: `variation` names what to sample (instead of `defaults`), `variation_values` gives explicit values.
        defaults: names sampled when `options` does not say.

    Raises:
        UserError: an unknown name or a value outside its space. Explicit values are applied before the check, so
            they can repair a combination (the reference checks first).
    """
    options = options or {}
    space.seed(seed)
    space.reset()
    space._resample(options.get("variation", defaults))
    space.set_value(options.get("variation_values") or {})
    space._require_check()


def _numbers(name: str, value: Any) -> np.ndarray:
    """A value of a factor as an array of numbers."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        numbers = np.asarray(None)
    if numbers.dtype.kind not in "biuf":
        raise FactorError(f"factor {name!r} takes numbers, not {value!r}")
    return numbers


def _as_factor(name: str, leaf: Any, value: Any) -> Array:
    """An explicit value as a JAX array; its bounds are checked when it is concrete."""
    if not isinstance(value, jax.core.Tracer):
        value = _numbers(name, value)
    if np.shape(value) == () and leaf.shape == (1,):
        value = jnp.reshape(value, (1,)) if isinstance(value, jax.core.Tracer) else np.reshape(value, (1,))
    if np.shape(value) != leaf.shape:
        raise FactorError(f"factor {name!r} has shape {leaf.shape}, not {np.shape(value)}")
    if not isinstance(value, jax.core.Tracer):
        host = value
        low, high = leaf.bounds
        if np.issubdtype(host.dtype, np.inexact) and np.issubdtype(leaf.dtype, np.integer):
            raise FactorError(f"factor {name!r} takes integers, not {value!r}")
        # Compared in the narrower of the two precisions: float32(2 pi) is a legal angle although it exceeds 2 pi.
        if np.issubdtype(host.dtype, np.floating):
            low, high = low.astype(host.dtype), high.astype(host.dtype)
        if not np.all((host >= low) & (host <= high)):
            raise FactorError(f"factor {name!r}: value {value!r} is not in {leaf}")
    return jnp.asarray(value, leaf._traced_dtype())
