"""Goal-reaching episodes: what an evaluation reports of a rollout."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from swmjax.policies import MPCPolicy, Start, rollout
from swmjax.policies.base import zeros_of


@chex.dataclass(frozen=True)
class Episodes:
    """What became of B episodes.

    Attributes:
        start: Start states, the environment's own vector.
        goal: Goal states, likewise.
        success: Whether the task was solved at any step.
        steps: Environment steps until success, or the budget.
        final_distance: Distance from the goal at the end, in the environment's unit.
        plans: Plans that were made.
        frames: Pictures of the first F episodes, of the start and after every step; None if not asked for.
        goal_frames: Pictures of the states that show their goals; None likewise.
    """

    start: Float[Array, "B S"]
    goal: Float[Array, "B S"]
    success: Bool[Array, " B"]
    steps: Int[Array, " B"]
    final_distance: Float[Array, " B"]
    plans: Int[Array, " B"]
    frames: UInt8[Array, "T F H W 3"] | None = None
    goal_frames: UInt8[Array, "F H W 3"] | None = None


def run_episodes(
    env: Env,
    policy: MPCPolicy,
    start: Start,
    budget: int,
    video_episodes: int = 0,
    rendering: bool | Bool[Array, ""] = True,
) -> Episodes:
    """Run B episodes until success, or until the budget is spent; pure, meant to be compiled as a whole.

    Args:
        env: The environment.
        policy: The policy.
        start: Starts, and the states that show their goals.
        budget: Environment steps per episode.
        video_episodes: Episodes, from the first, whose frames are kept.
        rendering: Whether they are rendered; else their frames are black.

    Raises:
        UserError: The episodes have no goals.
    """

    if start.goals is None:
        raise UserError("these episodes have no goals, so whether one succeeds cannot be told")
    goals = start.goals

    def first(states: State) -> State:
        return jax.tree.map(lambda leaf: leaf[:video_episodes], states)

    def pictures(states: State, _: Any) -> Array:
        # The goals are drawn again with every step, so that the program holds the drawing once.
        both = jax.tree.map(lambda one, goal: jnp.concatenate([one, goal]), first(states), first(goals))
        draw = jax.jit(jax.vmap(env.render), inline=True)
        return jax.lax.cond(rendering, draw, lambda states: zeros_of(draw, states), both)

    played = rollout(env, policy, start, budget, until="success", keep=pictures if video_episodes else None)
    return Episodes(
        start=jax.vmap(env.goal_from)(start.states),
        goal=jax.vmap(env.goal_from)(goals),
        success=played.ended,
        steps=played.length,
        final_distance=jax.vmap(env.distance)(played.states),
        plans=played.carry.plans,
        frames=played.kept[:, :video_episodes] if video_episodes else None,
        goal_frames=played.kept[0, video_episodes:] if video_episodes else None,
    )
