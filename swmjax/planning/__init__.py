"""Planning as pure functions: solvers, objectives and the driver."""

from swmjax.planning.ask_tell import AskTellSolver, EvosaxSolver
from swmjax.planning.categorical_cem import CategoricalCEMSolver
from swmjax.planning.cem import CEMSolver, CEMState
from swmjax.planning.composite import CompositeSolver
from swmjax.planning.gradient import GradientSolver
from swmjax.planning.grasp import GRASPSolver
from swmjax.planning.host import HostSolver
from swmjax.planning.icem import ICEMSolver
from swmjax.planning.lagrangian import LagrangianCarry, LagrangianSolver
from swmjax.planning.latent_cost import (
    LatentModel,
    LatentProblem,
    RewardModel,
    encode_problems,
    latent_constraints,
    latent_cost,
    reward_cost,
    shooting_cost,
)
from swmjax.planning.memory import auto_chunk
from swmjax.planning.metrics import (
    DEFAULT_METRICS,
    ActionNorm,
    BestCost,
    Cloud,
    EliteCost,
    EliteSpread,
    GradNorm,
    MeanCost,
    MeanShift,
    Metric,
    NonFinite,
    VarNorm,
)
from swmjax.planning.mpc import PlanCarry, PlanConfig
from swmjax.planning.mppi import MPPISolver
from swmjax.planning.nevergrad import NevergradSolver
from swmjax.planning.objectives import (
    ActionPenalty,
    AtMost,
    DiscountedReward,
    GoalCosine,
    GoalL1,
    GoalMSE,
    Objective,
    WeightedSum,
)
from swmjax.planning.pgd import PGDSolver
from swmjax.planning.predictive_sampling import PredictiveSamplingSolver
from swmjax.planning.random_shooting import RandomSolver
from swmjax.planning.registry import SOLVERS, make_solver
from swmjax.planning.scoring import Scorer
from swmjax.planning.solve import solve, solve_batch
from swmjax.planning.spaces import action_size, block_space, from_one_hot, nominal_actions, one_hot
from swmjax.planning.transitions import (
    ProblemTransitions,
    StepModel,
    TransitionCost,
    function_transitions,
    model_transitions,
)
from swmjax.planning.types import ConstraintFn, CostFn, Plan, Problem, Solver, Status, StepRecord

__all__ = [
    "ActionNorm",
    "ActionPenalty",
    "AskTellSolver",
    "AtMost",
    "BestCost",
    "CEMSolver",
    "CEMState",
    "CategoricalCEMSolver",
    "Cloud",
    "CompositeSolver",
    "ConstraintFn",
    "CostFn",
    "DEFAULT_METRICS",
    "DiscountedReward",
    "EliteCost",
    "EliteSpread",
    "EvosaxSolver",
    "GRASPSolver",
    "GoalCosine",
    "GoalL1",
    "GoalMSE",
    "GradNorm",
    "GradientSolver",
    "HostSolver",
    "ICEMSolver",
    "LagrangianCarry",
    "LagrangianSolver",
    "LatentModel",
    "LatentProblem",
    "MPPISolver",
    "MeanCost",
    "MeanShift",
    "Metric",
    "NevergradSolver",
    "NonFinite",
    "Objective",
    "PGDSolver",
    "Plan",
    "PlanCarry",
    "PlanConfig",
    "PredictiveSamplingSolver",
    "Problem",
    "ProblemTransitions",
    "RandomSolver",
    "RewardModel",
    "SOLVERS",
    "Scorer",
    "Solver",
    "Status",
    "StepModel",
    "StepRecord",
    "TransitionCost",
    "VarNorm",
    "WeightedSum",
    "action_size",
    "auto_chunk",
    "block_space",
    "encode_problems",
    "from_one_hot",
    "function_transitions",
    "latent_constraints",
    "latent_cost",
    "make_solver",
    "model_transitions",
    "nominal_actions",
    "one_hot",
    "reward_cost",
    "shooting_cost",
    "solve",
    "solve_batch",
]
