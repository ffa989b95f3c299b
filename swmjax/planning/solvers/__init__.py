"""The solvers by name, with overrides as they come from a command line or a YAML file."""

import dataclasses
import difflib
import inspect
import numbers
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from envs_mjx import plugins
from envs_mjx.checks import UserError, is_integer
from swmjax.planning.base import Solver

# One line a solver; configurations and the command line use the name of its file.
from swmjax.planning.solvers.ask_tell import AskTellSolver as AskTellSolver
from swmjax.planning.solvers.categorical_cem import CategoricalCEMSolver as CategoricalCEMSolver
from swmjax.planning.solvers.cem import CEMSolver as CEMSolver
from swmjax.planning.solvers.composite import CompositeSolver as CompositeSolver
from swmjax.planning.solvers.evosax import EvosaxSolver as EvosaxSolver
from swmjax.planning.solvers.gradient import GradientSolver as GradientSolver
from swmjax.planning.solvers.grasp import GRASPSolver as GRASPSolver
from swmjax.planning.solvers.icem import ICEMSolver as ICEMSolver
from swmjax.planning.solvers.lagrangian import LagrangianSolver as LagrangianSolver
from swmjax.planning.solvers.mppi import MPPISolver as MPPISolver
from swmjax.planning.solvers.nevergrad import NevergradSolver as NevergradSolver
from swmjax.planning.solvers.pgd import PGDSolver as PGDSolver
from swmjax.planning.solvers.predictive_sampling import PredictiveSamplingSolver as PredictiveSamplingSolver
from swmjax.planning.solvers.random import RandomSolver as RandomSolver

SOLVERS: dict[str, type[Solver]] = {
    found.__module__.rpartition(".")[2]: found
    for found in list(globals().values())
    if isinstance(found, type) and issubclass(found, Solver) and found.__module__.startswith(f"{__name__}.")
}
"""Every solver by its name."""


def register_solver(name: str, solver: type[Solver]) -> None:
    """Add a solver under a name that settings and the command line know.

    Args:
        name: the name.
        solver: a frozen dataclass under `Solver`.

    Raises:
        UserError: the name is taken, or it is no such class.
    """
    if SOLVERS.get(name, solver) is not solver:
        raise UserError(f"solver {name!r} is already registered (as {SOLVERS[name].__name__})")
    SOLVERS[name] = _checked(name, solver)


def solver_class(name: str) -> type[Solver]:
    """The solver of a name.

    Args:
        name: a key of `SOLVERS`, a name that an installed package has registered, or `module:Class`, which imports the
            module.

    Raises:
        UserError: there is none; the message offers the nearest names.
    """
    if ":" in name:
        return _checked(name, plugins.load_named("solver", name))
    if name not in SOLVERS:
        problems = plugins.load()
        if name not in SOLVERS:
            raise UserError("; ".join((f"unknown solver {name!r}{_nearest(name, SOLVERS)}", *problems)))
    return SOLVERS[name]


def _checked(name: str, solver: Any) -> type[Solver]:
    if not (isinstance(solver, type) and issubclass(solver, Solver)) or inspect.isabstract(solver):
        raise UserError(f"solver {name!r} must be a class under swmjax.planning.Solver with all its methods")
    if "__dataclass_params__" not in vars(solver) or not vars(solver)["__dataclass_params__"].frozen:
        raise UserError(f"solver {name!r}: {solver.__name__} must be a frozen dataclass")
    return solver


def summary(solver: type[Solver]) -> str:
    """What a solver does, in one line: the first of its docstring."""
    return (inspect.getdoc(solver) or "").splitlines()[0].rstrip(".")


def source(solver: type[Solver]) -> str:
    """Where its algorithm was published, as its docstring says."""
    found = re.search(r"^Source: ([^,;\n]+)", inspect.getdoc(solver) or "", re.MULTILINE)
    return "" if found is None else found[1].rstrip(".")


def make_solver(name: str, overrides: Mapping[str, Any] | None = None) -> Solver:
    """Build a solver.

    Args:
        name: As for `solver_class`.
        overrides: Hyperparameters by field name; text is converted to the field's type.

    Returns:
        The solver.

    Raises:
        UserError: Unknown solver or field (with the nearest names), or a value that the field does not take.
    """
    solver: Any = solver_class(name)
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
        if is_integer(number) or (kind is float and isinstance(number, numbers.Real) and not isinstance(number, bool)):
            return kind(number)
        raise UserError(f"{place} must be {'an integer' if kind is int else 'a number'}, got {value!r}")
    return value
