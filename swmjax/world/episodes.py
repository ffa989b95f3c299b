"""Goal-reaching episodes as one pure function: draw, plan, act, step, until the budget is spent.

The problems are those of the reference's dataset protocol without a dataset: the goal is the state that the weak policy
reaches some steps after the start, so it can be reached, and pairs that start solved are left out.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from envs_mjx import Env, State
from swmjax.policies import PlanningPolicy
from swmjax.world.problems import Problems, set_problem

MAX_ATTEMPTS = 100
"""Draws after which a pair that starts solved is kept."""


@chex.dataclass(frozen=True)
class Episodes:
    """What became of B episodes.

    Attributes:
        start: Start states, the environment's own vector.
        goal: Goal states, likewise.
        success: Whether the task was solved at any step.
        steps: Environment steps until success, or the budget.
        final_distance: Distance from the goal at the end, in the environment's unit.
        first_problem: Start of the first episode and the state that shows its goal, with an axis of 1.
        trajectory: States [budget + 1, F] of the first F episodes; None if not asked for.
        shown_goals: States [F] that show their goals; None likewise.
    """

    start: Float[Array, "B S"]
    goal: Float[Array, "B S"]
    success: Bool[Array, " B"]
    steps: Int[Array, " B"]
    final_distance: Float[Array, " B"]
    first_problem: tuple[State, State]
    trajectory: Any
    shown_goals: Any


def draw_problem(env: Env, seed: Int[Array, ""], goal_offset: int) -> tuple[State, State]:
    """A start with a reachable goal.

    Args:
        env: The environment.
        seed: Number of the episode; the only source of randomness.
        goal_offset: Steps of the weak policy from the start to the goal.

    Returns:
        The start, whose goal is set, and the state that shows the goal.
    """

    def attempt(key: Key[Array, ""]) -> tuple[State, State]:
        start_key, walk_key = jax.random.split(key)
        start = env.reset(start_key)

        def walk(state: State, key: Key[Array, ""]) -> tuple[State, None]:
            return env.step(state, env.weak_action(key, state)), None

        end, _ = jax.lax.scan(walk, start, jax.random.split(walk_key, goal_offset))
        return env.set_goal(start, env.goal_from(end)), end

    key = jax.random.key(seed)

    def again(carry: tuple[Array, State, State]) -> tuple[Array, State, State]:
        tries = carry[0] + 1
        return (tries, *attempt(jax.random.fold_in(key, tries)))

    def solved(carry: tuple[Array, State, State]) -> Array:
        return carry[1].success & (carry[0] < MAX_ATTEMPTS - 1)

    # A blank pair that counts as solved starts the loop, so that the environment is compiled into it only once.
    shape = jax.eval_shape(attempt, key)
    blank = jax.tree.map(lambda leaf: _blank(leaf, key), shape)
    first = (jnp.asarray(-1, jnp.int32), blank[0].replace(success=jnp.asarray(True)), blank[1])
    _, start, end = jax.lax.while_loop(solved, again, first)
    return start, end


def start_states(
    env: Env, seeds: Int[Array, " B"], goal_offset: int, problems: Problems | None = None
) -> tuple[State, State]:
    """Starts and the states that show their goals, batched: drawn, or recorded ones.

    Args:
        env: The environment.
        seeds: Number of each episode.
        goal_offset: See `draw_problem`.
        problems: Recorded problem of each episode; drawn if None.
    """
    if problems is None:
        return jax.vmap(lambda seed: draw_problem(env, seed, goal_offset))(seeds)
    return jax.vmap(functools.partial(set_problem, env))(seeds, problems.start, problems.goal)


def run_episodes(
    env: Env,
    policy: PlanningPolicy,
    seeds: Int[Array, " B"],
    budget: int,
    goal_offset: int,
    filmed: int = 0,
    problems: Problems | None = None,
) -> Episodes:
    """Run B episodes in lockstep; pure, meant to be compiled as a whole.

    An episode that succeeds stands still from then on.

    Args:
        env: The environment.
        policy: The policy.
        seeds: Number of each episode.
        budget: Environment steps per episode.
        goal_offset: See `draw_problem`.
        filmed: Episodes, from the first, whose states are kept.
        problems: See `start_states`.

    Returns:
        The episodes.
    """
    states, goal_states = start_states(env, seeds, goal_offset, problems)
    start = jax.vmap(env.goal_from)(states)
    film = None if filmed == 0 else (lambda batch: jax.tree.map(lambda leaf: leaf[:filmed], batch))

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        states, memory, taken = carry
        actions, memory = policy.act(memory, states)
        done = states.success
        moved = jax.vmap(env.step)(states, actions)
        states = jax.tree.map(lambda new, old: jnp.where(_like(done, new), old, new), moved, states)
        return (states, memory, taken + ~done), film(states) if film else None

    memory = policy.init(seeds, goal_states)
    carry = (states, memory, jnp.zeros(seeds.shape, jnp.int32))
    (last, _, taken), kept = jax.lax.scan(step, carry, length=budget)
    trajectory = None
    if film:
        trajectory = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), film(states), kept)
    return Episodes(
        start=start,
        goal=jax.vmap(env.goal_from)(goal_states),
        success=last.success,
        steps=taken,
        final_distance=jax.vmap(env.distance)(last),
        first_problem=jax.tree.map(lambda leaf: leaf[:1], (states, goal_states)),
        trajectory=trajectory,
        shown_goals=film(goal_states) if film else None,
    )


def _blank(leaf: jax.ShapeDtypeStruct, key: Key[Array, ""]) -> Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(key, leaf.shape)
    return jnp.zeros(leaf.shape, leaf.dtype)


def _like(mask: Bool[Array, " B"], leaf: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (leaf.ndim - 1))
