"""Gradient descent through the model."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Key

from envs_mjx.checks import check_choice, check_integer, check_nonnegative
from swmjax.planning.descent import (
    DescentSolver,
    DescentState,
    best_sequence,
    cost_of_one,
    costs_and_gradient,
    remember,
)
from swmjax.planning.population import action_bounds, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@dataclass(frozen=True)
class GradientSolver(DescentSolver):
    """Gradient descent on the cost from several starts, with any Optax optimiser.

    The plan is the sequence with the lowest cost after the last step, and its cost is that cost.

    Differs from the reference: n_steps has a default; `grad_clip` takes the norm over the sequences of one problem
    instead of all problems of a batch; a sequence whose cost or gradient is not finite stays where it is, and one whose
    final cost is not finite falls back to its last value that had one; `clip='bounds'` is an option.

    Args:
        n_steps: Steps per solve.
        grad_clip: Largest norm of the gradients of all sequences of a problem together; 0 for no limit.
        clip: 'none' as the reference, or 'bounds' to keep sequences in the action space.
        num_samples, var_scale, action_noise, optimizer, learning_rate, optimizer_kwargs: See `DescentSolver`.

    Raises:
        UserError: A hyperparameter is out of range; at the first trace, if the costs have no gradient.

    Source: reference, `solver/gd.py`.
    """

    n_steps: int = 30
    grad_clip: float = 0.0
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("GradientSolver.n_steps", self.n_steps, 1)
        check_nonnegative("GradientSolver.grad_clip", self.grad_clip)
        check_choice("GradientSolver.clip", self.clip, ("none", "bounds"))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> DescentState:
        """The sequences before the first step."""
        start = nominal_actions(space, horizon, warm_start)
        return self.begin(key, start, action_bounds(space, start.dtype) if self.clip == "bounds" else None)

    def step(self, state: DescentState, scorer: Scorer) -> tuple[DescentState, StepRecord]:
        """One step of the optimiser; the recorded gradient is that before clipping."""
        costs, gradient, usable = costs_and_gradient(scorer, state)
        record = StepRecord(candidates=state.candidates, costs=finite_or_last(costs), gradient=gradient)
        if self.grad_clip > 0:
            norm = jnp.sqrt(jnp.sum(jnp.square(gradient)))
            gradient = gradient * jnp.minimum(self.grad_clip / (norm + 1e-6), 1.0)
        state = remember(state, costs)
        return self.descend(state, costs, gradient, usable, cost_of_one(scorer, state)), record

    def finish(self, state: DescentState, scorer: Scorer) -> Plan:
        """The sequence with the lowest cost."""
        actions, cost = best_sequence(state, scorer)
        return Plan(actions=actions, cost=cost, status=status_of(cost))
