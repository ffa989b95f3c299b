"""Planning as pure functions: solvers, objectives and the driver."""

from swmjax.planning.cem import CEMSolver, CEMState
from swmjax.planning.objectives import (
    GoalMSE,
    LatentModel,
    LatentProblem,
    Objective,
    encode_problems,
    latent_cost,
    shooting_cost,
)
from swmjax.planning.registry import SOLVERS, make_solver
from swmjax.planning.solve import solve, solve_batch
from swmjax.planning.types import (
    ConstraintFn,
    CostFn,
    Plan,
    Problem,
    Solver,
    Status,
    StepInfo,
    block_space,
    nominal_actions,
)

__all__ = [
    "CEMSolver",
    "CEMState",
    "ConstraintFn",
    "CostFn",
    "GoalMSE",
    "LatentModel",
    "LatentProblem",
    "Objective",
    "Plan",
    "Problem",
    "SOLVERS",
    "Solver",
    "Status",
    "StepInfo",
    "block_space",
    "encode_problems",
    "latent_cost",
    "make_solver",
    "nominal_actions",
    "shooting_cost",
    "solve",
    "solve_batch",
]
