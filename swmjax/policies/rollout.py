"""Episodes as one pure function: observe, act, step, until they end; the one loop over environment and policy."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from envs_mjx.names import unknown_name
from envs_mjx.raster.antialias import resize_antialiased
from swmjax.policies.base import Observations, Policy, check_seeds, zeros_of

PIXELS, GOAL, ENV_STATE = "pixels", "goal", "env_state"
"""Names of observations that no environment gives itself: its picture, the goal's, and its whole state."""


@chex.dataclass(frozen=True)
class Start:
    """Where B episodes begin.

    Attributes:
        states: First states, batched.
        seeds: Non-negative number of each episode; what a policy draws depends on this alone.
        goals: States that show the goals, batched; None where nothing has to be reached.
        alive: Episodes that are played; the others stand still from the start. All if None.
        carry: Memory of the policy to go on with; a fresh one if None.
    """

    states: State
    seeds: Int[Array, " B"]
    goals: State | None = None
    alive: Bool[Array, " B"] | None = None
    carry: Any = None


@chex.dataclass(frozen=True)
class Rollout:
    """What became of B episodes in T steps.

    Attributes:
        states: Last states, batched.
        carry: Memory of the policy after them.
        length: Steps of each episode: until its end, or T.
        ended: Whether it ended.
        returns: Sum of the rewards of these steps.
        kept: What was asked for, [T + 1, ...], at the start and after every step; None if nothing was.
        actions: Actions [T, B, ...] that were taken, None if nothing is kept; after an episode's end they mean nothing.
    """

    states: State
    carry: Any
    length: Int[Array, " B"]
    ended: Bool[Array, " B"]
    returns: Float[Array, " B"]
    kept: Any = None
    actions: Any = None


def rollout(
    env: Env,
    policy: Policy,
    start: Start,
    steps: int,
    *,
    until: Literal["end", "success"] = "end",
    keep: Callable[[State, Any], Any] | None = None,
) -> Rollout:
    """Play B episodes in lockstep; pure, meant to be compiled as a whole with the policy as an argument.

    An episode that is over stands still from then on, and once all are, nothing is computed any more.

    Args:
        env: The environment.
        policy: The policy.
        start: Where the episodes begin.
        steps: T, at most so many steps.
        until: What an episode is over at: `end`, when a step terminates or truncates it, or `success`, when the task is
            solved, be it at the start.
        keep: From states and the policy's memory to what is kept of every step.

    Raises:
        UserError: The policy reads observations that the environment does not offer, or the start is no batch.
    """
    _check_start(start)
    # Compiled functions within the program are traced once, however often they are called or asked for their shapes.
    look = jax.jit(lambda states: observe(env, policy, states), inline=True)
    goals = observe_goals(env, policy, start.goals)
    memory = start.carry
    if memory is None:
        memory = policy.init(start.seeds, look(start.states) | goals)

    def alive(ended: Array) -> Array:
        return ~ended if start.alive is None else start.alive & ~ended

    def seen(states: State, memory: Any, rows: Array) -> Observations:
        if PIXELS not in policy.inputs:
            return look(states)
        return jax.lax.cond(policy.looks(memory, rows), look, partial(zeros_of, look), states)

    @partial(jax.jit, inline=True)
    def play(carry: Any) -> Any:
        states, memory, ended, length, returns = carry
        rows = alive(ended)
        actions, memory = policy.act(memory, seen(states, memory, rows) | goals, rows)
        moved = jax.vmap(env.step)(states, actions)
        states = jax.tree.map(lambda new, old: jax.vmap(jnp.where)(rows, new, old), moved, states)
        over = states.success if until == "success" else states.terminated | states.truncated
        returns = returns + jnp.where(rows, states.reward, jnp.zeros_like(states.reward))
        return (states, memory, ended | (rows & over), length + rows, returns), actions

    def stand(carry: Any) -> Any:
        return carry, zeros_of(play, carry)[1]

    def step(carry: Any, number: Array) -> Any:
        # What is kept is looked at before a step, and once more after the last, so that the program holds it once.
        shown = None if keep is None else keep(carry[0], carry[1])
        carry, actions = jax.lax.cond(alive(carry[2]).any() & (number < steps), play, stand, carry)
        return carry, None if keep is None else (shown, actions)

    zeros = jnp.zeros(start.seeds.shape, jnp.int32)
    ended = start.states.success if until == "success" else zeros.astype(bool)
    numbers = jnp.arange(steps if keep is None else steps + 1)
    first = (start.states, memory, ended, zeros, jnp.zeros_like(start.states.reward))
    (states, last, ended, length, returns), rest = jax.lax.scan(step, first, numbers)
    kept, actions = (None, None) if rest is None else (rest[0], jax.tree.map(lambda leaf: leaf[:-1], rest[1]))
    return Rollout(states=states, carry=last, length=length, ended=ended, returns=returns, kept=kept, actions=actions)


def _check_start(start: Start) -> None:
    """Refuse the state of one episode, and seeds that are not one for each episode."""
    shape = jnp.shape(start.states.step)
    if len(shape) != 1:
        got = f"states of {list(shape)}" if shape else "the state of one"
        raise UserError(f"rollout plays a batch of episodes, got {got}: jax.vmap(env.reset) makes a batch")
    check_seeds(start.seeds, *shape)


def observe(env: Env, policy: Policy, states: State) -> Observations:
    """What a policy sees of B states, goals apart.

    Args:
        env: The environment.
        policy: The policy.
        states: States, batched.

    Raises:
        UserError: The environment does not offer an observation.
    """
    return {name: _observed(env, policy, name, states) for name in policy.inputs if not _of_goal(name)}


def observe_goals(env: Env, policy: Policy, goals: State | None) -> Observations:
    """What a policy sees of the states that show the goals.

    Args:
        env: The environment.
        policy: The policy.
        goals: States, batched; None where there is no goal.

    Raises:
        UserError: The policy needs goals where there are none, or the environment does not offer an observation.
    """
    wanted = [name for name in policy.inputs if _of_goal(name)]
    if not wanted:
        return {}
    if goals is None:
        raise UserError(f"{type(policy).__name__} reads {', '.join(wanted)}, but these episodes have no goals")
    return {name: _observed(env, policy, name.removeprefix(GOAL).removeprefix("_") or PIXELS, goals) for name in wanted}


def _of_goal(name: str) -> bool:
    return name == GOAL or name.startswith(f"{GOAL}_")


def _observed(env: Env, policy: Policy, name: str, states: State) -> Any:
    if name == ENV_STATE:
        return states
    if name == PIXELS:
        return jax.vmap(partial(frame, env, policy.image_size))(states)
    offered = states.info | states.obs
    if name not in offered:
        raise UserError(unknown_name(f"observation of {type(env).__name__}", name, [PIXELS, ENV_STATE, *offered]))
    return offered[name]


def frame(env: Env, size: int | None, state: State) -> UInt8[Array, "H W 3"]:
    """The picture of one state.

    Args:
        env: The environment.
        size: Height and width, px; a picture of another size is resized as the reference does it. As it is if None.
        state: The state.
    """
    image = env.render(state)
    return image if size is None else resize_antialiased(image, size, size)
