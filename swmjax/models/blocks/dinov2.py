"""DINOv2, the frozen frame encoder of DINO-WM and the goal-conditioned baselines; with and without registers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import check_count, check_counts
from swmjax.models.blocks.positions import resize_positions
from swmjax.models.blocks.vit import FeedForward, PatchEmbeddings, SelfAttention, ViTConfig, dense


@dataclass(frozen=True)
class DINOv2Config:
    """Sizes of the encoder; defaults are DINOv2-small's.

    `image_size` (px) sets the stored position grid, and frames of other sizes interpolate it. With registers
    (`num_register_tokens` > 0) the interpolation is antialiased, as theirs was in training.
    """

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    mlp_ratio: int = 4
    image_size: int = 518
    patch_size: int = 14
    num_channels: int = 3
    num_register_tokens: int = 0
    use_swiglu_ffn: bool = False
    use_mask_token: bool = True

    def __post_init__(self) -> None:
        check_counts("DINOv2Config", mlp_ratio=self.mlp_ratio)
        check_count("DINOv2Config.num_register_tokens", self.num_register_tokens, 0)
        self.sizes  # noqa: B018 - validates the rest

    @property
    def sizes(self) -> ViTConfig:
        """The sizes that a ViT has as well."""
        return ViTConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.hidden_size * self.mlp_ratio,
            num_channels=self.num_channels,
        )


class Embeddings(nnx.Module):
    """Class token, registers, patches and positions; registers have no position."""

    def __init__(self, config: DINOv2Config, *, rngs: nnx.Rngs):
        self.config = config
        width, normal = config.hidden_size, nnx.initializers.normal(0.02)
        self.cls_token = nnx.Param(normal(rngs.params(), (1, 1, width)))
        self.position_embeddings = nnx.Param(normal(rngs.params(), (1, config.sizes.grid**2 + 1, width)))
        if config.use_mask_token:
            self.mask_token = nnx.Param(jnp.zeros((1, width)))
        if config.num_register_tokens:
            self.register_tokens = nnx.Param(jnp.zeros((1, config.num_register_tokens, width)))
        self.patch_embeddings = PatchEmbeddings(config.sizes, rngs=rngs)

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M P D"]:
        patches = self.patch_embeddings(pixels)
        count, rows, columns, width = patches.shape
        registers = self.config.num_register_tokens
        positions = resize_positions(
            self.position_embeddings[...], self.config.sizes.grid, rows, columns, antialias=registers > 0
        )
        first = [self.cls_token[...] + positions[:, :1]]
        if registers:
            first.append(self.register_tokens[...])
        leading = jnp.concatenate(first, axis=1).astype(patches.dtype)
        leading = jnp.broadcast_to(leading, (count, *leading.shape[1:]))
        return jnp.concatenate([leading, patches.reshape(count, rows * columns, width) + positions[:, 1:]], axis=1)


class LayerScale(nnx.Module):
    """A learned gain of each feature."""

    def __init__(self, features: int):
        self.lambda1 = nnx.Param(jnp.ones(features))

    def __call__(self, x: Float[Array, "M P D"]) -> Float[Array, "M P D"]:
        return x * self.lambda1[...].reshape(1, 1, -1)


class SwiGLU(nnx.Module):
    """The gated feed-forward of the giant size: two thirds of the width, rounded up to a multiple of 8."""

    def __init__(self, config: DINOv2Config, *, rngs: nnx.Rngs):
        width = config.hidden_size
        hidden = (int(width * config.mlp_ratio * 2 / 3) + 7) // 8 * 8
        self.gate_proj = dense(width, hidden, rngs)
        self.up_proj = dense(width, hidden, rngs)
        self.down_proj = dense(hidden, width, rngs)

    def __call__(self, x: Float[Array, "M P D"]) -> Float[Array, "M P D"]:
        return self.down_proj(jax.nn.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nnx.Module):
    """A pre-norm transformer block with layer scale."""

    def __init__(self, config: DINOv2Config, *, rngs: nnx.Rngs):
        self.norm1 = _norm(config, rngs)
        self.attention = SelfAttention(config.sizes, rngs=rngs)
        self.layer_scale1 = LayerScale(config.hidden_size)
        self.norm2 = _norm(config, rngs)
        self.mlp = SwiGLU(config, rngs=rngs) if config.use_swiglu_ffn else FeedForward(config.sizes, rngs=rngs)
        self.layer_scale2 = LayerScale(config.hidden_size)

    def __call__(self, x: Float[Array, "M P D"]) -> Float[Array, "M P D"]:
        h = self.norm1(x)
        x = x + self.layer_scale1(self.attention(h, h))
        return x + self.layer_scale2(self.mlp(self.norm2(x)))


def _norm(config: DINOv2Config, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(config.hidden_size, epsilon=1e-6, use_fast_variance=False, rngs=rngs)


class DINOv2(nnx.Module):
    """DINOv2 without its pooler; parameter names are those of transformers 5, with the layers at `layers`.

    Source: Oquab et al. 2024, Darcet et al. 2024 (registers); transformers' Dinov2Model.
    """

    def __init__(self, config: DINOv2Config, *, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = Embeddings(config, rngs=rngs)
        self.layers = nnx.List([Layer(config, rngs=rngs) for _ in range(config.num_hidden_layers)])
        self.layernorm = _norm(config, rngs)

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M P D"]:
        """Encode normalised frames.

        Args:
            pixels: Frames after ImageNet normalisation, both sides at least one patch.

        Returns:
            The last hidden state after the final norm: class token, registers, then the patches row by row.
        """
        x = self.embeddings(pixels)
        for layer in self.layers:
            x = layer(x)
        return self.layernorm(x)
