"""One solver for every part of a `Dict` action space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from envs_mjx.checks import UserError
from swmjax.planning.population import PopulationSolver, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.types import Plan, StepRecord


@dataclass(frozen=True)
class CompositeSolver(PopulationSolver):
    """One solver for every part of a Dict action space, under one cost.

    Candidate i of all parts is scored as one: the cost function gets a dict of candidates. The plan's actions are a
    dict; its cost is that of the first solver's plan. Metrics that look at costs work; those that look at a nominal
    plan, elites or spread need a single solver.

    Differs from the reference (where it was never merged): bad input is a `ValueError`; children with another number of
    steps are refused, where the first child's number counted.

    Args:
        solvers: A mapping or pairs of names, as in the action space, and solvers that share num_samples and n_steps.

    Raises:
        UserError: There are no solvers, they disagree, or one does not work on populations.

    Source: reference, branch `composite_solver`.
    """

    actions = "dict"
    from_settings = False

    solvers: Any = ()

    def __post_init__(self) -> None:
        pairs = self.solvers.items() if isinstance(self.solvers, Mapping) else self.solvers
        object.__setattr__(self, "solvers", tuple((name, solver) for name, solver in pairs))
        names = [name for name, _ in self.solvers]
        if not names or len(set(names)) != len(names):
            raise UserError(f"CompositeSolver.solvers must have at least one solver and no name twice, got {names}")
        for name, solver in self.solvers:
            if not isinstance(solver, PopulationSolver):
                raise UserError(
                    f"CompositeSolver.solvers[{name!r}] must be a solver that works on a population, such as CEMSolver "
                    f"or CategoricalCEMSolver, got {type(solver).__name__}"
                )
        for field in ("num_samples", "n_steps"):
            numbers = {name: getattr(solver, field) for name, solver in self.solvers}
            if len(set(numbers.values())) > 1:
                raise UserError(f"the solvers of a CompositeSolver must have the same {field}, got {numbers}")

    @property
    def num_samples(self) -> int:  # type: ignore[override]
        """Candidates per step."""
        return self.solvers[0][1].num_samples

    @property
    def n_steps(self) -> int:  # type: ignore[override]
        """Steps per solve."""
        return self.solvers[0][1].n_steps

    def init(
        self,
        key: Key[Array, ""],
        space: gymnasium.Space,
        horizon: int,
        warm_start: Mapping[str, Any] | None = None,
        carry: Any = None,
    ) -> dict[str, Any]:
        """The states of all solvers by name; a warm start may be of some parts.

        Raises:
            UserError: The space is no `Dict`, or has other names than the solvers.
        """
        if not isinstance(space, gymnasium.spaces.Dict):
            raise UserError(f"CompositeSolver needs a Dict action space, got {space}")
        names, warm_start = {name for name, _ in self.solvers}, warm_start or {}
        if names != set(space.spaces):
            raise UserError(f"CompositeSolver has solvers for {sorted(names)}, the space is {sorted(space.spaces)}")
        if not set(warm_start) <= names:
            raise UserError(f"warm_start must be a dict with names out of {sorted(names)}, got {sorted(warm_start)}")
        return {
            name: solver.init(jax.random.fold_in(key, number), space[name], horizon, warm_start.get(name))
            for number, (name, solver) in enumerate(self.solvers)
        }

    def propose(self, state: dict[str, Any]) -> dict[str, Any]:
        """The populations of the next step, by name."""
        return {name: solver.propose(state[name]) for name, solver in self.solvers}

    def update(
        self, state: dict[str, Any], candidates: dict[str, Any], costs: Float[Array, " N"]
    ) -> tuple[dict[str, Any], StepRecord]:
        """What every solver makes of the costs."""
        after, records = {}, {}
        for name, solver in self.solvers:
            after[name], records[name] = solver.update(state[name], candidates[name], costs)
        record = StepRecord(
            candidates=candidates,
            costs=finite_or_last(costs),
            mean_before={name: one.mean_before for name, one in records.items()},
            mean={name: one.mean for name, one in records.items()},
        )
        return after, record

    def finish(self, state: dict[str, Any], scorer: Scorer) -> Plan:
        """The plans of all solvers as one."""
        plans = {name: solver.finish(state[name], scorer) for name, solver in self.solvers}
        cost = jnp.asarray(plans[self.solvers[0][0]].cost)
        return Plan(
            actions={name: plan.actions for name, plan in plans.items()},
            cost=cost,
            status=status_of(cost),
        )
