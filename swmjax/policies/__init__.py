"""Policies, pure functions from observations to actions with a carry of what they remember, and the loop they play."""

import inspect
from collections.abc import Callable
from typing import Any

from envs_mjx import Env, plugins
from envs_mjx.checks import UserError
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

POLICIES: dict[str, Callable[[Env], Policy]] = {"random": lambda env: RandomPolicy.of(env.action_space)}
"""Policies that need nothing but the environment, by name."""


def register_policy(name: str, make: Callable[[Env], Policy]) -> None:
    """Add a policy under a name that the command line knows.

    Args:
        name: the name.
        make: from an environment to the policy; a class whose one field is the environment will do.

    Raises:
        UserError: the name is taken.
    """
    if POLICIES.get(name, make) is not make:
        raise UserError(f"policy {name!r} is already registered")
    POLICIES[name] = make


def make_policy(name: str, env: Env) -> Policy:
    """Build a policy for an environment.

    Args:
        name: a key of `POLICIES`, a name that an installed package has registered, or `module:Name` of what
            `register_policy` takes, which imports the module.
        env: the environment.

    Raises:
        UserError: there is no such policy, or it gives none for this environment.
    """
    make: Any = plugins.load_named("policy", name) if ":" in name else POLICIES.get(name)
    if make is None:
        plugins.load()
        if name not in POLICIES:
            raise plugins.unknown("policy", name, POLICIES)
        make = POLICIES[name]
    try:
        inspect.signature(make).bind(env)
    except (TypeError, ValueError):
        raise UserError(f"policy {name!r} must be a class or a function that takes an environment alone") from None
    policy = make(env)
    if not isinstance(policy, Policy):
        raise UserError(f"policy {name!r} gives a {type(policy).__name__}, it must be a swmjax.policies.Policy")
    return policy


__all__ = [
    "ActionBox",
    "ActionModel",
    "AutoActionableModel",
    "AutoCostModel",
    "CostModel",
    "ExpertPolicy",
    "MPCPolicy",
    "Observations",
    "POLICIES",
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
    "make_policy",
    "planning_objective",
    "register_policy",
    "rollout",
]
