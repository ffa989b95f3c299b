"""Receding-horizon control as pure functions: plan, execute the first part of the plan, plan again from there.

Every row of a batch has its own queue of planned actions, so rows may replan at different steps. A step in which
no row has used up its queue runs no solver.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Array, Bool, Int, Shaped

from envs_mjx.checks import UserError, is_integer
from swmjax.planning.spaces import action_size, block_space, category_counts
from swmjax.planning.types import Plan, Status


@dataclass(frozen=True)
class PlanConfig:
    """How plans are made and used; horizons count planner steps of `action_block` environment steps.

    Args:
        horizon: Planner steps per plan.
        receding_horizon: Planner steps that are executed before the next plan, at most `horizon`.
        action_block: Environment actions per planner step.
        warm_start: Start each plan from the rest of the one before.
        history_len: Observations that a plan starts from, one every `action_block` environment steps, as many as the
            episode has had so far.
        history_max_len: Environment steps of the past that are kept; just enough if None. Fewer shorten the history.

    Raises:
        UserError: A number is not a positive integer, or `receding_horizon` is above `horizon`.

    Source: reference, `policy.py` (`PlanConfig`).
    """

    horizon: int = 5
    receding_horizon: int = 5
    action_block: int = 5
    warm_start: bool = True
    history_len: int = 1
    history_max_len: int | None = None

    def __post_init__(self) -> None:
        for name in ("horizon", "receding_horizon", "action_block", "history_len", "history_max_len"):
            value = getattr(self, name)
            if value is None and name == "history_max_len":
                continue
            if not is_integer(value) or value < 1:
                raise UserError(f"plan.{name} must be a positive integer, got {value!r}")
        if self.receding_horizon > self.horizon:
            raise UserError(
                f"plan.receding_horizon ({self.receding_horizon}) must not be above plan.horizon ({self.horizon})"
            )
        if not isinstance(self.warm_start, bool):
            raise UserError(f"plan.warm_start must be true or false, got {self.warm_start!r}")

    @property
    def steps_per_plan(self) -> int:
        """Environment steps between two plans."""
        return self.receding_horizon * self.action_block

    @property
    def kept_steps(self) -> int:
        """Environment steps whose observations are kept."""
        return self.history_max_len or (self.history_len - 1) * self.action_block + 1


@chex.dataclass(frozen=True)
class History:
    """The last observations and actions of B rows, the newest last.

    Attributes:
        observations: Pytree whose leaves are [B, L, ...].
        actions: Planner-unit environment actions [B, L, a]; entry i led to observation i.
        seen: Observations of each row since its last flush; more than L once the oldest are gone.
    """

    observations: Any
    actions: Shaped[Array, "B L a"]
    seen: Int[Array, " B"]


@chex.dataclass(frozen=True)
class PlanCarry:
    """What the controller remembers between steps, for B rows.

    Attributes:
        position: Next entry of each queue; `steps_per_plan` when it is used up.
        plans: Plans made so far.
        failed: Those of them that were not finite.
        queue: Environment actions of the last plan, in the planner's units.
        tail: The planner steps of the last plan that will not be executed.
        status: `Status` of the last plan; not OK when it was not finite and the rest of the plan before took its place.
        seeds: Number of each row; its plans draw from it and from the number of the plan.
        goals: What the task remembers of the goals.
        history: Past observations and actions, None for a history of one observation.
    """

    position: Int[Array, " B"]
    plans: Int[Array, " B"]
    failed: Int[Array, " B"]
    queue: Shaped[Array, "B S a"]
    tail: Shaped[Array, "B R A"]
    status: Int[Array, " B"]
    seeds: Int[Array, " B"]
    goals: Any = None
    history: History | None = None


def start(
    config: PlanConfig, space: gymnasium.Space, seeds: Int[Array, " B"], observations: Any = None, goals: Any = None
) -> PlanCarry:
    """Memory before the first step.

    Args:
        config: Horizons and blocks.
        space: Space of one environment action, in the planner's units.
        seeds: Non-negative number of each row.
        observations: Pytree of arrays, or of their shapes, with leaves [B, ...]; needed for a longer history.
        goals: What the task remembers of the goals.
    """
    blocked = block_space(space, config.action_block)
    if isinstance(blocked, Box):
        size, dtype = action_size(blocked), jax.dtypes.canonicalize_dtype(blocked.dtype)
    else:
        size, dtype = len(category_counts(blocked)), np.dtype(np.int32)
    batch, entry = seeds.shape[0], size // config.action_block
    history = None
    if config.history_len > 1:

        def blank(leaf: Any) -> Array:
            return jnp.zeros((batch, config.kept_steps, *leaf.shape[1:]), leaf.dtype)

        history = History(
            observations=jax.tree.map(blank, observations),
            actions=jnp.zeros((batch, config.kept_steps, entry), dtype),
            seen=jnp.zeros(batch, jnp.int32),
        )
    return PlanCarry(
        position=jnp.full(batch, config.steps_per_plan, jnp.int32),
        plans=jnp.zeros(batch, jnp.int32),
        failed=jnp.zeros(batch, jnp.int32),
        queue=jnp.zeros((batch, config.steps_per_plan, entry), dtype),
        tail=jnp.zeros((batch, config.horizon - config.receding_horizon, size), dtype),
        status=jnp.full(batch, Status.OK, jnp.int32),
        seeds=seeds,
        goals=goals,
        history=history,
    )


def flush(config: PlanConfig, carry: PlanCarry, rows: Bool[Array, " B"]) -> PlanCarry:
    """Forget the plan and the history of rows whose episode was reset; what they planned so far still counts.

    Args:
        config: Horizons and blocks.
        carry: Memory.
        rows: Which rows.
    """
    history = carry.history
    if history is not None:
        history = history.replace(seen=jnp.where(rows, 0, history.seen))
    return carry.replace(
        position=jnp.where(rows, config.steps_per_plan, carry.position),
        tail=jnp.where(rows[:, None, None], jnp.zeros_like(carry.tail), carry.tail),
        history=history,
    )


def remember(config: PlanConfig, carry: PlanCarry, observations: Any) -> PlanCarry:
    """Add the current observation, and the action that led to it, to the history.

    Args:
        config: Horizons and blocks.
        carry: Memory.
        observations: Pytree with leaves [B, ...].
    """
    history = carry.history
    if history is None:
        return carry
    rows = jnp.arange(carry.position.shape[0])
    last = carry.queue[rows, jnp.maximum(carry.position - 1, 0)]
    # Nothing led to the first observation.
    last = jnp.where((history.seen > 0)[:, None], last, jnp.zeros_like(last))

    def shifted(old: Array, new: Array) -> Array:
        return jnp.concatenate([old[:, 1:], new[:, None].astype(old.dtype)], axis=1)

    return carry.replace(
        history=History(
            observations=jax.tree.map(shifted, history.observations, observations),
            actions=shifted(history.actions, last),
            seen=history.seen + 1,
        )
    )


def context(config: PlanConfig, history: History, length: int) -> tuple[Any, Array]:
    """The observations that plans start from, one every `action_block` steps back from the newest.

    A row that has had fewer is filled up with copies of its oldest, and with blocks of zeros between them.

    Args:
        config: Horizons and blocks.
        history: Past observations and actions.
        length: n, observations per row.

    Returns:
        Observations [B, n, ...], oldest first, and the n - 1 planner actions [B, n - 1, A] between them.
    """
    block, newest = config.action_block, config.kept_steps - 1
    kept = jnp.minimum(history.seen, config.kept_steps)
    oldest = newest - (kept - 1) // block * block
    wanted = newest - block * np.arange(length - 1, -1, -1)
    index = jnp.maximum(wanted[None], oldest[:, None])
    rows = jnp.arange(index.shape[0])[:, None]
    observations = jax.tree.map(lambda leaf: leaf[rows, index], history.observations)
    if length == 1:
        size = history.actions.shape[-1] * block
        return observations, jnp.zeros((index.shape[0], 0, size), history.actions.dtype)
    between = np.maximum(wanted[1:, None] + np.arange(1 - block, 1)[None], 0)
    blocks = history.actions[:, between].reshape(index.shape[0], length - 1, -1)
    known = (wanted[None, :-1] >= oldest[:, None])[:, :, None]
    return observations, jnp.where(known, blocks, jnp.zeros_like(blocks))


def act(
    config: PlanConfig,
    carry: PlanCarry,
    plan: Callable[[Bool[Array, " B"], int], Plan],
    alive: Bool[Array, " B"],
) -> tuple[Shaped[Array, "B a"], PlanCarry]:
    """The next environment action of every row; rows whose queue is used up get a new plan first.

    Args:
        config: Horizons and blocks.
        carry: Memory, after `remember`.
        plan: From the rows that need a plan and a number of observations (1 to `history_len`) to plans for all rows;
            traced once for each number, run only when a row needs it. Rows that need none keep what they have.
        alive: Rows whose episode goes on; the others never plan, and their action is zero.

    Returns:
        Actions in the planner's units, and the memory after.
    """
    needed = needs_plan(config, carry, alive)

    def replanned(length: int) -> PlanCarry:
        made = plan(needed, length)
        fallback = jnp.pad(carry.tail, ((0, 0), (0, config.receding_horizon), (0, 0)))
        bad = (made.status != Status.OK) | ~jnp.isfinite(made.actions).all((1, 2))
        actions = jnp.where(bad[:, None, None], fallback, made.actions.astype(fallback.dtype))
        now, tail = actions[:, : config.receding_horizon], actions[:, config.receding_horizon :]
        status = jnp.where(bad, Status.NO_FINITE_COST, made.status)
        return carry.replace(
            position=jnp.where(needed, 0, carry.position),
            plans=carry.plans + needed,
            failed=carry.failed + (needed & bad),
            queue=jnp.where(needed[:, None, None], now.reshape(carry.queue.shape), carry.queue),
            tail=jnp.where(needed[:, None, None], tail, carry.tail),
            status=jnp.where(needed, status, carry.status),
        )

    branches = [lambda: carry, *[lambda length=n: replanned(length) for n in range(1, config.history_len + 1)]]
    after = jax.lax.switch(jnp.where(needed.any(), _context_length(config, carry, needed), 0), branches)
    rows = jnp.arange(after.position.shape[0])
    actions = after.queue[rows, jnp.minimum(after.position, config.steps_per_plan - 1)]
    actions = jnp.where(alive[:, None], actions, jnp.zeros_like(actions))
    return actions, after.replace(position=after.position + alive)


def needs_plan(config: PlanConfig, carry: PlanCarry, alive: Bool[Array, " B"]) -> Bool[Array, " B"]:
    """Rows that go on and have used up their queue."""
    return alive & (carry.position >= config.steps_per_plan)


def _context_length(config: PlanConfig, carry: PlanCarry, needed: Bool[Array, " B"]) -> Int[Array, ""]:
    """Observations that plans start from now: as many as any of the planning rows has, at most `history_len`."""
    if carry.history is None:
        return jnp.ones((), jnp.int32)
    kept = jnp.where(needed, jnp.minimum(carry.history.seen, config.kept_steps), 1)
    return jnp.minimum(((kept - 1) // config.action_block + 1).max(), config.history_len)
