"""Decisions for a whole batch under `vmap`: skip work that no row needs, without changing any row's result."""

import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int


@custom_vmap
def max_in_batch(x: Int[Array, ""]) -> Int[Array, ""]:
    """The largest of an integer over every enclosing `vmap`: not batched itself, so `cond` stays a real branch.

    Use it only to choose between programs that give the same result for every row.
    """
    return x


@max_in_batch.def_vmap
def _max_in_batch_rule(axis_size, in_batched, x):
    return max_in_batch(jnp.max(x, axis=0) if in_batched[0] else x), False


def any_in_batch(x: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether a predicate holds in any row of every enclosing `vmap`."""
    return max_in_batch(x.astype(jnp.int32)) > 0
