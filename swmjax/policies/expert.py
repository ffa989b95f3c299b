"""Policies to collect datasets with: a trained actor, and uniformly random actions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from envs_mjx.checks import UserError
from swmjax.checkpoints.actors import ACTOR_FILE, read_actor
from swmjax.models.actor import Actor


@chex.dataclass(frozen=True)
class DrawCarry:
    """What a policy that draws remembers of B episodes.

    Attributes:
        keys: Of everything that is random.
        step: Actions so far.
    """

    keys: Key[Array, " B"]
    step: Int[Array, ""]

    @classmethod
    def start(cls, seeds: Int[Array, " B"]) -> "DrawCarry":
        """Before the first action.

        Args:
            seeds: Non-negative number of each episode; its actions depend on no other.
        """
        return cls(keys=jax.vmap(jax.random.key)(seeds), step=jnp.zeros((), jnp.int32))

    def next(self) -> tuple[Key[Array, " B"], "DrawCarry"]:
        """Keys of this step, and what to remember."""
        keys = jax.vmap(lambda key: jax.random.fold_in(key, self.step))(self.keys)
        return keys, DrawCarry(keys=self.keys, step=self.step + 1)


@dataclass(frozen=True)
class ExpertPolicy:
    """A trained actor.

    Source: reference, `collect_dmc`: stochastic actions, noise of 0.2, clipped.

    Args:
        actor: The actor; inside `jit` one that is an argument of the program.
        deterministic: Take the most likely action instead of drawing one.
        noise: Standard deviation of Gaussian noise on top, for actions of -1 to 1, where the sum is clipped.

    Raises:
        UserError: The noise is negative or not finite.
    """

    actor: Actor
    deterministic: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.noise) or self.noise < 0.0:
            raise UserError(f"noise must be finite and at least 0, got {self.noise}")

    def init(self, seeds: Int[Array, " B"], goal_states: Any = None) -> DrawCarry:
        """Memory before the first step.

        Args:
            seeds: Non-negative number of each episode.
            goal_states: Not looked at.
        """
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, states: Any, alive: Bool[Array, " B"] | None = None
    ) -> tuple[Float[Array, "B A"], DrawCarry]:
        """The next action of every episode, in the environment's bounds.

        Args:
            carry: Memory.
            states: Current environment states, batched.
            alive: Not looked at: an action depends on nothing but its own row.
        """
        keys, carry = carry.next()

        def one(key: Array, obs: Any) -> Array:
            draw_key, noise_key = jax.random.split(key)
            action = self.actor.mode(obs) if self.deterministic else self.actor.sample(draw_key, obs)
            noise = self.noise * jax.random.normal(noise_key, action.shape, action.dtype)
            return self.actor.to_env(jnp.clip(action + noise, -1.0, 1.0))

        return jax.vmap(one)(keys, states.obs), carry


@dataclass(frozen=True)
class RandomPolicy:
    """Uniformly random actions.

    Args:
        space: The environment's action space, bounded.

    Raises:
        UserError: The space is no bounded Box.
    """

    space: gymnasium.Space

    def __post_init__(self) -> None:
        space = self.space
        if not isinstance(space, gymnasium.spaces.Box) or not np.isfinite([space.low, space.high]).all():
            raise UserError(f"random actions need a Box with bounds, got {self.space}")

    def init(self, seeds: Int[Array, " B"], goal_states: Any = None) -> DrawCarry:
        """Memory before the first step; see `ExpertPolicy.init`."""
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, states: Any, alive: Bool[Array, " B"] | None = None
    ) -> tuple[Float[Array, "B ..."], DrawCarry]:
        """The next action of every episode; see `ExpertPolicy.act`."""
        keys, carry = carry.next()
        assert isinstance(self.space, gymnasium.spaces.Box)
        low, high = (jnp.asarray(bound, jnp.float32) for bound in (self.space.low, self.space.high))
        return jax.vmap(lambda key: jax.random.uniform(key, low.shape, jnp.float32, low, high))(keys), carry


def load_expert(path: str | Path, deterministic: bool = False, noise: float = 0.0) -> ExpertPolicy:
    """The expert of a run.

    Args:
        path: Run folder of `swmjax train-expert`, or the actor's file in it.
        deterministic: See `ExpertPolicy`.
        noise: See `ExpertPolicy`.

    Raises:
        CheckpointError: There is no expert, or it is damaged; a ValueError that names the file.
    """
    path = Path(path)
    return ExpertPolicy(read_actor(path / ACTOR_FILE if path.is_dir() else path)[0], deterministic, noise)
