"""Scaled dot-product attention, in one place for all transformers."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Block = tuple[Array, Array]
"""Keys and values of some tokens, by head: each [*batch, heads, K, E]."""


def attend(
    queries: Float[Array, "*batch Q heads E"],
    keys: Float[Array, "*batch K heads E"],
    values: Float[Array, "*batch K heads E"],
) -> Float[Array, "*batch Q heads E"]:
    """Full multi-head attention; scores and softmax in float32 at least.

    Args:
        queries: Queries, by token and head.
        keys: Keys of the tokens that every query sees.
        values: Their values.

    Returns:
        The mixed values, in the dtype of `values`.
    """
    q, k, v = (jnp.swapaxes(part, -2, -3) for part in (queries, keys, values))
    return jnp.swapaxes(attend_blocks(q, [(k, v)]), -2, -3)


def attend_blocks(queries: Float[Array, "*batch heads Q E"], seen: Sequence[Block]) -> Float[Array, "*batch heads Q E"]:
    """Full multi-head attention to tokens in several blocks, which are never put together.

    Args:
        queries: Queries by head.
        seen: Blocks that every query sees; a batch axis of size 1 is shared by all.

    Returns:
        The mixed values, in their dtype.
    """
    wide, dtype = jnp.promote_types(queries.dtype, jnp.float32), seen[0][1].dtype

    def product(formula: str, left: Array, right: Array) -> Array:
        return jnp.einsum(formula, left, right, preferred_element_type=wide)

    queries = queries * queries.shape[-1] ** -0.5
    scores = [product("...qe,...ke->...qk", queries, keys) for keys, _ in seen]
    # Any shift leaves the result what it is, so that the gradient need not know of it.
    tops = [jnp.max(part, axis=-1, keepdims=True) for part in scores]
    top = jax.lax.stop_gradient(functools.reduce(jnp.maximum, tops))
    weights = [jnp.exp(part - top) for part in scores]
    totals = [jnp.sum(part, axis=-1, keepdims=True) for part in weights]
    mixed = [
        product("...qk,...ke->...qe", part.astype(dtype), values)
        for part, (_, values) in zip(weights, seen, strict=True)
    ]
    # Divided after the product, which has far fewer entries than the weights.
    return (functools.reduce(jnp.add, mixed) / functools.reduce(jnp.add, totals)).astype(dtype)
