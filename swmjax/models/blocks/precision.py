"""The dtype that a model computes in: that of its parameters."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

_Model = TypeVar("_Model", bound=nnx.Module)


def cast_model(model: _Model, dtype: Any) -> _Model:
    """A copy of a model whose parameters have another dtype.

    In bfloat16 matrix products run in bfloat16; norms, softmax and the latents that a model returns stay in float32.

    Args:
        model: A Flax NNX model.
        dtype: A floating-point dtype.
    """
    return jax.tree.map(lambda leaf: leaf.astype(dtype), model)


def widened(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Values in float32 at least: what objectives and planners get."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
