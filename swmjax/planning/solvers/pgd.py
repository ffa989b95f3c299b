"""Projected gradient descent over discrete actions."""

from dataclasses import dataclass
from typing import Any

import gymnasium
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import check_integer
from swmjax.planning.descent import (
    DescentSolver,
    DescentState,
    best_sequence,
    cost_of_one,
    costs_and_gradient,
    remember,
)
from swmjax.planning.population import finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.simplex import Slots, nominal_probabilities, slots_of
from swmjax.planning.types import Plan, StepRecord


@dataclass(frozen=True)
class PGDSolver(DescentSolver):
    """Projected gradient descent: relaxed one-hot actions, projected onto the simplex after every step.

    The plan takes the heaviest category of every slot of the sequence with the lowest cost, and its cost is that of the
    relaxed sequence. Missing actions start at zero, so the first gradient is taken off the simplices, as in the
    reference.

    Differs from the reference: any `Discrete` or one-axis `MultiDiscrete` space, with a number of categories for each
    slot; the warm start may be whole numbers, as a plan has them, or one-hot; n_steps has a default; sequences whose
    cost or gradient is not finite stay where they are. Another optimiser than SGD with learning rate 1 is an option.

    Args:
        n_steps: Steps per solve.
        num_samples, var_scale, action_noise, optimizer, learning_rate, optimizer_kwargs: See `DescentSolver`; scales
            are of the relaxed vectors. Noise comes before the projection.

    Raises:
        UserError: A hyperparameter is out of range; at the first trace, if the costs have no gradient.

    Source: Duchi et al. 2008, for the projection; reference, `solver/pgd.py`.
    """

    actions = "discrete"

    n_steps: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("PGDSolver.n_steps", self.n_steps, 1)

    def init(
        self,
        key: Key[Array, ""],
        space: gymnasium.Space,
        horizon: int,
        warm_start: Int[Array, "W slots"] | Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> DescentState:
        """The sequences before the first step."""
        slots = slots_of(space)
        return self.begin(key, nominal_probabilities(slots, horizon, warm_start), slots)

    def step(self, state: DescentState, scorer: Scorer) -> tuple[DescentState, StepRecord]:
        """One step of the optimiser and the projection."""
        costs, gradient, usable = costs_and_gradient(scorer, state)
        record = StepRecord(candidates=state.candidates, costs=finite_or_last(costs), gradient=gradient)
        state = remember(state, costs)
        return self.descend(state, costs, gradient, usable, cost_of_one(scorer, state)), record

    def finish(self, state: DescentState, scorer: Scorer) -> Plan:
        """The heaviest categories of the sequence with the lowest cost."""
        relaxed, cost = best_sequence(state, scorer)
        assert isinstance(state.region, Slots)
        return Plan(actions=state.region.decode(relaxed), cost=cost, status=status_of(cost))
