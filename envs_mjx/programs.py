"""The programs of environments, compiled once for each environment and shared by all that run it.

`Env.reset`, `step`, `render`, `set_state` and `rollout` go through them, so that calling these outside of `jax.jit`
compiles nothing the second time. Within a traced function they dissolve into it. The batches are for who runs many
environments: Gymnasium's vector interface, tests, benchmarks.

The environment and the names of sampled factors are static; everything else, the values of factors and options too, is
traced, so that `Env.check_reset`, which sees numbers, is to be asked before a reset.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key, UInt8

from envs_mjx.core import Env
from envs_mjx.state import State

_program = functools.partial(jax.jit, inline=True)


@functools.partial(_program, static_argnums=(0, 2))
def reset(
    env: Env,
    key: Key[Array, ""],
    variation: tuple[str, ...] | None = None,
    values: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> State:
    """As `Env.reset`, whose arguments these are, without the checks of values."""
    return env._reset(key, variation, values or {}, options or {})


@functools.partial(_program, static_argnums=0)
def step(env: Env, state: State, action: Any) -> State:
    """As `Env.step`."""
    return env._step(state, action)


@functools.partial(_program, static_argnums=0)
def render(env: Env, state: State) -> UInt8[Array, "height width 3"]:
    """As `Env.render`."""
    return env._render(state)


@functools.partial(_program, static_argnums=0)
def set_state(env: Env, state: State, value: Any) -> State:
    """As `Env.set_state`."""
    return env._set_state(state, value)


@functools.partial(_program, static_argnums=0)
def rollout(env: Env, state: State, actions: Any) -> tuple[State, State]:
    """As `Env.rollout`, which keeps the states here."""
    return env._rollout(state, actions, lambda state: state)


@functools.partial(_program, static_argnums=(0, 2))
def reset_batch(
    env: Env,
    keys: Key[Array, " B"],
    variation: tuple[str, ...] | None = None,
    values: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> State:
    """B fresh episodes with the same arguments, one for each key."""
    return jax.vmap(lambda key: env._reset(key, variation, values or {}, options or {}))(keys)


@functools.partial(_program, static_argnums=0)
def step_batch(env: Env, states: State, actions: Any) -> State:
    """One step of B environments; actions have a leading axis of B."""
    return env._step_batch(states, actions)


@functools.partial(_program, static_argnums=0)
def render_batch(env: Env, states: State) -> UInt8[Array, "B height width 3"]:
    """Images of B states."""
    return jax.vmap(env._render)(states)


@_program
def choose_rows(mask: Bool[Array, " B"], new: State, old: State) -> State:
    """B states, the new one where the mask is set."""
    return jax.tree.map(lambda one, other: jax.vmap(jnp.where)(mask, one, other), new, old)
