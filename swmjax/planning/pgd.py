"""Projected gradient descent over discrete actions."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import gymnasium
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import check_integer
from swmjax.planning.descent import DescentSolver, DescentState, costs_and_gradient, remember
from swmjax.planning.gradient import best_sequence, cost_of_one
from swmjax.planning.population import finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.simplex import Slots, nominal_probabilities, slots_of
from swmjax.planning.types import Plan, StepRecord


@dataclass(frozen=True)
class PGDSolver(DescentSolver):
    """Gradient descent on relaxed one-hot actions, projected onto the simplex of every slot after every step.

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

    Source: Duchi et al. 2008 for the projection; reference, `solver/pgd.py`.
    """

    kind: ClassVar[Literal["discrete"]] = "discrete"

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
    ) -> DescentState:
        """The sequences before the first step.

        Args:
            key: Typed key of this problem.
            space: Discrete action space of one planner step.
            horizon: H, planner steps.
            warm_start: The first W <= H actions of the first sequence, whole numbers or one-hot; zeros follow.

        Returns:
            The initial state; its dtype is that of a one-hot warm start, or the default one.
        """
        slots = slots_of(space)
        return self.begin(key, nominal_probabilities(slots, horizon, warm_start), slots)

    def step(self, state: DescentState, cost_fn: Scorer) -> tuple[DescentState, StepRecord]:
        """One step of the optimiser and the projection.

        Args:
            state: The sequences before.
            cost_fn: Scores relaxed candidates.

        Returns:
            The sequences after, and what was seen on the way.
        """
        costs, gradient, usable = costs_and_gradient(cost_fn, state)
        record = StepRecord(candidates=state.candidates, costs=finite_or_last(costs), gradient=gradient)
        state = remember(state, costs)
        return self.descend(state, costs, gradient, usable, cost_of_one(cost_fn, state)), record

    def finish(self, state: DescentState, cost_fn: Scorer) -> Plan:
        """The heaviest categories of the sequence with the lowest cost."""
        relaxed, cost = best_sequence(state, cost_fn)
        assert isinstance(state.region, Slots)
        return Plan(actions=state.region.decode(relaxed), cost=cost, status=status_of(cost))
