"""The vision transformer that encodes frames: the ViT of transformers, without its pooler."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_counts
from swmjax.models.blocks.attention import attend
from swmjax.models.blocks.layers import Gelu
from swmjax.models.blocks.positions import resize_positions


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of the encoder. `image_size` (px) sets the stored position grid; frames of other sizes interpolate it."""

    image_size: int
    patch_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    use_mask_token: bool = False
    num_channels: int = 3

    def __post_init__(self) -> None:
        check_counts("ViTConfig", **{name: size for name, size in vars(self).items() if name != "use_mask_token"})
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"ViTConfig.hidden_size must be a multiple of num_attention_heads ({self.num_attention_heads}), "
                f"got {self.hidden_size}"
            )
        if self.image_size < self.patch_size:
            raise UserError(
                f"ViTConfig.image_size must be at least patch_size ({self.patch_size}), got {self.image_size}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side of an image of `image_size`."""
        return self.image_size // self.patch_size


def dense(in_features: int, out_features: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer with the initial weights of transformers: normal, standard deviation 0.02."""
    return nnx.Linear(in_features, out_features, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)


def _norm(features: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(features, epsilon=1e-12, use_fast_variance=False, rngs=rngs)


class PatchEmbeddings(nnx.Module):
    """Cuts a frame into patches and projects each."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        patch = (config.patch_size, config.patch_size)
        self.projection = nnx.Conv(
            config.num_channels,
            config.hidden_size,
            kernel_size=patch,
            strides=patch,
            padding="VALID",
            kernel_init=nnx.initializers.normal(0.02),
            rngs=rngs,
        )

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M Gh Gw D"]:
        channels, patch = self.projection.in_features, self.projection.kernel_size[0]
        if pixels.shape[1] != channels or min(pixels.shape[2:]) < patch:
            raise UserError(
                f"frames must have {channels} channels and sides of at least {patch} px, got shape {pixels.shape}"
            )
        return self.projection(jnp.transpose(pixels, (0, 2, 3, 1)))


class Embeddings(nnx.Module):
    """Class token, patches and positions."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.hidden_size
        normal = nnx.initializers.normal(0.02)
        self.cls_token = nnx.Param(normal(rngs.params(), (1, 1, width)))
        self.position_embeddings = nnx.Param(normal(rngs.params(), (1, config.grid**2 + 1, width)))
        if config.use_mask_token:
            self.mask_token = nnx.Param(jnp.zeros((1, 1, width)))
        self.patch_embeddings = PatchEmbeddings(config, rngs=rngs)

    def positions(self, rows: int, columns: int) -> Float[Array, "1 P D"]:
        """Position embeddings for a frame of rows x columns patches, the class token's first."""
        return resize_positions(self.position_embeddings[...], self.config.grid, rows, columns)

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M P D"]:
        patches = self.patch_embeddings(pixels)
        count, rows, columns, width = patches.shape
        patches = patches.reshape(count, rows * columns, width)
        cls_token = jnp.broadcast_to(self.cls_token[...].astype(patches.dtype), (count, 1, width))
        return jnp.concatenate([cls_token, patches], axis=1) + self.positions(rows, columns)


class SelfAttention(nnx.Module):
    """Full multi-head attention."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.heads = config.num_attention_heads
        width = config.hidden_size
        self.q_proj = dense(width, width, rngs)
        self.k_proj = dense(width, width, rngs)
        self.v_proj = dense(width, width, rngs)
        self.o_proj = dense(width, width, rngs)

    def __call__(self, queries: Float[Array, "M Q D"], context: Float[Array, "M P D"]) -> Float[Array, "M Q D"]:
        def split(x: Array) -> Array:
            return x.reshape(*x.shape[:2], self.heads, -1)

        q, k, v = split(self.q_proj(queries)), split(self.k_proj(context)), split(self.v_proj(context))
        mixed = attend(q, k, v)
        return self.o_proj(mixed.reshape(queries.shape))


class FeedForward(nnx.Module):
    """Linear, GELU, Linear."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.fc1 = dense(config.hidden_size, config.intermediate_size, rngs)
        self.gelu = Gelu()
        self.fc2 = dense(config.intermediate_size, config.hidden_size, rngs)

    def __call__(self, x: Float[Array, "M P D"]) -> Float[Array, "M P D"]:
        return self.fc2(self.gelu(self.fc1(x)))


class ViTLayer(nnx.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.layernorm_before = _norm(config.hidden_size, rngs)
        self.attention = SelfAttention(config, rngs=rngs)
        self.layernorm_after = _norm(config.hidden_size, rngs)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "M P D"], queries: int) -> Float[Array, "M Q D"]:
        """The block's output for the first `queries` tokens."""
        context = self.layernorm_before(x)
        x = x[:, :queries] + self.attention(context[:, :queries], context)
        return x + self.mlp(self.layernorm_after(x))


class ViT(nnx.Module):
    """Vision transformer without pooler.

    Source: Dosovitskiy et al. 2021; transformers' ViTModel, whose parameter names (version 5) it keeps.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = Embeddings(config, rngs=rngs)
        self.layers = nnx.List([ViTLayer(config, rngs=rngs) for _ in range(config.num_hidden_layers)])
        self.layernorm = _norm(config.hidden_size, rngs)

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M P D"]:
        """Encode normalised frames.

        Args:
            pixels: Frames after ImageNet normalisation, both sides at least one patch.

        Returns:
            The last hidden state after the final norm: the class token first, then the patches row by row.
        """
        return self._forward(pixels, None)

    def cls(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M D"]:
        """The class token of `__call__`; the last layer then works on that token only."""
        return self._forward(pixels, 1)[:, 0]

    def _forward(self, pixels: Array, last_queries: int | None) -> Array:
        x = self.embeddings(pixels)
        tokens = x.shape[1]
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x = layer(x, last_queries if index == last and last_queries else tokens)
        return self.layernorm(x)
