"""The transformers of the goal-conditioned baselines: frames see their past and the goal, one embedding a frame."""

from typing import Literal, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from swmjax.models.blocks.attention import attend
from swmjax.models.blocks.layers import layer_norm, linear
from swmjax.models.blocks.transformer import FeedForward, TrunkConfig

Kind = Literal["self", "cross", "frames"]


class Attention(nnx.Module):
    """Multi-head attention of one of three kinds.

    'self': every patch sees those of its own frame and of earlier ones. 'cross': every patch sees those of the goal.
    'frames': a learned token for each frame sees the patches of that frame and of earlier ones.
    """

    def __init__(self, config: TrunkConfig, kind: Kind, *, rngs: nnx.Rngs):
        inner = config.heads * config.dim_head
        self.kind, self.heads = kind, config.heads
        self.norm = layer_norm(config.dim, rngs=rngs)
        if kind == "cross":
            self.norm_c = layer_norm(config.dim, rngs=rngs)
        self.to_q = linear(config.dim, inner, use_bias=False, rngs=rngs)
        self.to_kv = linear(config.dim, 2 * inner, use_bias=False, rngs=rngs)
        # The reference leaves the projection out when a single head has the width of a token.
        same = config.heads == 1 and config.dim_head == config.dim
        self.to_out = nnx.List([] if same else [linear(inner, config.dim, rngs=rngs)])
        if kind == "frames":
            tokens = (1, config.num_frames, config.dim)
            self.frame_tokens = nnx.Param(0.02 * jax.random.normal(rngs.params(), tokens))

    def __call__(self, x: Float[Array, "B T P D"], goal: Float[Array, "B G D"]) -> Float[Array, "B T Q D"]:
        """Mixed values: Q is 1 for 'frames' and P otherwise."""
        batch, frames = x.shape[:2]
        x = self.norm(x)
        if self.kind == "cross":
            queries = self._split(self.to_q(x)).reshape(batch, -1, self.heads, self.to_q.out_features // self.heads)
            keys, values = self._keys_values(self.norm_c(goal))
            mixed = attend(queries, keys, values).reshape(*x.shape[:3], -1)
        else:
            tokens = self.frame_tokens[0, :frames] if self.kind == "frames" else None
            asking = x if tokens is None else jnp.broadcast_to(tokens[None, :, None], (batch, frames, 1, x.shape[-1]))
            queries = self._split(self.to_q(asking))
            keys, values = self._keys_values(x)

            def up_to(past: Array, frame: int) -> Array:
                return past[:, : frame + 1].reshape(batch, -1, *past.shape[3:])

            mixed = jnp.stack(
                [attend(queries[:, t], up_to(keys, t), up_to(values, t)) for t in range(frames)], axis=1
            ).reshape(*queries.shape[:3], -1)
        for layer in self.to_out:
            mixed = layer(mixed)
        return mixed

    def _keys_values(self, x: Array) -> tuple[Array, Array]:
        keys, values = jnp.split(self.to_kv(x), 2, axis=-1)
        return self._split(keys), self._split(values)

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)


def layer_kinds(depth: int, pool: str, sees_goal: bool) -> list[Kind]:
    """The attention of every layer.

    Args:
        depth: Number of layers.
        pool: 'attention' for a last layer of frame tokens, or 'mean'.
        sees_goal: Whether every second layer attends to the goal.
    """
    kinds: list[Kind] = ["cross" if sees_goal and i % 2 else "self" for i in range(depth)]
    if pool == "attention":
        kinds[-1] = "frames"
    return kinds


class Transformer(nnx.Module):
    """Attention and feed-forward by turns, then one embedding for each frame.

    With a goal, self-attention and cross-attention alternate; without, there is only self-attention. Frames are
    summed up by a last layer of frame tokens, which has no residual, or by the mean over patches.

    Source: reference, `wm/gcrl/module.py`.
    """

    def __init__(
        self,
        config: TrunkConfig,
        *,
        pool: str,
        sees_goal: bool,
        rngs: nnx.Rngs,
    ):
        kinds = layer_kinds(config.depth, pool, sees_goal)
        self.norm = layer_norm(config.dim, rngs=rngs)
        self.layers = nnx.List(
            [
                nnx.List([Attention(config, kind, rngs=rngs), FeedForward(config.dim, config.mlp_dim, rngs=rngs)])
                for kind in kinds
            ]
        )

    def __call__(self, x: Float[Array, "B T P D"], goal: Float[Array, "B G D"]) -> Float[Array, "B T D"]:
        for layer in self.layers:
            attention, feed_forward = cast("tuple[Attention, FeedForward]", tuple(layer))
            if attention.kind == "frames":
                x = feed_forward(attention(x, goal))
            else:
                x = attention(x, goal) + x
                x = feed_forward(x) + x
        return self.norm(jnp.mean(x, axis=2))
