"""Goal-reaching episodes: what an evaluation reports of a rollout."""

from typing import Any

import chex
import jax
from jaxtyping import Array, Bool, Float, Int

from envs_mjx import Env
from swmjax.policies.base import Policy
from swmjax.policies.rollout import Start, rollout


@chex.dataclass(frozen=True)
class Episodes:
    """What became of B episodes.

    Attributes:
        start: Start states, the environment's own vector.
        goal: Goal states, likewise.
        success: Whether the task was solved at any step.
        steps: Environment steps until success, or the budget.
        final_distance: Distance from the goal at the end, in the environment's unit.
        carry: Memory of the policy at the end.
        trajectory: States [budget + 1, F] of the first F episodes; None if not asked for.
        shown_goals: States [F] that show their goals; None likewise.
    """

    start: Float[Array, "B S"]
    goal: Float[Array, "B S"]
    success: Bool[Array, " B"]
    steps: Int[Array, " B"]
    final_distance: Float[Array, " B"]
    carry: Any
    trajectory: Any
    shown_goals: Any


def run_episodes(env: Env, policy: Policy, start: Start, budget: int, filmed: int = 0) -> Episodes:
    """Run B episodes until success, or until the budget is spent; pure, meant to be compiled as a whole.

    Args:
        env: The environment.
        policy: The policy.
        start: Starts, and the states that show their goals.
        budget: Environment steps per episode.
        filmed: Episodes, from the first, whose states are kept.
    """

    def film(states: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[:filmed], states)

    played = rollout(
        env, policy, start, budget, until="success", keep=(lambda states, _: film(states)) if filmed else None
    )
    return Episodes(
        start=jax.vmap(env.goal_from)(start.states),
        goal=jax.vmap(env.goal_from)(start.goals),
        success=played.ended,
        steps=played.length,
        final_distance=jax.vmap(env.distance)(played.states),
        carry=played.carry,
        trajectory=played.kept,
        shown_goals=film(start.goals) if filmed else None,
    )
