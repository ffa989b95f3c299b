"""Policies: pure functions from states to actions, with a carry for what they remember."""

from swmjax.planning import PlanConfig
from swmjax.planning.receding import PlanCarry
from swmjax.policies.auto import ActionModel, AutoActionableModel, AutoCostModel, CostModel, planning_objective
from swmjax.policies.expert import ExpertPolicy, RandomPolicy, load_expert
from swmjax.policies.planning import PlanningPolicy, PlanningTask
from swmjax.policies.scaling import Scaler
from swmjax.policies.shooting import LatentShooting, OracleShooting

__all__ = [
    "ActionModel",
    "AutoActionableModel",
    "AutoCostModel",
    "CostModel",
    "ExpertPolicy",
    "LatentShooting",
    "OracleShooting",
    "PlanCarry",
    "PlanConfig",
    "PlanningPolicy",
    "PlanningTask",
    "RandomPolicy",
    "Scaler",
    "load_expert",
    "planning_objective",
]
