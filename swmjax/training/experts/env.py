"""What an expert is trained on: a batch of episodes that restart by themselves, and evaluation episodes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from envs_mjx.restart import restart_ended
from swmjax.models.actor import Actor, flat_observation, scaled


@chex.dataclass(frozen=True)
class Experience:
    """One step of B environments.

    Attributes:
        observation: Before the step.
        action: -1 to 1.
        reward: Of the step.
        next_observation: After it, before a restart.
        terminated: Whether the task ended; nothing is to be expected after it.
        cut: Whether the episode was cut at its time limit; the next state still has a value.
        broken: Whether physics diverged, so that the step teaches nothing.
    """

    observation: Float[Array, "*batch O"]
    action: Float[Array, "*batch A"]
    reward: Float[Array, "*batch"]
    next_observation: Float[Array, "*batch O"]
    terminated: Bool[Array, "*batch"]
    cut: Bool[Array, "*batch"]
    broken: Bool[Array, "*batch"]


@dataclass(frozen=True)
class TrainingEnv:
    """An environment with flat observations and bounded actions, as training sees it.

    Args:
        env: The environment.
        episode_steps: Steps after which an episode is cut, where the environment does not do it earlier.
        variation: Factors of variation that each episode samples; the environment's own choice if None.

    Raises:
        UserError: Actions that are not a bounded one-axis Box, an observation that is not made of vectors, or an
            unknown factor.
    """

    env: Env
    episode_steps: int = 1000
    variation: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        name, space = type(self.env).__name__, self.env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"{name} has the actions {space}; an expert needs a Box with one axis")
        if not np.isfinite([space.low, space.high]).all():
            raise UserError(f"{name} has unbounded actions {space}; an expert needs bounds to squash into")
        for entry, part in self.env.observation_space.spaces.items():
            if not isinstance(part, gymnasium.spaces.Box) or len(part.shape) != 1:
                raise UserError(f"{name} observes {entry} as {part}; an expert needs vectors")
        self.env.check_reset(self.variation)

    @property
    def observations(self) -> tuple[str, ...]:
        """Names of the observation's entries, in the order in which they are concatenated."""
        return tuple(self.env.observation_space.spaces)

    @property
    def observation_size(self) -> int:
        """Length of the flat observation."""
        return sum(part.shape[0] for part in self.env.observation_space.spaces.values() if part.shape)

    @property
    def action_size(self) -> int:
        """Length of an action."""
        return self._bounds[0].shape[0]

    @property
    def low(self) -> Float[Array, " A"]:
        """Lower bound of the environment's actions."""
        return jnp.asarray(self._bounds[0])

    @property
    def high(self) -> Float[Array, " A"]:
        """Upper bound."""
        return jnp.asarray(self._bounds[1])

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        space = self.env.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        return np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)

    def observe(self, states: State) -> Float[Array, "*batch O"]:
        """Flat observations."""
        return flat_observation(states.obs, self.observations)

    def reset(self, keys: Key[Array, " B"]) -> State:
        """B fresh episodes."""
        return jax.vmap(self._fresh)(keys)

    def _fresh(self, key: Key[Array, ""]) -> State:
        return self.env.reset(key, variation=self.variation)

    def step(self, states: State, actions: Float[Array, "B A"]) -> tuple[State, Experience]:
        """One step of B environments; ended ones start a fresh episode.

        Args:
            states: Before.
            actions: -1 to 1.

        Returns:
            The states to go on from, and what happened.
        """
        stepped = jax.vmap(self.env.step)(states, scaled(actions, self.low, self.high))
        cut = (stepped.truncated | (stepped.step >= self.episode_steps)) & ~stepped.terminated
        ended = stepped.terminated | cut

        after = restart_ended(stepped, ended, stepped, self._fresh)
        return after, Experience(
            observation=self.observe(states),
            action=actions,
            reward=stepped.reward.astype(jnp.float32),
            next_observation=self.observe(stepped),
            terminated=stepped.terminated,
            cut=cut,
            broken=stepped.info.get("diverged", jnp.zeros_like(cut)),
        )

    def evaluate(
        self, actor: Actor, key: Key[Array, ""], episodes: int, random: Bool[Array, ""]
    ) -> tuple[Float[Array, " E"], Int[Array, " E"]]:
        """Full fresh episodes with the most likely actions.

        Args:
            actor: The actor.
            key: Decides how the episodes start.
            episodes: Number of them.
            random: Whether uniformly random actions take the place of the actor's, to compare with.

        Returns:
            Sum of rewards and number of steps of every episode.
        """
        start_key, action_key = jax.random.split(key)
        states = self.reset(jax.random.split(start_key, episodes))
        zeros = jnp.zeros((episodes,), jnp.float32)

        def going(carry: Any) -> Array:
            return ~carry[3].all() & (carry[4] < self.episode_steps)

        def advance(carry: Any) -> Any:
            states, returns, lengths, over, count = carry
            noise = jax.random.uniform(
                jax.random.fold_in(action_key, count), (episodes, self.action_size), jnp.float32, -1.0, 1.0
            )
            actions = jnp.where(random, noise, actor.mode(states.obs))
            moved = jax.vmap(self.env.step)(states, scaled(actions, self.low, self.high))
            states = jax.tree.map(lambda new, old: jax.vmap(jnp.where)(over, old, new), moved, states)
            returns = returns + jnp.where(over, 0.0, moved.reward.astype(jnp.float32))
            return states, returns, lengths + ~over, over | moved.terminated | moved.truncated, count + 1

        over, lengths = states.terminated | states.truncated, zeros.astype(jnp.int32)
        carry = (states, zeros, lengths, over, jnp.zeros((), jnp.int32))
        _, returns, lengths, _, _ = jax.lax.while_loop(going, advance, carry)
        return returns, lengths
