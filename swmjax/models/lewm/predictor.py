"""The causal latent predictor of LeWM and PLDM: a transformer over frames, conditioned on actions by AdaLN-zero."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import check_counts
from swmjax.models.blocks.layers import Identity, Silu, layer_norm, linear, standardise
from swmjax.models.blocks.transformer import Attention, FeedForward

MODULATION_EPS = 1e-6


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the predictor. `num_frames` is the longest window of history it sees."""

    num_frames: int
    input_dim: int
    hidden_dim: int
    output_dim: int
    depth: int
    heads: int
    mlp_dim: int
    dim_head: int = 64

    def __post_init__(self) -> None:
        check_counts("PredictorConfig", **vars(self))


class ConditionalBlock(nnx.Module):
    """A transformer block whose norms are shifted and scaled, and whose branches are gated, by the action."""

    def __init__(self, config: PredictorConfig, *, rngs: nnx.Rngs):
        self.attn = Attention(config.hidden_dim, config.heads, config.dim_head, rngs=rngs)
        self.mlp = FeedForward(config.hidden_dim, config.mlp_dim, rngs=rngs)
        zeros = nnx.initializers.zeros_init()
        self.adaLN_modulation = nnx.List(
            [
                Silu(),
                nnx.Linear(config.hidden_dim, 6 * config.hidden_dim, kernel_init=zeros, bias_init=zeros, rngs=rngs),
            ]
        )

    def __call__(
        self, x: Float[Array, "*batch T D"], condition: Float[Array, "*batch T D"]
    ) -> Float[Array, "*batch T D"]:
        modulation = self.adaLN_modulation[1](self.adaLN_modulation[0](condition))
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation, 6, axis=-1)
        x = x + gate1 * self.attn(standardise(x, MODULATION_EPS) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(standardise(x, MODULATION_EPS) * (1 + scale2) + shift2)


class Transformer(nnx.Module):
    """Conditional blocks and a final norm, with projections only where widths differ."""

    def __init__(self, config: PredictorConfig, *, rngs: nnx.Rngs):

        def projection(width: int, new_width: int) -> nnx.Module:
            return Identity() if width == new_width else linear(width, new_width, rngs=rngs)

        self.input_proj = projection(config.input_dim, config.hidden_dim)
        self.cond_proj = projection(config.input_dim, config.hidden_dim)
        self.layers = nnx.List([ConditionalBlock(config, rngs=rngs) for _ in range(config.depth)])
        self.norm = layer_norm(config.hidden_dim, rngs=rngs)
        self.output_proj = projection(config.hidden_dim, config.output_dim)

    def __call__(
        self, x: Float[Array, "*batch T I"], condition: Float[Array, "*batch T I"]
    ) -> Float[Array, "*batch T O"]:
        x, condition = self.input_proj(x), self.cond_proj(condition)
        for layer in self.layers:
            x = layer(x, condition)
        return self.output_proj(self.norm(x))


class Predictor(nnx.Module):
    """Predicts, at every frame of a window, the latent of the next one.

    Source: reference, `wm/lewm/module.py`; AdaLN-zero: Peebles and Xie 2023.
    """

    def __init__(self, config: PredictorConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.pos_embedding = nnx.Param(jax.random.normal(rngs.params(), (1, config.num_frames, config.input_dim)))
        self.transformer = Transformer(config, rngs=rngs)

    def __call__(
        self, latents: Float[Array, "*batch T I"], condition: Float[Array, "*batch T I"]
    ) -> Float[Array, "*batch T O"]:
        """Next latents for a window of at most `num_frames` frames.

        Args:
            latents: Latents of consecutive frames, oldest first.
            condition: Embedding of the action that leaves each frame.

        Returns:
            For every frame the predicted latent of the one after it.
        """
        positions = self.pos_embedding[0, : latents.shape[-2]]
        positions = positions.reshape((1,) * (latents.ndim - 2) + positions.shape)
        return self.transformer(latents + positions, condition)
