"""The predictor of DINO-WM: a transformer over all patches of a window of frames, causal from frame to frame."""

import functools
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from swmjax.models.blocks.attention import Block, attend_blocks
from swmjax.models.blocks.layers import layer_norm
from swmjax.models.blocks.transformer import Attention, FeedForward, TrunkConfig

Cache = list[list[Block]]
"""For every layer the keys and values of the earlier frames in the window, each [B, n, heads, P, E].

n is N, or 1 for a frame that all candidates share.
"""


@dataclass(frozen=True)
class CausalPredictorConfig(TrunkConfig):
    """Sizes of the predictor. `num_frames` is the longest window it has positions for, `dim` the fused token size."""


class Transformer(nnx.Module):
    """Pre-norm blocks, each a list of attention and feed-forward, and a final norm."""

    def __init__(self, config: CausalPredictorConfig, *, rngs: nnx.Rngs):
        def block() -> nnx.List:
            attention = Attention(config.dim, config.heads, config.dim_head, rngs=rngs)
            return nnx.List([attention, FeedForward(config.dim, config.mlp_dim, rngs=rngs)])

        self.layers = nnx.List([block() for _ in range(config.depth)])
        self.norm = layer_norm(config.dim, rngs=rngs)


class CausalPredictor(nnx.Module):
    """Predicts, at every frame of a window, the tokens of the next one.

    A token sees every patch of its own frame and of the frames before it, so a frame's keys and values hold as long
    as the frame keeps its place in the window.

    Source: reference, `wm/prejepa/module.py`.
    """

    def __init__(self, config: CausalPredictorConfig, *, rngs: nnx.Rngs):
        self.config = config
        tokens = config.num_frames * config.num_patches
        self.pos_embedding = nnx.Param(jax.random.normal(rngs.params(), (1, tokens, config.dim)))
        self.transformer = Transformer(config, rngs=rngs)

    def __call__(self, frames: Float[Array, "B T P D"]) -> Float[Array, "B T P D"]:
        """Next tokens for a window of at most `num_frames` frames, oldest first."""
        moved = jnp.moveaxis(frames, 1, 0)[:, :, None]
        predicted, _ = self.extend(moved, 0, self.empty_cache(), outputs=frames.shape[1])
        assert predicted is not None
        return jnp.moveaxis(predicted[:, :, 0], 0, 1)

    def empty_cache(self) -> Cache:
        """The cache of an empty window."""
        return [[] for _ in self.transformer.layers]

    def extend(
        self, frames: Float[Array, "S B n P D"], first: int, cache: Cache, outputs: int, remat: bool = False
    ) -> tuple[Float[Array, "K B n P D"] | None, Cache]:
        """Put S more frames behind those in the cache.

        Args:
            frames: Fused tokens of the new frames, oldest first.
            first: Place of the first new frame in the window.
            cache: Keys and values of the frames at the places before it.
            outputs: How many of the last new frames to predict from; 0 fills the cache only.
            remat: Recompute each layer in the backward pass instead of storing its attention.

        Returns:
            Predictions from the last `outputs` frames (None for 0), and the cache with all frames.
        """
        count, patches = frames.shape[0], self.config.num_patches
        positions = self.pos_embedding[0].reshape(self.config.num_frames, 1, 1, patches, -1)
        x = frames + positions[first : first + count]
        extended: Cache = []
        for block, earlier in zip(self.transformer.layers, cache, strict=True):
            attention, feed_forward = cast("tuple[Attention, FeedForward]", tuple(block))
            keep = outputs if len(extended) == len(self.transformer.layers) - 1 else count

            layer = functools.partial(_layer, attention, feed_forward, keep)
            x, keys_values = (jax.checkpoint(layer) if remat else layer)(x, earlier)
            extended.append(keys_values)
        return (self.transformer.norm(x) if outputs else None), extended


def _layer(
    attention: Attention, feed_forward: FeedForward, keep: int, x: Array, earlier: list[Block]
) -> tuple[Array, list[Block]]:
    attended, keys_values = _attend_frames(attention, x, earlier, keep)
    if attended is None:
        return x, keys_values
    x = x[x.shape[0] - keep :] + attended
    return x + feed_forward(x), keys_values


def _attend_frames(
    attention: Attention, x: Float[Array, "S B n P D"], earlier: list[Block], keep: int
) -> tuple[Float[Array, "K B n P D"] | None, list[Block]]:
    """Attention of the last `keep` of S frames, each to itself and every frame before it."""
    count, heads = x.shape[0], attention.heads
    kernel = attention.to_qkv.kernel[...]
    inner = kernel.shape[1] // 3
    h = attention.norm(x)

    def split(projected: Array, parts: int) -> Array:
        """[parts, S, B, n, heads, P, E] from [S, B, n, P, parts * heads * E]."""
        projected = projected.reshape(*projected.shape[:-1], parts, heads, inner // heads)
        return jnp.transpose(projected, (4, 0, 1, 2, 5, 3, 6))

    if keep == count:
        queries, keys, values = split(h @ kernel, 3)
    else:
        (queries,) = split(h[count - keep :] @ kernel[:, :inner], 1)
        keys, values = split(h @ kernel[:, inner:], 2)
    seen = earlier + list(zip(keys, values, strict=True))
    if keep == 0:
        return None, seen
    mixed = [attend_blocks(queries[i], seen[: len(seen) - keep + i + 1]) for i in range(keep)]
    out = jnp.swapaxes(jnp.stack(mixed), -2, -3)
    return attention.to_out[0](out.reshape(*out.shape[:-2], inner)), seen
