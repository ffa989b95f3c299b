"""Costs that also know the model's single steps, for solvers that plan in states as well as in actions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.planning.latent_cost import LatentModel, LatentProblem, latent_cost
from swmjax.planning.objectives import Objective
from swmjax.planning.scoring import Scorer
from swmjax.planning.types import CostFn, Problem


@runtime_checkable
class StepModel(LatentModel, Protocol):
    """A world model that predicts from windows of any length (`swmjax.models.WorldModel` does)."""

    def predict(self, latents: Any, actions: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class TransitionCost:
    """The cost of candidates, where they start, where they should end, and the model in between.

    Args:
        cost_fn: Candidates [N, H, A] to costs [N].
        start: The current latent.
        goal: The latent to reach.
        predict: T latents [T, *D] and the action [T, A] in each to the T latents after them, each from one latent.
        rollout: Candidates to the H latents that they lead to, [N, H, *D].
    """

    cost_fn: CostFn
    start: Float[Array, "*D"]
    goal: Float[Array, "*D"]
    predict: Callable[[Float[Array, "T *D"], Float[Array, "T A"]], Float[Array, "T *D"]]
    rollout: Callable[[Float[Array, "N H A"]], Float[Array, "N H *D"]]

    def __call__(self, candidates: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of candidates."""
        return self.cost_fn(candidates)


@dataclass(frozen=True, eq=False)
class ProblemTransitions:
    """A cost function for `solve_batch` that also has the `TransitionCost` of every problem.

    Args:
        of: One problem to its `TransitionCost`.
        cost: One problem and its candidates to their costs; by default what `of` says.
    """

    of: Callable[[Problem], TransitionCost]
    cost: Callable[[Problem, Float[Array, "N H A"]], Float[Array, " N"]] | None = None

    def __call__(self, problem: Problem, candidates: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of one problem's candidates."""
        return self.of(problem)(candidates) if self.cost is None else self.cost(problem, candidates)


def model_transitions(model: StepModel, objective: Objective) -> ProblemTransitions:
    """Costs and single steps of a world model for encoded problems.

    Args:
        model: A world model, see `latent_cost`.
        objective: For example `GoalMSE()`.

    Returns:
        A cost function for `solve_batch`; `.of(problem)` is one for `solve`. Single steps see a window of one latent,
        rollouts the model's whole window. Where a problem's latents are no single array, `.of` raises ValueError.
    """

    cost = latent_cost(model, objective)

    def of(problem: LatentProblem) -> TransitionCost:
        if not isinstance(problem.latents, jax.Array):
            raise UserError(f"model_transitions needs latents that are one array, got {type(problem.latents).__name__}")
        context = problem.latents.shape[0]

        def rollout(actions: Float[Array, "N H A"]) -> Float[Array, "N H *D"]:
            return model.rollout(problem.latents[None], problem.action_history[None], actions[None])[0, :, context:]

        return TransitionCost(
            cost_fn=partial(cost, problem),
            start=problem.latents[-1],
            goal=problem.goal[-1],
            predict=lambda latents, actions: model.predict(latents[:, None], actions[:, None])[:, 0],
            rollout=rollout,
        )

    return ProblemTransitions(of, cost)


def function_transitions(
    step: Callable[[Float[Array, "T *D"], Float[Array, "T A"]], Float[Array, "T *D"]],
    start: Float[Array, "*D"],
    goal: Float[Array, "*D"],
) -> TransitionCost:
    """Costs and single steps of a function; the cost is the squared distance of the last state to the goal.

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

    def cost(actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        distance = jnp.square(rollout(actions)[:, -1] - goal[None])
        return jnp.sum(distance, axis=tuple(range(1, distance.ndim)))

    return TransitionCost(cost_fn=cost, start=start, goal=goal, predict=step, rollout=rollout)


def transitions_of(cost_fn: Scorer, solver: str) -> TransitionCost:
    """The `TransitionCost` behind a scorer.

    Raises:
        UserError: The cost function is none.
    """
    found = cost_fn.cost_fn
    if isinstance(found, partial) and isinstance(found.func, ProblemTransitions):
        return found.func.of(*found.args)
    if isinstance(found, TransitionCost):
        return found
    raise UserError(
        f"{solver} plans in states as well as in actions and needs a cost function that knows the model's single "
        f"steps: TransitionCost, or ProblemTransitions in solve_batch (see function_transitions and "
        f"model_transitions); got {found!r}"
    )
