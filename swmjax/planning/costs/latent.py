"""From a world model to costs and constraints: encode once, then roll candidates out and score them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.planning.costs.objectives import Objective
from swmjax.planning.types import CostFn


@runtime_checkable
class LatentModel(Protocol):
    """The part of a world model that shooting needs (`swmjax.models.WorldModel` has it)."""

    def encode(self, pixels: Any) -> Any: ...

    def rollout(self, latents: Any, action_history: Any, actions: Any) -> Any: ...


@runtime_checkable
class RewardModel(Protocol):
    """A world model that predicts rewards and so has costs of its own (TD-MPC2)."""

    def encode(self, obs: Any) -> Any: ...

    def plan_cost(self, latents: Any, actions: Any) -> Any: ...


@runtime_checkable
class ObjectiveModel(LatentModel, Protocol):
    """A world model that says what its plans are judged by."""

    @property
    def objective(self) -> Objective: ...


@chex.dataclass(frozen=True)
class LatentProblem:
    """Where a rollout starts and should end; a leading axis of problems for `solve_batch`.

    Args:
        latents: Latents [*batch, Tc, *D] of Tc context frames, oldest first; an array or a pytree.
        action_history: The Tc - 1 planner actions between them.
        goal: Latents [*batch, Tg, *D] of the goal frames; None for a model with rewards.
    """

    latents: Any
    action_history: Float[Array, "*batch Th A"]
    goal: Any


def encode_problems(
    model: LatentModel,
    obs: Any,
    goal: Any,
    action_history: Float[Array, "B Th A"],
) -> LatentProblem:
    """Encode observations and goals once, before the solver's loop.

    Args:
        model: A world model.
        obs: Context observations [B, Tc, ...] of B problems, as the model's `encode` takes them.
        goal: Goal observations [B, Tg, ...].
        action_history: The Tc - 1 planner actions between the context observations.

    Returns:
        B problems.
    """
    return LatentProblem(latents=model.encode(obs), action_history=action_history, goal=model.encode(goal))


def model_cost(
    model: Any, objective: Objective | None = None
) -> Callable[[LatentProblem, Float[Array, "N H A"]], Float[Array, " N"]]:
    """The cost of candidates for an encoded problem, for `solve_batch`.

    Args:
        model: A world model; one that is an argument of `jax.jit` keeps its weights arguments of the program, not
            constants in it.
        objective: What rolled-out latents are judged by, for example `GoalMSE()`. By default what the model says: the
            rewards that it expects, if it has `plan_cost` (the goal plays no part then), or its `objective`.

    Returns:
        A function of one problem and its candidates.

    Raises:
        UserError: No objective is given, and the model has none.
    """
    if objective is None and isinstance(model, RewardModel):

        def expected(problem: LatentProblem, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
            current = jax.tree.map(lambda leaf: leaf[None, -1], problem.latents)
            return model.plan_cost(current, actions[None])[0]

        return expected
    if objective is None and not isinstance(model, ObjectiveModel):
        raise UserError(
            f"a {type(model).__name__} does not say what plans are judged by; give an objective, for example GoalMSE()"
        )
    judged = model.objective if objective is None else objective

    def cost(problem: LatentProblem, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        return judged(_rolled_out(model, problem, actions), problem.goal, actions)

    return cost


def latent_constraints(
    model: LatentModel, terms: Sequence[Objective]
) -> Callable[[LatentProblem, Float[Array, "N H A"]], Float[Array, "N C"]]:
    """The constraints of candidates for an encoded problem, for `solve_batch`.

    Args:
        model: A world model, see `model_cost`.
        terms: At least one objective that is at most 0 when satisfied, for example `AtMost(ActionPenalty(), 2.0)`.

    Returns:
        A function of one problem and its candidates.

    Raises:
        UserError: There are no terms.
    """
    if not terms:
        raise UserError("latent_constraints needs at least one term, got none")

    def constraints(problem: LatentProblem, actions: Float[Array, "N H A"]) -> Float[Array, "N C"]:
        latents = _rolled_out(model, problem, actions)
        return jnp.stack([term(latents, problem.goal, actions) for term in terms], axis=-1)

    return constraints


def _rolled_out(model: LatentModel, problem: LatentProblem, actions: Float[Array, "N H A"]) -> Any:
    context = jax.tree.map(lambda leaf: leaf[None], problem.latents)
    latents = model.rollout(context, problem.action_history[None], actions[None])
    return jax.tree.map(lambda leaf: leaf[0], latents)


def shooting_cost(
    model: LatentModel,
    objective: Objective | None,
    obs: Any,
    goal: Any,
    action_history: Float[Array, "Th A"],
) -> CostFn:
    """The cost function of one problem: encodes now, rolls out at every call.

    Args:
        model: A world model.
        objective: See `model_cost`.
        obs: Context observations [Tc, ...] of one problem.
        goal: Goal observations [Tg, ...].
        action_history: The Tc - 1 planner actions between the context observations ([0, A] for one frame).

    Returns:
        Candidates [N, H, A] to costs [N].
    """
    obs, goal = (jax.tree.map(lambda leaf: leaf[None], part) for part in (obs, goal))
    problems = encode_problems(model, obs, goal, action_history[None])
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    return partial(model_cost(model, objective), problem)
