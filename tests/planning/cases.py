"""One small planning problem for every solver of the registry, for the tests that all of them must pass."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete

from swmjax.planning import (
    SOLVERS,
    AskTellSolver,
    CategoricalCEMSolver,
    CEMSolver,
    CompositeSolver,
    Transitions,
    make_solver,
    one_hot,
)

HORIZON, SIZE = 3, 4
BOX = Box(-1.0, 1.0, (SIZE,), np.float32)
CHOICES = MultiDiscrete([3, 2])
"""Planner actions of 4 numbers, or of one of 3 and one of 2 choices (5 one-hot entries)."""
TARGET = jnp.linspace(-0.8, 0.8, HORIZON * SIZE).reshape(HORIZON, SIZE)
WEIGHTS = jnp.asarray(np.random.default_rng(3).uniform(0.2, 1.0, (HORIZON, 5)), jnp.float32)
SHAPED = {"a": BOX, "b": CHOICES}


@dataclass(frozen=True)
class Climber:
    """A strategy: sample around the best vector so far, narrower every time."""

    num_samples: int = 24

    def init(self, key, mean):
        return {"best": mean, "cost": jnp.asarray(jnp.inf, mean.dtype), "width": jnp.asarray(0.5, mean.dtype)}

    def ask(self, key, state):
        noise = jax.random.normal(key, (self.num_samples, state["best"].shape[0]), state["best"].dtype)
        return state["best"][None] + state["width"] * noise, state

    def tell(self, key, state, population, costs):
        index = jnp.argmin(costs)
        better = costs[index] < state["cost"]
        return {
            "best": jnp.where(better, population[index], state["best"]),
            "cost": jnp.where(better, costs[index].astype(state["cost"].dtype), state["cost"]),
            "width": state["width"] * jnp.asarray(0.9, state["width"].dtype),
        }


SMALL: dict[str, dict[str, Any]] = {
    "cem": {"num_samples": 24, "n_steps": 4, "topk": 5},
    "icem": {"num_samples": 24, "n_steps": 4, "topk": 5, "n_elite_keep": 3},
    "mppi": {"num_samples": 24, "n_steps": 6, "topk": 8, "temperature": 0.3, "var_scale": 0.5},
    "predictive_sampling": {"num_samples": 24, "n_steps": 6, "noise_scale": 0.25},
    "random": {"num_samples": 3000, "n_steps": 2},
    "categorical_cem": {"num_samples": 24, "n_steps": 5, "topk": 5, "smoothing": 0.02},
    "gradient": {"n_steps": 6, "num_samples": 24, "var_scale": 0.5, "learning_rate": 0.2},
    "lagrangian": {
        "n_inner_steps": 4,
        "n_outer_steps": 2,
        "num_samples": 24,
        "var_scale": 0.5,
        "learning_rate": 0.1,
    },
    "pgd": {"n_steps": 6, "num_samples": 24, "var_scale": 0.5},
    "grasp": {"n_steps": 12, "lr_a": 0.1, "sync_every": 4, "sync_steps": 10, "sync_lr": 0.2},
    "nevergrad": {"optimizer": "CMA", "num_samples": 24, "n_steps": 10},
    "evosax": {"num_samples": 24, "n_steps": 12, "var_scale": 0.5},
}


@dataclass(frozen=True, eq=False)
class Case:
    """A solver with its space, a cost, and what stands for no plan.

    Attributes:
        solver: Small enough to run in a moment.
        space: Action space of one planner step.
        target: What the cost is about.
        cost: Problem (see `posed`) and candidates to costs.
        warm_start: One step.
        nothing: The plan of a solve in which nothing was finite, without a warm start; None if it is up to the solver.
        population: Candidates per step.
        transitions: Single steps of the problem, for a solver that needs them.
    """

    solver: Any
    space: gymnasium.Space
    target: Any
    cost: Any
    warm_start: Any
    nothing: Any
    population: int
    transitions: Any = None

    @property
    def problem(self) -> Any:
        """The problem without further ado."""
        return posed(self.target)

    def cost_of(self, actions: Any) -> Any:
        """Cost of one plan."""
        encoded = jax.tree.map(lambda leaf: leaf[None], self.candidates(actions))
        return self.cost(self.problem, encoded)[0]

    def candidates(self, actions: Any) -> Any:
        """A plan in the form that costs take."""
        if self.space is CHOICES:
            return one_hot(actions, CHOICES)
        if isinstance(actions, dict):
            return actions | {"b": one_hot(actions["b"], CHOICES)}
        return actions


def posed(target, shift=0.0, bad=0.0, spoiled=False, doomed=False):
    """A problem: a target, and what else its costs are, all of it traced so that one program serves many tests.

    Args:
        target: What the cost is about.
        shift: Added to all costs.
        bad: The cost of every third candidate, if they are spoiled.
        spoiled: Whether they are.
        doomed: Whether no cost is finite, gradients included.
    """
    numbers = {"shift": jnp.asarray(shift, jnp.float32), "bad": jnp.asarray(bad, jnp.float32)}
    return numbers | {"target": target, "spoiled": jnp.asarray(spoiled), "doomed": jnp.asarray(doomed)}


def priced(cost):
    """A cost of a target's candidates as one of a problem's."""

    def whole(problem, candidates):
        costs = cost(problem["target"], candidates)
        dtype, third = costs.dtype, jnp.arange(costs.shape[0]) % 3 == 1
        costs = jnp.where(problem["spoiled"] & third, problem["bad"].astype(dtype), costs)
        return (costs + problem["shift"].astype(dtype)) * jnp.where(problem["doomed"], jnp.nan, 1).astype(dtype)

    return whole


def quadratic(target, actions):
    return jnp.sum(jnp.square(actions - target.astype(actions.dtype)[None]), axis=(1, 2))


def choices(weights, actions):
    return jnp.sum(actions * weights.astype(actions.dtype)[None], axis=(1, 2))


def joint(problem, actions):
    return quadratic(problem["a"], actions["a"]) + choices(problem["b"], actions["b"])


def reach(target):
    """A point that moves by the action; where the actions add up to is what counts."""

    def predict(states, actions):
        return states + actions

    def rollout(candidates):
        return jnp.cumsum(candidates, axis=1)

    goal = target.sum(0)
    return Transitions(start=jnp.zeros_like(goal), goal=goal, predict=predict, rollout=rollout)


def reached(target, candidates):
    """How far from where the target's actions lead a candidate ends."""
    return jnp.sum(jnp.square(candidates.sum(1) - target.sum(0).astype(candidates.dtype)[None]), axis=1)


def case(name: str) -> Case:
    """The case of a solver; a solver without one fails the tests."""
    if name == "composite":
        parts = {
            "a": CEMSolver(num_samples=24, n_steps=4, topk=5),
            "b": CategoricalCEMSolver(num_samples=24, n_steps=4, topk=5),
        }
        return Case(
            solver=CompositeSolver(solvers=parts),
            space=gymnasium.spaces.Dict(SHAPED),
            target={"a": TARGET, "b": WEIGHTS},
            cost=priced(joint),
            warm_start=None,
            nothing=None,
            population=24,
        )
    solver = AskTellSolver(Climber(), n_steps=20) if name == "ask_tell" else make_solver(name, SMALL[name])
    if SOLVERS[name].actions == "discrete":
        return Case(
            solver=solver,
            space=CHOICES,
            target=WEIGHTS,
            cost=priced(choices),
            warm_start=jnp.zeros((1, 2), jnp.int32),
            nothing=None,
            population=solver.num_samples,
        )
    return Case(
        solver=solver,
        space=BOX,
        target=TARGET,
        cost=priced(reached if "transitions" in solver.takes else quadratic),
        warm_start=jnp.full((1, SIZE), 0.1),
        nothing=jnp.zeros((HORIZON, SIZE)),
        population=solver.num_samples,
        transitions=(lambda problem: reach(problem["target"])) if "transitions" in solver.takes else None,
    )
