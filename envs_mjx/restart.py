"""New episodes in the place of ended ones, within a compiled batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from envs_mjx.core import State


def restart_ended(
    states: State, ended: Bool[Array, " B"], last: State, reset: Callable[[Key[Array, ""]], State]
) -> State:
    """A batch of B states in which ended episodes have begun anew; nothing is reset where none has ended.

    Args:
        states: what the others go on from.
        ended: which episodes have ended.
        last: the last states of those; their keys and step counts decide how the new episodes begin.
        reset: the first state of one episode.
    """

    def restarted() -> State:
        fresh = jax.vmap(lambda key, step: reset(jax.random.fold_in(key, step)))(last.key, last.step)
        return jax.tree.map(lambda new, old: jax.vmap(jnp.where)(ended, new, old), fresh, states)

    # Resets may search for a start without contacts, which costs more than a step.
    return jax.lax.cond(ended.any(), restarted, lambda: states)
