"""Attention and feed-forward as the reference's predictors have them, and the sizes that its predictors share."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import check_counts
from swmjax.models.blocks.layers import Gelu, Identity, layer_norm, linear


@dataclass(frozen=True)
class TrunkConfig:
    """Sizes of a transformer over the patches of at most `num_frames` frames; `dim` is the size of a token."""

    num_patches: int
    num_frames: int
    dim: int
    depth: int
    heads: int
    mlp_dim: int
    dim_head: int = 64

    def __post_init__(self) -> None:
        sizes = ("num_patches", "num_frames", "dim", "depth", "heads", "mlp_dim", "dim_head")
        check_counts(type(self).__name__, **{name: getattr(self, name) for name in sizes})


class Attention(nnx.Module):
    """Causal multi-head attention with its own input norm; `to_qkv` holds queries, keys, values in that order."""

    def __init__(self, width: int, heads: int, dim_head: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.norm = layer_norm(width, rngs=rngs)
        self.to_qkv = linear(width, 3 * heads * dim_head, use_bias=False, rngs=rngs)
        # The reference leaves the projection out when a single head has the width of a token.
        same = heads == 1 and dim_head == width
        self.to_out = nnx.List([Identity() if same else linear(heads * dim_head, width, rngs=rngs)])

    def __call__(self, x: Float[Array, "*batch T D"]) -> Float[Array, "*batch T D"]:
        q, k, v = (
            part.reshape(*part.shape[:-1], self.heads, -1) for part in jnp.split(self.to_qkv(self.norm(x)), 3, axis=-1)
        )
        scores = jnp.einsum("...qhd,...khd->...hqk", q, k) * q.shape[-1] ** -0.5
        window = jnp.arange(x.shape[-2])
        future = (window[:, None] < window[None, :]).reshape((1,) * (scores.ndim - 2) + (window.size, window.size))
        weights = jax.nn.softmax(jnp.where(future, -jnp.inf, scores), axis=-1)
        mixed = jnp.einsum("...hqk,...khd->...qhd", weights, v)
        return self.to_out[0](mixed.reshape(*x.shape[:-1], -1))


class FeedForward(nnx.Module):
    """Norm, Linear, GELU, Linear; places 3 and 5 of `net` are the reference's dropouts."""

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs):
        self.net = nnx.List(
            [
                layer_norm(width, rngs=rngs),
                linear(width, hidden, rngs=rngs),
                Gelu(),
                Identity(),
                linear(hidden, width, rngs=rngs),
            ]
        )

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        for layer in self.net:
            x = layer(x)
        return x
