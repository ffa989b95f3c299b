"""Scaled dot-product attention, in one place for all transformers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
    wide = jnp.promote_types(queries.dtype, jnp.float32)
    scores = jnp.einsum("...qhe,...khe->...hqk", queries, keys, preferred_element_type=wide)
    weights = jax.nn.softmax(scores * queries.shape[-1] ** -0.5, axis=-1).astype(values.dtype)
    return jnp.einsum("...hqk,...khe->...qhe", weights, values)
