"""The contract of policies: from observations to actions, with a carry for what they remember."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from envs_mjx.checks import UserError

Observations = dict[str, Any]
"""What a policy sees of B episodes, by name: `pixels` uint8 [B, H, W, 3], vectors [B, n] under the names that the
environment gives them; `goal` and `goal_<name>`: the same of the state that shows the goal; `env_state`: the batched
state of the simulator itself (`state` is what environments call a vector of theirs)."""


class Policy(abc.ABC):
    """Pure functions of B episodes; one row never depends on another.

    A subclass is a frozen dataclass and a pytree (`jax.tree_util.register_dataclass`) whose weights are leaves and
    whose hyperparameters are static: compiled programs take it as an argument, and no weight is a constant of theirs.
    A policy sees observations and never the simulator, unless it asks for `env_state`.
    """

    @property
    @abc.abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Names of the observations that it reads, see `Observations`; no others are made."""

    @property
    def image_size(self) -> int | None:
        """Height and width of the frames that it looks at, px; as the environment renders them if None."""
        return None

    @abc.abstractmethod
    def init(self, seeds: Int[Array, " B"], obs: Observations) -> Any:
        """Memory before the first step.

        Args:
            seeds: Non-negative number of each episode; whatever is random in it depends on this alone.
            obs: Observations of the starts, goals among them.
        """

    @abc.abstractmethod
    def act(self, carry: Any, obs: Observations, alive: Bool[Array, " B"]) -> tuple[Shaped[Array, "B ..."], Any]:
        """The next action of every episode, in the environment's units.

        Args:
            carry: Memory.
            obs: Current observations, and those of the goals.
            alive: Episodes that go on; nothing needs to be computed for the others, whose actions are not executed.

        Returns:
            Actions, and the memory after.
        """

    def looks(self, carry: Any, alive: Bool[Array, " B"]) -> Bool[Array, ""]:
        """Whether the next `act` reads its current observations; where it does not, they need not be made."""
        return alive.any()

    @abc.abstractmethod
    def reset(self, carry: Any, rows: Bool[Array, " B"]) -> Any:
        """Memory in which some episodes have begun anew; what they draw goes on.

        Args:
            carry: Memory.
            rows: Which episodes.
        """

    def tally(self, carry: Any) -> dict[str, Int[Array, " B"]]:
        """What the policy counts of every episode, by name; `plans` and `failed_plans` where it plans."""
        return {}


@dataclass(frozen=True)
class ActionBox:
    """Bounds of single actions: a one-axis Box that can be hashed, as the static fields of policies must be."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, space: gymnasium.Space) -> "ActionBox":
        """The bounds of an environment's action space.

        Raises:
            UserError: It is no Box of one axis.
        """
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"actions must be those of a Box with one axis, got {space}")
        return cls(tuple(space.low.tolist()), tuple(space.high.tolist()))

    @property
    def space(self) -> gymnasium.spaces.Box:
        """The Box."""
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        return gymnasium.spaces.Box(low, high, dtype=np.float32)

    def draw(self, key: Key[Array, ""]) -> Float[Array, " A"]:
        """A uniformly random action."""
        low, high = (jnp.asarray(bound, jnp.float32) for bound in (self.low, self.high))
        return jax.random.uniform(key, low.shape, jnp.float32, low, high)


@chex.dataclass(frozen=True)
class DrawCarry:
    """What a policy that draws its actions remembers of B episodes.

    Attributes:
        keys: Of everything that is random.
        step: Actions so far.
    """

    keys: Key[Array, " B"]
    step: Int[Array, ""]

    @classmethod
    def start(cls, seeds: Int[Array, " B"]) -> "DrawCarry":
        """Before the first action of episodes with these numbers."""
        check_seeds(seeds)
        return cls(keys=jax.vmap(jax.random.key)(seeds), step=jnp.zeros((), jnp.int32))

    def next(self) -> tuple[Key[Array, " B"], "DrawCarry"]:
        """Keys of this step, and what to remember."""
        keys = jax.vmap(lambda key: jax.random.fold_in(key, self.step))(self.keys)
        return keys, DrawCarry(keys=self.keys, step=self.step + 1)


def check_seeds(seeds: Any, count: int | None = None) -> None:
    """Refuse what is not one whole number for each episode.

    Args:
        seeds: what was given.
        count: Episodes, if that is known.

    Raises:
        UserError: says what was given.
    """
    shape, dtype = getattr(seeds, "shape", ()), getattr(seeds, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or len(shape) != 1 or count not in (None, *shape):
        each = "episode" if count is None else f"of the {count} episodes"
        got = repr(seeds) if dtype is None else f"{dtype} of shape {list(shape)}"
        raise UserError(f"seeds must be an array of whole numbers, one for each {each}, got {got}")


def zeros_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """Zeros in the place of what a function gives, which is only asked for its shapes."""

    def zeros(leaf: jax.ShapeDtypeStruct) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(jax.random.key(0), leaf.shape)
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(zeros, jax.eval_shape(function, *arguments))
