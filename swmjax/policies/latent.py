"""Planning in the latent space of a world model, from frames and observed vectors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from gymnasium.spaces import Box
from jaxtyping import Array, Float

from swmjax.planning import LatentProblem, Objective, PlanConfig, Solver, Transitions, model_cost
from swmjax.planning.costs.latent import LatentModel, RewardModel
from swmjax.planning.costs.transitions import model_transitions
from swmjax.policies.base import ActionBox, Observations
from swmjax.policies.images import normalised
from swmjax.policies.mpc import MPCPolicy
from swmjax.policies.rollout import GOAL, PIXELS
from swmjax.policies.scaling import Scaler


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WorldModelPolicy(MPCPolicy):
    """Model-predictive control in the latent space of a world model.

    Args:
        model: A world model.
        solver: Solver of the planning problems.
        config: Horizons and blocks.
        actions: The environment's actions.
        scaler: Action statistics of the model's training data.
        objective: Cost of rolled-out latents against those of the goal; None for a model that predicts rewards.
        image_size: Height and width of the frames that the model takes, px; None if it looks at none.
        vectors: Statistics of the vectors that it observes, by name.
        plan_batch_size: See `MPCPolicy`. With 1 the result of a problem is the same to the bit whatever the batch; more
            are faster on an accelerator, and equal to float tolerance, since the rounding of a matrix product depends
            on its size.

    Source: reference, `policy.py` (`WorldModelPolicy`).
    """

    model: LatentModel | RewardModel
    solver: Solver = field(metadata={"static": True})
    config: PlanConfig = field(metadata={"static": True})
    actions: ActionBox = field(metadata={"static": True})
    scaler: Scaler = field(metadata={"static": True})
    objective: Objective | None = field(metadata={"static": True})
    image_size: int | None = field(default=None, metadata={"static": True})
    vectors: tuple[tuple[str, Scaler], ...] = field(default=(), metadata={"static": True})
    plan_batch_size: int | None = field(default=1, metadata={"static": True})

    @property
    def inputs(self) -> tuple[str, ...]:
        """Frames and vectors, and those of the goals unless rewards are the goal."""
        return self._names if self.objective is None else (*self._names, *map(_of_goal, self._names))

    @property
    def _names(self) -> tuple[str, ...]:
        names = tuple(name for name, _ in self.vectors)
        return names if self.image_size is None else (PIXELS, *names)

    @property
    def space(self) -> Box:
        """Standardised actions."""
        return self.scaler.space(self.actions.space)

    def goals(self, obs: Observations) -> Any:
        """Latents [B, 1, D] of the goals, encoded once an episode; None where rewards are the goal."""
        if self.objective is None:
            return None
        goal = self.seen({name: obs[_of_goal(name)] for name in self._names})
        return self.in_groups(self._encoded, jax.tree.map(lambda leaf: leaf[:, None], goal))

    def seen(self, obs: Observations) -> Any:
        """Frames [B, H, W, 3] alone, or by name with the vectors [B, n]."""
        return obs[PIXELS] if self._names == (PIXELS,) else {name: obs[name] for name in self._names}

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
        if not isinstance(observations, dict):
            return self.model.encode(normalised(observations))
        scaled = {name: scaler.to_model(observations[name]) for name, scaler in self.vectors}
        if PIXELS in observations:
            scaled[PIXELS] = normalised(observations[PIXELS])
        return self.model.encode(scaled)


def _of_goal(name: str) -> str:
    return GOAL if name == PIXELS else f"{GOAL}_{name}"
