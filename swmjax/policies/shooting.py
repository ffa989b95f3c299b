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
from swmjax.planning import GoalMSE, LatentProblem, Objective, Transitions, block_space, model_cost
from swmjax.planning.costs.latent import LatentModel, RewardModel
from swmjax.planning.costs.transitions import model_transitions
from swmjax.planning.spaces import from_one_hot
from swmjax.policies.scaling import Scaler

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class OracleShooting:
    """Planning through the environment itself.

    Args:
        model: Oracle of the environment.
        state_cost: Cost of one final state; None if `running_cost` is all.
        space: The environment's action space, a one-axis Box or a discrete one.
        action_block: Environment actions per planner step.
        running_cost: Cost of the state after each environment step, added up; None if only the final state counts.
    """

    model: OracleModel
    state_cost: Callable[[Any], Float[Array, ""]] | None
    space: gymnasium.Space
    action_block: int = 1
    running_cost: Callable[[Any], Float[Array, ""]] | None = None

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
        """Cost of the states that each candidate leads to; discrete candidates are one-hot vectors."""
        moves: Array = actions
        if not isinstance(self.space, Box):
            moves = from_one_hot(actions, block_space(self.space, self.action_block))
        return self.model.cost_fn(problem, self.state_cost, self.running_cost)(moves)

    @property
    def transitions(self) -> None:
        """None: physics has states, but no latents."""

    def to_env(self, actions: Shaped[Array, "*batch a"]) -> Shaped[Array, "..."]:
        """The same actions, in the shape of the space: the solver works in the environment's units."""
        return actions.reshape(*actions.shape[:-1], *(self.space.shape or ()))


@dataclass(frozen=True)
class LatentShooting:
    """Planning in the latent space of a world model, from rendered frames and observed vectors.

    Args:
        model: A world model; inside `jit` one whose weights are arguments of the program.
        observations: A batch of states to frames [B, H, W, 3] in the size that the model takes, or to a dict of them
            ('pixels') and of vectors [B, I] in the environment's units.
        env_space: The environment's action space.
        scaler: Action statistics of the model's training data.
        problems_at_once: Frames encoded and problems solved side by side. With 1 the result of a problem is the same
            to the bit whatever the batch; more are faster on an accelerator, and equal to float tolerance, since the
            rounding of a matrix product depends on its size.
        objective: Cost of rolled-out latents against those of the goal; None for a model that predicts rewards.
        vectors: Statistics of observed vectors, by name.
    """

    model: LatentModel | RewardModel
    observations: Callable[[Any], Any]
    env_space: Box
    scaler: Scaler
    problems_at_once: int | None = 1
    objective: Objective | None = field(default_factory=GoalMSE)
    vectors: tuple[tuple[str, Scaler], ...] = ()

    @property
    def space(self) -> Box:
        """Standardised actions."""
        return self.scaler.space(self.env_space)

    def goals(self, states: Any) -> Any:
        """Latents [B, 1, D] of the goal observations, encoded once an episode; None where rewards are the goal."""
        if self.objective is None:
            return None
        return self._encoded(jax.tree.map(lambda leaf: leaf[:, None], self.observations(states)))

    def observe(self, states: Any) -> Any:
        """Frames and vectors of the states."""
        return self.observations(states)

    def problems(self, observations: Any, actions: Float[Array, "B Th A"], goals: Any) -> LatentProblem:
        """Latents of the past and current observations beside those of the goals."""
        return LatentProblem(latents=self._encoded(observations), action_history=actions, goal=goals)

    @property
    def cost(self) -> Callable[[LatentProblem, Float[Array, "N H A"]], Float[Array, " N"]]:
        """Cost of the candidates of one problem."""
        return model_cost(self.model, self.objective)

    @property
    def transitions(self) -> Callable[[LatentProblem], Transitions] | None:
        """Single steps of the model; None where rewards are the goal."""
        return None if self.objective is None else model_transitions(self.model)  # type: ignore[arg-type]

    def to_env(self, actions: Float[Array, "*batch a"]) -> Float[Array, "*batch a"]:
        """Undo the standardisation."""
        return self.scaler.to_env(actions)

    def _encoded(self, observations: Any) -> Any:
        if isinstance(observations, dict):
            scaled = {name: scaler.to_model(observations[name]) for name, scaler in self.vectors}
            if "pixels" in observations:
                scaled["pixels"] = normalised(observations["pixels"])
            observations = scaled
        else:
            observations = normalised(observations)
        if self.problems_at_once is None:
            return self.model.encode(observations)

        def one(observation: Any) -> Any:
            latents = self.model.encode(jax.tree.map(lambda leaf: leaf[None], observation))
            return jax.tree.map(lambda leaf: leaf[0], latents)

        return jax.lax.map(one, observations, batch_size=self.problems_at_once)


def normalised(frames: UInt8[Array, "B T H W 3"]) -> Float[Array, "B T 3 H W"]:
    """ImageNet-normalised frames, channels first."""
    scaled = frames.astype(jnp.float32) / 255.0
    mean, std = (jnp.asarray(v)[None, None, None, None, :] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return jnp.moveaxis((scaled - mean) / std, -1, 2)
