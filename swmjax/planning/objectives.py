"""What a plan is for: objectives over rolled-out latents, and the cost functions that they make of a world model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swmjax.planning.types import CostFn
from swmjax.planning.validation import check_choice

Objective = Callable[[Float[Array, "N T *D"], Float[Array, "Tg *D"]], Float[Array, " N"]]
"""Latents of N rollouts and of the goal frames to costs."""


@runtime_checkable
class LatentModel(Protocol):
    """The part of a world model that shooting needs (`swmjax.models.WorldModel` has it)."""

    def encode(self, pixels: Any) -> Any: ...

    def rollout(self, latents: Any, action_history: Any, actions: Any) -> Any: ...


@dataclass(frozen=True)
class GoalMSE:
    """Squared distance between the last predicted latent and that of the last goal frame.

    Args:
        reduction: 'sum' (LeWM) or 'mean' (DINO-WM) over the latent's entries.

    Raises:
        ValueError: Another reduction.

    Source: reference, `planning/objectives`.
    """

    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        check_choice("GoalMSE.reduction", self.reduction, ("sum", "mean"))

    def __call__(self, latents: Float[Array, "N T *D"], goal: Float[Array, "Tg *D"]) -> Float[Array, " N"]:
        """Cost of each rollout.

        Args:
            latents: Latents of N rollouts.
            goal: Latents of the goal frames; no gradient flows into them.

        Returns:
            One cost a rollout.
        """
        square = jnp.square(latents[:, -1] - jax.lax.stop_gradient(goal[-1:]))
        return getattr(jnp, self.reduction)(square, axis=tuple(range(1, square.ndim)))


@chex.dataclass(frozen=True)
class LatentProblem:
    """Where a rollout starts and should end; a leading axis of problems for `solve_batch`.

    Args:
        latents: Latents of Tc context frames, oldest first.
        action_history: The Tc - 1 planner actions between them.
        goal: Latents of the goal frames.
    """

    latents: Float[Array, "*batch Tc D"]
    action_history: Float[Array, "*batch Th A"]
    goal: Float[Array, "*batch Tg D"]


def encode_problems(
    model: LatentModel,
    obs: Float[Array, "B Tc ..."],
    goal: Float[Array, "B Tg ..."],
    action_history: Float[Array, "B Th A"],
) -> LatentProblem:
    """Encode observations and goals once, before the solver's loop.

    Args:
        model: A world model.
        obs: Context observations of B problems, as the model's `encode` takes them.
        goal: Goal observations.
        action_history: The Tc - 1 planner actions between the context observations.

    Returns:
        B problems.
    """
    return LatentProblem(latents=model.encode(obs), action_history=action_history, goal=model.encode(goal))


def latent_cost(
    model: LatentModel, objective: Objective
) -> Callable[[LatentProblem, Float[Array, "N H A"]], Float[Array, " N"]]:
    """The cost of candidates for an encoded problem, for `solve_batch`.

    Args:
        model: A world model; inside `jax.jit` one made by `nnx.merge`, so that its weights are arguments of the
            program and not constants in it.
        objective: For example `GoalMSE()`.

    Returns:
        A function of one problem and its candidates.
    """

    def cost(problem: LatentProblem, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        latents = model.rollout(problem.latents[None], problem.action_history[None], actions[None])
        return objective(latents[0], problem.goal)

    return cost


def shooting_cost(
    model: LatentModel,
    objective: Objective,
    obs: Float[Array, "Tc ..."],
    goal: Float[Array, "Tg ..."],
    action_history: Float[Array, "Th A"],
) -> CostFn:
    """The cost function of one problem: encodes now, rolls out at every call.

    Args:
        model: A world model.
        objective: For example `GoalMSE()`.
        obs: Context observations of one problem.
        goal: Goal observations.
        action_history: The Tc - 1 planner actions between the context observations ([0, A] for one frame).

    Returns:
        Candidates [N, H, A] to costs [N].
    """
    problems = encode_problems(model, obs[None], goal[None], action_history[None])
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    return lambda actions: latent_cost(model, objective)(problem, actions)
