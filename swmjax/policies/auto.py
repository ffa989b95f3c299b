"""From the name of a checkpoint to what a policy uses: costs of candidates, or actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from envs_mjx.arguments import check_key
from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.load import load_pretrained
from swmjax.checkpoints.torch import families
from swmjax.models import ActingModel, PlannableModel
from swmjax.planning import CostFn, LatentProblem, Objective, encode_problems, model_cost


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CostModel:
    """A world model with what its plans are judged by.

    A pytree of the model's weights: give it to `jax.jit` as an argument, so that they are arguments of the program.

    Attributes:
        model: a world model of `swmjax.models`.
        objective: cost of rolled-out latents against those of the goal; None for a model that predicts rewards.
    """

    model: Any
    objective: Objective | None = field(default=None, metadata={"static": True})

    def problems(self, obs: Any, goal: Any = None, action_history: Float[Array, "B Th A"] | None = None) -> Any:
        """Planning problems, encoded once; for `cost`, or as the problems of `solve_batch`.

        Args:
            obs: context observations [B, Tc, ...] of B problems, as the model's `encode` takes them.
            goal: goal observations [B, Tg, ...]; not used by a model that predicts rewards.
            action_history: the Tc - 1 planner actions between the context observations; None for Tc = 1.

        Raises:
            UserError: the goal is missing.
        """
        if self.objective is None:
            return self.model.encode_current(obs)
        if goal is None:
            raise UserError(f"goal: is missing; a {type(self.model).__name__} plans towards a goal observation")
        if action_history is None:
            leaf = jax.tree.leaves(obs)[0]
            action_history = jnp.zeros((leaf.shape[0], 0, self.action_size), jnp.float32)
        return encode_problems(self.model, obs, goal, action_history)

    def cost(self, problem: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Costs of N candidates of one problem, lower is better."""
        if self.objective is None:
            problem = LatentProblem(latents=problem[None], action_history=actions[0, :0], goal=None)
        return model_cost(self.model, self.objective)(problem, actions)

    def cost_fn(self, obs: Any, goal: Any = None, action_history: Float[Array, "Th A"] | None = None) -> CostFn:
        """The cost function of one problem, for `solve`: encodes now, rolls out at every call.

        Args:
            obs: context observations [Tc, ...] of one problem; for a model that predicts rewards the current one [...].
            goal: goal observations [Tg, ...].
            action_history: the Tc - 1 planner actions between the context observations; None for Tc = 1.
        """
        # None is a tree without leaves, and stays one.
        one, towards, history = jax.tree.map(lambda leaf: leaf[None], (obs, goal, action_history))
        problem = jax.tree.map(lambda leaf: leaf[0], self.problems(one, towards, history))
        return lambda actions: self.cost(problem, actions)

    @property
    def action_size(self) -> int:
        """Entries of a planner action, all environment actions of a block together."""
        return self.model.inputs.action_size


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ActionModel:
    """A model that knows what to do; a pytree of the model's weights.

    Attributes:
        model: a model of `swmjax.models` with a policy.
    """

    model: ActingModel

    def get_action(self, obs: Mapping[str, Array], key: PRNGKeyArray | None = None) -> Float[Array, "B A"]:
        """The action for the current observations, normalised as in training.

        Args:
            obs: observations [B, T, ...] by source, as the model's `encode` takes them; a goal-conditioned policy
                also finds the goal frame at 'goal' and the goal's vectors at 'goal_' and their names.
            key: randomness of a sample; None for the mean.

        Raises:
            UserError: a source is missing or has another size, or the key is none.
        """
        if key is not None:
            check_key(key, "get_action", "one key is enough for all rows")
        return self.model.act(obs, key)


def AutoCostModel(name: str | Path, cache_dir: str | Path | None = None, **options: Any) -> CostModel:
    """The world model of a checkpoint, ready to judge candidates.

    See `planning_objective` for how.

    Args:
        name: as for `load_pretrained`.
        cache_dir: as for `load_pretrained`: takes the place of `$STABLEWM_HOME`.
        **options: as for `load_pretrained`.

    Raises:
        CheckpointError: the checkpoint cannot be used, or its model does not predict what actions lead to.

    Source: reference, `policy.py`.
    """
    model = load_pretrained(name, cache_dir, **options)
    if not isinstance(model, PlannableModel):
        raise CheckpointError(f"{name}: a {type(model).__name__} predicts no costs; load it with AutoActionableModel")
    return CostModel(model, planning_objective(model))


def planning_objective(model: Any) -> Objective | None:
    """What the reference judges plans of a model by.

    LeWM and PLDM: the squared distance of the last latent from the goal's. PreJEPA: the mean of that over every source
    of a latent. TD-MPC2: None, since it has rewards and values of its own.

    Raises:
        UserError: the model is none that can be planned with.
    """
    if not isinstance(model, PlannableModel):
        allowed = families.named([family for family in families.FAMILIES if hasattr(family.model, "rollout")])
        raise UserError(
            f"a {type(model).__name__} cannot be planned with; allowed are {allowed}, "
            "which predict what actions lead to"
        )
    return model.objective


def AutoActionableModel(name: str | Path, cache_dir: str | Path | None = None, **options: Any) -> ActionModel:
    """The policy of a checkpoint.

    Args:
        name: as for `load_pretrained`.
        cache_dir: as for `load_pretrained`: takes the place of `$STABLEWM_HOME`.
        **options: as for `load_pretrained`.

    Raises:
        CheckpointError: the checkpoint cannot be used, or its model has no policy.

    Source: reference, `policy.py`.
    """
    model = load_pretrained(name, cache_dir, **options)
    if not isinstance(model, ActingModel):
        raise CheckpointError(f"{name}: a {type(model).__name__} has no policy; plan with AutoCostModel")
    return ActionModel(model)
