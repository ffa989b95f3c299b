"""Single steps of a model, for solvers that plan in states as well as in actions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.planning.costs.latent import LatentModel, LatentProblem
from swmjax.planning.types import CostFn, Problem, Transitions


@runtime_checkable
class StepModel(LatentModel, Protocol):
    """A world model that predicts from windows of any length (`swmjax.models.WorldModel` does)."""

    def predict(self, latents: Any, actions: Any) -> Any: ...


def model_transitions(model: LatentModel) -> Callable[[LatentProblem], Transitions]:
    """Single steps of a world model for encoded problems, as `solve_batch` takes them.

    Args:
        model: A world model, see `model_cost`.

    Returns:
        A function of one problem; it raises UserError where latents are no single array, or the model has no single
        steps. These see a window of one latent, rollouts the model's whole window.
    """

    def transitions(problem: LatentProblem) -> Transitions:
        if not isinstance(problem.latents, jax.Array):
            raise UserError(f"model_transitions needs latents that are one array, got {type(problem.latents).__name__}")
        if not isinstance(model, StepModel):
            raise UserError(f"model_transitions needs a model that predicts single steps, got a {type(model).__name__}")
        context = problem.latents.shape[0]

        def rollout(actions: Float[Array, "N H A"]) -> Float[Array, "N H *D"]:
            return model.rollout(problem.latents[None], problem.action_history[None], actions[None])[0, :, context:]

        return Transitions(
            start=problem.latents[-1],
            goal=problem.goal[-1],
            predict=lambda latents, actions: model.predict(latents[:, None], actions[:, None])[:, 0],
            rollout=rollout,
        )

    return transitions


def function_transitions(
    step: Callable[[Float[Array, "T *D"], Float[Array, "T A"]], Float[Array, "T *D"]],
    start: Float[Array, "*D"],
    goal: Float[Array, "*D"],
) -> Transitions:
    """Single steps of a function.

    Args:
        step: T states and the action in each to the T states after them.
        start: The current state.
        goal: The state to reach.
    """

    def rollout(actions: Float[Array, "N H A"]) -> Float[Array, "N H *D"]:
        states = jnp.broadcast_to(start[None], (actions.shape[0], *start.shape))
        seen = []
        for time in range(actions.shape[1]):
            states = step(states, actions[:, time])
            seen.append(states)
        return jnp.stack(seen, axis=1)

    return Transitions(start=start, goal=goal, predict=step, rollout=rollout)


@dataclass(frozen=True, eq=False)
class TransitionCost:
    """Costs and single steps in one object, as `solve` took them before it had `transitions`; goes with release 0.2."""

    cost_fn: CostFn
    start: Float[Array, "*D"]
    goal: Float[Array, "*D"]
    predict: Callable[[Float[Array, "T *D"], Float[Array, "T A"]], Float[Array, "T *D"]]
    rollout: Callable[[Float[Array, "N H A"]], Float[Array, "N H *D"]]

    def __call__(self, candidates: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of candidates."""
        return self.cost_fn(candidates)

    @property
    def transitions(self) -> Transitions:
        """The single steps alone."""
        return Transitions(start=self.start, goal=self.goal, predict=self.predict, rollout=self.rollout)


@dataclass(frozen=True, eq=False)
class ProblemTransitions:
    """`TransitionCost` of a problem, as `solve_batch` took it; goes with release 0.2."""

    of: Callable[[Problem], TransitionCost]
    cost: Callable[[Problem, Float[Array, "N H A"]], Float[Array, " N"]] | None = None

    def __call__(self, problem: Problem, candidates: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of one problem's candidates."""
        return self.of(problem)(candidates) if self.cost is None else self.cost(problem, candidates)

    def transitions(self, problem: Problem) -> Transitions:
        """The single steps alone."""
        return self.of(problem).transitions
