"""Policies: pure functions from states to actions, with a carry for what they remember."""

from swmjax.policies.planning import PlanCarry, PlanConfig, PlanningPolicy, PlanningTask
from swmjax.policies.shooting import ActionScaler, LatentShooting, OracleShooting

__all__ = [
    "ActionScaler",
    "LatentShooting",
    "OracleShooting",
    "PlanCarry",
    "PlanConfig",
    "PlanningPolicy",
    "PlanningTask",
]
