"""Policies, pure functions from observations to actions with a carry of what they remember, and the loop they play."""

from swmjax.planning import PlanConfig
from swmjax.planning.receding import PlanCarry
from swmjax.policies.auto import ActionModel, AutoActionableModel, AutoCostModel, CostModel, planning_objective
from swmjax.policies.base import ActionBox, Observations, Policy
from swmjax.policies.expert import ExpertPolicy, load_expert
from swmjax.policies.latent import WorldModelPolicy
from swmjax.policies.mpc import MPCPolicy
from swmjax.policies.physics import PhysicsPolicy
from swmjax.policies.random import RandomPolicy
from swmjax.policies.rollout import Rollout, Start, rollout
from swmjax.policies.scaling import Scaler

__all__ = [
    "ActionBox",
    "ActionModel",
    "AutoActionableModel",
    "AutoCostModel",
    "CostModel",
    "ExpertPolicy",
    "MPCPolicy",
    "Observations",
    "PhysicsPolicy",
    "PlanCarry",
    "PlanConfig",
    "Policy",
    "RandomPolicy",
    "Rollout",
    "Scaler",
    "Start",
    "WorldModelPolicy",
    "load_expert",
    "planning_objective",
    "rollout",
]
