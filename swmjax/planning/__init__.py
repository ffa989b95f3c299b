"""Planning as pure functions: solvers, costs and the driver. The solvers by class are here as well, as by name."""

from typing import TYPE_CHECKING, Any

from swmjax.planning.base import Solver as Solver
from swmjax.planning.costs.latent import LatentProblem as LatentProblem
from swmjax.planning.costs.latent import encode_problems as encode_problems
from swmjax.planning.costs.latent import model_cost as model_cost
from swmjax.planning.costs.latent import shooting_cost as shooting_cost
from swmjax.planning.costs.objectives import ActionPenalty as ActionPenalty
from swmjax.planning.costs.objectives import AtMost as AtMost
from swmjax.planning.costs.objectives import GoalMSE as GoalMSE
from swmjax.planning.costs.objectives import Objective as Objective
from swmjax.planning.costs.objectives import WeightedSum as WeightedSum
from swmjax.planning.metrics import BestCost as BestCost
from swmjax.planning.metrics import Metric as Metric
from swmjax.planning.receding import PlanConfig as PlanConfig
from swmjax.planning.solve import solve as solve
from swmjax.planning.solve import solve_batch as solve_batch
from swmjax.planning.solvers import SOLVERS as SOLVERS
from swmjax.planning.solvers import make_solver as make_solver
from swmjax.planning.solvers import register_solver as register_solver
from swmjax.planning.solvers import solver_class as solver_class
from swmjax.planning.spaces import block_space as block_space
from swmjax.planning.spaces import one_hot as one_hot
from swmjax.planning.types import CostFn as CostFn
from swmjax.planning.types import Plan as Plan
from swmjax.planning.types import Status as Status
from swmjax.planning.types import StepRecord as StepRecord
from swmjax.planning.types import Transitions as Transitions

if TYPE_CHECKING:
    from swmjax.planning.solvers import *  # noqa: F403
else:
    globals().update({solver.__name__: solver for solver in SOLVERS.values()})

    # Where the names are now that stood here in release 0.1; until release 0.2.
    _MOVED = {
        "costs.latent": "LatentModel RewardModel latent_constraints",
        "costs.objectives": "GoalCosine GoalL1",
        "costs.transitions": "ProblemTransitions StepModel TransitionCost function_transitions model_transitions",
        "host": "HostSolver",
        "memory": "auto_chunk",
        "metrics": "ActionNorm Cloud DEFAULT_METRICS EliteCost EliteSpread GradNorm MeanCost MeanShift NonFinite "
        "VarNorm",
        "receding": "PlanCarry",
        "scoring": "Scorer",
        "solvers.cem": "CEMState",
        "solvers.lagrangian": "LagrangianCarry",
        "spaces": "action_size from_one_hot nominal_actions",
        "types": "ConstraintFn Problem",
    }

    def __getattr__(name: str) -> Any:
        import importlib
        import warnings

        for module, names in _MOVED.items():
            if name in names.split():
                warnings.warn(f"{__name__}.{name} is now {__name__}.{module}.{name}", DeprecationWarning, stacklevel=2)
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
