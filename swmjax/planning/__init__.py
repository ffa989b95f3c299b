"""Planning as pure functions: solvers, costs and the driver. The solvers by class are here as well, as by name."""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from swmjax.planning.base import Solver
from swmjax.planning.costs.latent import LatentProblem, encode_problems, model_cost, shooting_cost
from swmjax.planning.costs.objectives import ActionPenalty, AtMost, GoalMSE, Objective, WeightedSum
from swmjax.planning.metrics import BestCost, Metric
from swmjax.planning.receding import PlanConfig
from swmjax.planning.solve import solve, solve_batch
from swmjax.planning.solvers import SOLVERS, make_solver
from swmjax.planning.spaces import block_space, one_hot
from swmjax.planning.types import CostFn, Plan, Status, StepRecord, Transitions

__all__ = [
    "ActionPenalty",
    "AtMost",
    "BestCost",
    "CostFn",
    "GoalMSE",
    "LatentProblem",
    "Metric",
    "Objective",
    "Plan",
    "PlanConfig",
    "SOLVERS",
    "Solver",
    "Status",
    "StepRecord",
    "Transitions",
    "WeightedSum",
    "block_space",
    "encode_problems",
    "make_solver",
    "model_cost",
    "one_hot",
    "shooting_cost",
    "solve",
    "solve_batch",
]

if TYPE_CHECKING:
    from swmjax.planning.solvers import *  # noqa: F403
else:
    # Solvers by class; and where the names are that stood here up to release 0.1, until release 0.2.
    _CLASSES = {solver.__name__: solver for solver in SOLVERS.values()}
    _MODULES = (
        "costs.latent",
        "costs.objectives",
        "costs.transitions",
        "host",
        "memory",
        "metrics",
        "receding",
        "scoring",
        "solvers.cem",
        "solvers.lagrangian",
        "spaces",
        "types",
    )

    def __getattr__(name: str) -> Any:
        if name in _CLASSES:
            return _CLASSES[name]
        for module in () if name.startswith("_") else _MODULES:
            found = vars(importlib.import_module(f"{__name__}.{module}")).get(name)
            if found is not None:
                warnings.warn(f"{__name__}.{name} is now {__name__}.{module}.{name}", DeprecationWarning, stacklevel=2)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*__all__, *_CLASSES]
