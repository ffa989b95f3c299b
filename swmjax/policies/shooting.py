"""What a planning policy can plan with: the environment's own physics, or a latent world model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Shaped, UInt8

from swmjax.models import OracleModel
from swmjax.planning import GoalMSE, LatentModel, LatentProblem, Objective, block_space, from_one_hot, latent_cost

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class OracleShooting:
    """Planning through the environment itself.

    Args:
        model: Oracle of the environment.
        state_cost: Cost of one final state.
        space: The environment's action space, a one-axis Box or a discrete one.
        action_block: Environment actions per planner step.
    """

    model: OracleModel
    state_cost: Callable[[Any], Float[Array, ""]]
    space: gymnasium.Space
    action_block: int = 1

    @property
    def problems_at_once(self) -> None:
        """All: physics is arithmetic element by element, the same to the bit in any batch."""

    def goals(self, states: Any) -> None:
        """Nothing: every state knows its goal."""

    def observe(self, states: Any) -> Any:
        """The states themselves."""
        return states

    def problems(self, observations: Any, actions: Shaped[Array, "B Th A"], goals: None) -> Any:
        """The current states: physics needs no history."""
        return jax.tree.map(lambda leaf: leaf[:, -1], observations)

    def cost(self, problem: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Cost of the state that each candidate leads to; discrete candidates are one-hot vectors."""
        moves: Array = actions
        if not isinstance(self.space, Box):
            moves = from_one_hot(actions, block_space(self.space, self.action_block))
        return self.model.cost_fn(problem, self.state_cost)(moves)

    def to_env(self, actions: Shaped[Array, "*batch a"]) -> Shaped[Array, "..."]:
        """The same actions, in the shape of the space: the solver works in the environment's units."""
        return actions.reshape(*actions.shape[:-1], *(self.space.shape or ()))


@dataclass(frozen=True)
class ActionScaler:
    """Standardisation of single environment actions, as the model saw them in training.

    Args:
        mean: Mean of every action entry.
        std: Standard deviation of every action entry, above 0.

    Raises:
        ValueError: The two differ in length, or a deviation is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"action mean and std must have the same length, got {len(self.mean)} and {len(self.std)}")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std, default=1.0) <= 0.0:
            raise ValueError(
                f"action mean must be finite and std finite and above 0, got {list(self.mean)} and {list(self.std)}"
            )

    def to_env(self, actions: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """Environment actions of standardised ones."""
        shape = (1,) * (actions.ndim - 1) + (-1,)
        mean, std = (jnp.asarray(values, actions.dtype).reshape(shape) for values in (self.mean, self.std))
        return actions * std + mean

    def space(self, space: Box) -> Box:
        """The environment's action space in standardised units."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        if space.shape != mean.shape:
            raise ValueError(f"action statistics have {mean.size} entries, the environment's actions {space.shape}")
        return Box((space.low - mean) / std, (space.high - mean) / std, dtype=np.float32)


@dataclass(frozen=True)
class LatentShooting:
    """Planning in the latent space of a world model, from rendered frames.

    Args:
        model: A world model; inside `jit` one whose weights are arguments of the program.
        frames: Frames [B, H, W, 3] of a batch of states, in the size that the model takes.
        env_space: The environment's action space.
        scaler: Action statistics of the model's training data.
        problems_at_once: Frames encoded and problems solved side by side. With 1 the result of a problem is the same
            to the bit whatever the batch; more are faster on an accelerator, and equal to float tolerance, since the
            rounding of a matrix product depends on its size.
        objective: Cost of rolled-out latents against those of the goal.
    """

    model: LatentModel
    frames: Callable[[Any], UInt8[Array, "B H W 3"]]
    env_space: Box
    scaler: ActionScaler
    problems_at_once: int | None = 1
    objective: Objective = field(default_factory=GoalMSE)

    @property
    def space(self) -> Box:
        """Standardised actions."""
        return self.scaler.space(self.env_space)

    def goals(self, states: Any) -> Any:
        """Latents [B, 1, D] of the goal frames, encoded once an episode."""
        return self._encoded(self.frames(states)[:, None])

    def observe(self, states: Any) -> UInt8[Array, "B H W 3"]:
        """Frames of the states."""
        return self.frames(states)

    def problems(
        self, observations: UInt8[Array, "B T H W 3"], actions: Float[Array, "B Th A"], goals: Any
    ) -> LatentProblem:
        """Latents of the past and current frames beside those of the goals."""
        return LatentProblem(latents=self._encoded(observations), action_history=actions, goal=goals)

    def cost(self, problem: LatentProblem, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Cost of each candidate's last predicted latent."""
        return latent_cost(self.model, self.objective)(problem, actions)

    def to_env(self, actions: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """Undo the standardisation."""
        return self.scaler.to_env(actions)

    def _encoded(self, frames: UInt8[Array, "B T H W 3"]) -> Any:
        frames = normalised(frames)
        if self.problems_at_once is None:
            return self.model.encode(frames)
        return jax.lax.map(lambda one: self.model.encode(one[None])[0], frames, batch_size=self.problems_at_once)


def normalised(frames: UInt8[Array, "B T H W 3"]) -> Float[Array, "B T 3 H W"]:
    """ImageNet-normalised frames, channels first."""
    scaled = frames.astype(jnp.float32) / 255.0
    mean, std = (jnp.asarray(v)[None, None, None, None, :] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return jnp.moveaxis((scaled - mean) / std, -1, 2)
