"""Policies, pure functions from observations to actions with a carry of what they remember, and the loop they play."""

import inspect
from collections.abc import Callable
from pathlib import Path
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
from swmjax.policies.scripted import ScriptedPolicy

POLICIES: dict[str, Callable[[Env], Policy]] = {
    "random": lambda env: RandomPolicy.of(env.action_space),
    "weak": ScriptedPolicy,
    "expert": lambda env: ScriptedPolicy(env, expert=True),
}
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


def make_policy(name: str, env: Env, *, deterministic: bool = False, noise: float = 0.0) -> Policy:
    """Build a policy for an environment.

    Args:
        name: a key of `POLICIES`; or else a path, of the run folder of an expert; or else a name that an installed
            package has registered, or `module:Name` of what `register_policy` takes, which imports the module.
        env: the environment.
        deterministic: of the expert of a run, see `ExpertPolicy`.
        noise: of the expert of a run, see `ExpertPolicy`.

    Raises:
        UserError: there is no such policy, or it gives none for this environment.
    """
    make: Any = POLICIES.get(name)
    if make is None and Path(name).exists():
        return _fitting(name, load_expert(name, deterministic, noise), env)
    if make is None and ":" in name:
        make = plugins.load_named("policy", name)
    if make is None:
        plugins.load()
        if name not in POLICIES:
            raise UserError(
                f"{plugins.unknown('policy', name, POLICIES)}; a run folder of `swmjax train-expert` will do as well"
            )
        make = POLICIES[name]
    try:
        inspect.signature(make).bind(env)
    except (TypeError, ValueError):
        raise UserError(f"policy {name!r} must be a class or a function that takes an environment alone") from None
    policy = make(env)
    if not isinstance(policy, Policy):
        raise UserError(f"policy {name!r} gives a {type(policy).__name__}, it must be a swmjax.policies.Policy")
    return policy


def _fitting(path: str, policy: ExpertPolicy, env: Env) -> ExpertPolicy:
    """The expert of a run, which must act in this environment."""
    spaces = getattr(env.observation_space, "spaces", {})
    seen, actor = policy.actor.observations, policy.actor
    size = sum(int(spaces[name].shape[0]) for name in seen if name in spaces)
    if set(seen) != set(spaces) or size != actor.mean.shape[0]:
        raise UserError(
            f"{path}: this expert observes {', '.join(seen)} of length {actor.mean.shape[0]}, but "
            f"{type(env).__name__} has {', '.join(spaces)} of length {size}"
        )
    if actor.low.shape != env.action_space.shape:
        raise UserError(
            f"{path}: this expert's actions have the length {actor.low.shape[0]}, those of {type(env).__name__} are "
            f"{env.action_space}"
        )
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
    "ScriptedPolicy",
    "Start",
    "WorldModelPolicy",
    "load_expert",
    "make_policy",
    "planning_objective",
    "register_policy",
    "rollout",
]
