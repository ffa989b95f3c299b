"""Solvers by name, with overrides as they come from a command line or a YAML file."""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from envs_mjx.checks import UserError
from swmjax.planning.ask_tell import AskTellSolver, EvosaxSolver
from swmjax.planning.categorical_cem import CategoricalCEMSolver
from swmjax.planning.cem import CEMSolver
from swmjax.planning.composite import CompositeSolver
from swmjax.planning.gradient import GradientSolver
from swmjax.planning.grasp import GRASPSolver
from swmjax.planning.host import HostSolver
from swmjax.planning.icem import ICEMSolver
from swmjax.planning.lagrangian import LagrangianSolver
from swmjax.planning.mppi import MPPISolver
from swmjax.planning.nevergrad import NevergradSolver
from swmjax.planning.pgd import PGDSolver
from swmjax.planning.predictive_sampling import PredictiveSamplingSolver
from swmjax.planning.random_shooting import RandomSolver


@dataclasses.dataclass(frozen=True)
class SolverEntry:
    """What the registry knows of a solver.

    Attributes:
        solver: Its class.
        summary: One line.
        source: Where the algorithm was published.
        from_settings: Whether names and numbers describe it fully; other solvers are made of objects.
    """

    solver: type
    summary: str
    source: str
    from_settings: bool = True

    @property
    def kind(self) -> str:
        """What sort of solver it is, see `Solver`."""
        return self.solver.kind  # type: ignore[attr-defined]

    @property
    def compiled(self) -> bool:
        """Whether it runs inside a compiled program, not on the host."""
        return not issubclass(self.solver, HostSolver)


SOLVERS: dict[str, SolverEntry] = {
    "ask_tell": SolverEntry(
        AskTellSolver,
        "any evolution strategy with pure init, ask and tell functions",
        "Collette et al. 2010",
        from_settings=False,
    ),
    "categorical_cem": SolverEntry(
        CategoricalCEMSolver, "refit the probabilities of categories to the best samples", "Rubinstein and Kroese 2004"
    ),
    "cem": SolverEntry(
        CEMSolver, "refit a Gaussian over action sequences to the best samples", "Rubinstein and Kroese 2004"
    ),
    "composite": SolverEntry(
        CompositeSolver,
        "one solver for every part of a Dict action space, under one cost",
        "reference",
        from_settings=False,
    ),
    "evosax": SolverEntry(EvosaxSolver, "CMA-ES, SNES and other evolution strategies of evosax", "Lange 2023"),
    "gradient": SolverEntry(
        GradientSolver, "follow the gradient of the cost from several starts, with any Optax optimiser", "reference"
    ),
    "grasp": SolverEntry(
        GRASPSolver, "descend in actions and states on the errors of single model steps", "Psenka et al. 2026"
    ),
    "icem": SolverEntry(
        ICEMSolver, "CEM with noise correlated in time, momentum and elites that stay", "Pinneri et al. 2020"
    ),
    "lagrangian": SolverEntry(
        LagrangianSolver, "gradient descent under constraints, with multipliers that persist", "Nocedal and Wright 2006"
    ),
    "mppi": SolverEntry(
        MPPISolver, "average noisy candidates, weighted by exp(-cost / temperature)", "Williams et al. 2017"
    ),
    "nevergrad": SolverEntry(NevergradSolver, "any optimiser of nevergrad, on the host", "Rapin and Teytaud 2018"),
    "pgd": SolverEntry(
        PGDSolver, "gradient descent on relaxed one-hot actions, projected onto the simplex", "Duchi et al. 2008"
    ),
    "predictive_sampling": SolverEntry(
        PredictiveSamplingSolver, "add noise to the warm start and take the best candidate", "Howell et al. 2022"
    ),
    "random": SolverEntry(RandomSolver, "draw evenly from the action space: the baseline", "reference"),
}
"""Every solver by the name that configurations and the command line use."""


def make_solver(name: str, overrides: Mapping[str, Any] | None = None) -> Any:
    """Build a solver.

    Args:
        name: A key of `SOLVERS`.
        overrides: Hyperparameters by field name; text is converted to the field's type.

    Returns:
        The solver.

    Raises:
        UserError: Unknown solver or field (with the nearest names), or a value that the field does not take.
    """
    if name not in SOLVERS:
        raise UserError(f"unknown solver {name!r}{_nearest(name, SOLVERS)}")
    solver = SOLVERS[name].solver
    types = get_type_hints(solver)
    fields = {field.name: types[field.name] for field in dataclasses.fields(solver)}
    values = {}
    for field, value in (overrides or {}).items():
        if field not in fields:
            raise UserError(f"solver {name!r} has no option {field!r}{_nearest(field, fields)}")
        values[field] = _convert(f"solver.{field}", value, fields[field])
    return solver(**values)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; known: {', '.join(sorted(known))}"


def _convert(place: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{place} must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
        return value
    if get_origin(kind) is types.UnionType and types.NoneType in get_args(kind):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        others = [one for one in get_args(kind) if one is not types.NoneType]
        return _convert(place, value, others[0]) if len(others) == 1 else value
    if kind is bool:
        words = {"true": True, "false": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise UserError(f"{place} must be true or false, got {value!r}")
    if kind in (int, float):
        try:
            number = kind(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if kind is float and isinstance(number, int) and not isinstance(number, bool):
            number = float(number)
        if isinstance(number, bool) or not isinstance(number, kind):
            raise UserError(f"{place} must be {'an integer' if kind is int else 'a number'}, got {value!r}")
        return number
    return value
