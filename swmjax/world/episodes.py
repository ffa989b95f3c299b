"""What an evaluation reports of a rollout."""

from collections.abc import Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from envs_mjx import Env, State
from swmjax.policies import Policy, Start, rollout
from swmjax.policies.base import zeros_of


@chex.dataclass(frozen=True)
class Episodes:
    """What became of B episodes.

    Attributes:
        success: Whether the task was solved at any step.
        ended: Whether the episode was over before the budget was spent, or with it.
        steps: Environment steps until then, or the budget.
        returns: Sum of the rewards of these steps.
        solved_at_start: Whether there was nothing to do.
        plans: Plans that were made.
        failed_plans: Those in which no candidate had a finite cost.
        factors: Values of the factors of variation that were asked for, by dotted name, [B, n].
        start: Start states, the environment's own vector; None where it has none.
        goal: Goal states, likewise.
        final_distance: Distance from the goal at the end, in the environment's unit; None without goals.
        frames: Pictures of the first F episodes, of the start and after every step; None if not asked for.
        goal_frames: Pictures of the states that show their goals; None likewise, and without goals.
    """

    success: Bool[Array, " B"]
    ended: Bool[Array, " B"]
    steps: Int[Array, " B"]
    returns: Float[Array, " B"]
    solved_at_start: Bool[Array, " B"]
    plans: Int[Array, " B"]
    failed_plans: Int[Array, " B"]
    factors: dict[str, Float[Array, "B n"]]
    start: Float[Array, "B S"] | None = None
    goal: Float[Array, "B S"] | None = None
    final_distance: Float[Array, " B"] | None = None
    frames: UInt8[Array, "T F H W 3"] | None = None
    goal_frames: UInt8[Array, "F H W 3"] | None = None


def run_episodes(
    env: Env,
    policy: Policy,
    start: Start,
    budget: int,
    video_episodes: int = 0,
    rendering: bool | Bool[Array, ""] = True,
    *,
    until: Literal["success", "end"] = "success",
    factors: Sequence[str] = (),
) -> Episodes:
    """Run B episodes until they are over, or until the budget is spent; pure, meant to be compiled as a whole.

    Args:
        env: The environment.
        policy: The policy.
        start: Starts, and the states that show their goals, if there are any.
        budget: Environment steps per episode.
        video_episodes: Episodes, from the first, whose frames are kept.
        rendering: Whether they are rendered; else their frames are black.
        until: What an episode is over at, see `rollout`.
        factors: Names of the factors of variation whose values are reported.
    """
    goals = start.goals
    aimed = env.reaches_goals or goals is not None

    def where(states: State) -> Array | None:
        vectors = jax.vmap(env.goal_from)(states) if aimed else states.info.get("state")
        return None if vectors is None else _vectors(vectors)

    def first(states: State) -> State:
        return jax.tree.map(lambda leaf: leaf[:video_episodes], states)

    def pictures(states: State, _: Any) -> Array:
        shown = first(states)
        if goals is not None:
            # The goals are drawn again with every step, so that the program holds the drawing once.
            shown = jax.tree.map(lambda one, goal: jnp.concatenate([one, goal]), shown, first(goals))
        draw = jax.jit(jax.vmap(env.render), inline=True)
        return jax.lax.cond(rendering, draw, lambda states: zeros_of(draw, states), shown)

    played = rollout(env, policy, start, budget, until=until, keep=pictures if video_episodes else None)
    counted = policy.tally(played.carry)
    nothing = jnp.zeros_like(played.length)
    solved = start.states.success
    return Episodes(
        success=played.ended if until == "success" else solved | played.states.success,
        ended=played.ended,
        steps=played.length,
        returns=played.returns,
        solved_at_start=solved,
        plans=counted.get("plans", nothing),
        failed_plans=counted.get("failed_plans", nothing),
        factors={name: _vectors(start.states.factors[name]) for name in factors},
        start=where(start.states),
        goal=None if goals is None else where(goals),
        final_distance=jax.vmap(env.distance)(played.states) if aimed else None,
        frames=played.kept[:, :video_episodes] if video_episodes else None,
        goal_frames=played.kept[0, video_episodes:] if video_episodes and goals is not None else None,
    )


def _vectors(values: Shaped[Array, "B ..."]) -> Shaped[Array, "B n"]:
    return values.reshape(values.shape[0], -1)
