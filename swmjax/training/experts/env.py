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

from envs_mjx import Env, State, programs
from envs_mjx.checks import UserError
from envs_mjx.wrappers import AutoReset, TimeLimit
from swmjax.models.actor import Actor, flat_observation, scaled
from swmjax.policies.base import Observations, Policy
from swmjax.policies.rollout import Start, rollout


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
        return self._episodes.within(programs.reset_batch(self._episodes, keys, self.variation))

    @cached_property
    def _episodes(self) -> AutoReset:
        return AutoReset(TimeLimit(self.env, self.episode_steps), self.variation)

    def step(self, states: State, actions: Float[Array, "B A"]) -> tuple[State, Experience]:
        """One step of B environments; ended ones start a fresh episode.

        Args:
            states: Before.
            actions: -1 to 1.

        Returns:
            The states to go on from, and what happened.
        """
        after = programs.step_batch(self._episodes, states, scaled(actions, self.low, self.high))
        cut = after.truncated & ~after.terminated
        return self._episodes.within(after), Experience(
            observation=self.observe(states),
            action=actions,
            reward=after.reward.astype(jnp.float32),
            next_observation=flat_observation(after.info["final_obs"], self.observations),
            terminated=after.terminated,
            cut=cut,
            broken=after.info["final_info"].get("diverged", jnp.zeros_like(cut)),
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
        start = Start(states=states, seeds=jnp.arange(episodes), alive=~(states.terminated | states.truncated))
        policy = _Judged(actor, random, action_key, self.low, self.high)
        played = rollout(self.env, policy, start, self.episode_steps, keep=lambda states, _: states.reward)
        counts = jnp.arange(1, self.episode_steps + 1)[:, None] <= played.length[None]
        rewards = jnp.where(counts, played.kept[1:].astype(jnp.float32), 0.0)
        # One after the other, as an episode collects them.
        returns, _ = jax.lax.scan(
            lambda total, reward: (total + reward, None), jnp.zeros(episodes, jnp.float32), rewards
        )
        return returns, played.length


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Judged(Policy):
    """The most likely actions of an actor, or uniformly random ones in their place."""

    actor: Actor
    random: Any
    key: Any
    low: Any
    high: Any

    @property
    def inputs(self) -> tuple[str, ...]:
        """The vectors that the actor was trained on."""
        return self.actor.observations

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> Int[Array, ""]:
        """Steps so far."""
        return jnp.zeros((), jnp.int32)

    def act(
        self, carry: Int[Array, ""], obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Float[Array, "B A"], Int[Array, ""]]:
        """The next actions, in the environment's bounds."""
        shape = (alive.shape[0], self.low.shape[0])
        noise = jax.random.uniform(jax.random.fold_in(self.key, carry), shape, jnp.float32, -1.0, 1.0)
        actions = jnp.where(self.random, noise, self.actor.mode(obs))
        return scaled(actions, self.low, self.high), carry + 1

    def reset(self, carry: Int[Array, ""], rows: Bool[Array, " B"]) -> Int[Array, ""]:
        """The same: nothing is kept of what has been seen."""
        return carry
