"""Building blocks shared by the models, with torch's numerics: erf GELU, two-pass layer norm, its initial scales."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_counts


def standardise(x: Float[Array, "*batch D"], eps: float) -> Float[Array, "*batch D"]:
    """Layer norm without scale and bias: zero mean and unit variance over the last axis.

    Args:
        x: Values, any unit.
        eps: Added to the variance.

    Returns:
        The standardised values, same shape and dtype.
    """
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + eps)


def linear(in_features: int, out_features: int, *, rngs: nnx.Rngs, use_bias: bool = True) -> nnx.Linear:
    """A dense layer with the initial weights of torch.nn.Linear: uniform within 1/sqrt(in_features)."""
    bound = in_features**-0.5

    def uniform(
        key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, out_sharding: object = None
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(in_features, out_features, use_bias=use_bias, kernel_init=uniform, bias_init=uniform, rngs=rngs)


def layer_norm(features: int, *, rngs: nnx.Rngs, eps: float = 1e-5) -> nnx.LayerNorm:
    """An affine layer norm; two passes for the variance, since one pass loses digits that parity needs."""
    return nnx.LayerNorm(features, epsilon=eps, use_fast_variance=False, rngs=rngs)


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x * tanh(softplus(x))."""
    return x * jnp.tanh(jax.nn.softplus(x))


class Gelu(nnx.Module):
    """The exact (erf) GELU, as a module so that it can hold a place in a `net`."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        # jax.nn.gelu computes the same through erfc, which takes XLA on CPU 2.5 times as long.
        return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


class Silu(nnx.Module):
    """x * sigmoid(x), as a module so that it can hold a place in a `net`."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return nnx.silu(x)


class Relu(nnx.Module):
    """max(x, 0), as a module so that it can hold a place in a list."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return nnx.relu(x)


class Identity(nnx.Module):
    """Returns its input: keeps the numbering of the reference where a place in a `net` does nothing."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return x


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of a projector: Linear, norm, GELU, Linear. `norm` is 'batch', 'layer' or None."""

    input_dim: int
    hidden_dim: int
    output_dim: int
    norm: Literal["batch", "layer"] | None = "layer"

    def __post_init__(self) -> None:
        check_counts("MLPConfig", input_dim=self.input_dim, hidden_dim=self.hidden_dim, output_dim=self.output_dim)
        if self.norm not in ("batch", "layer", None):
            raise UserError(f"MLPConfig.norm must be 'batch', 'layer' or None, got {self.norm!r}")


class BatchNorm(nnx.BatchNorm):
    """Batch norm as torch computes it: the running variance is that of the sample (divided by n - 1).

    Uses running statistics until `train()` of the module that has it; then those of the batch, over all axes but the
    last, and every call updates the running ones.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        super().__init__(features, use_running_average=True, momentum=0.9, epsilon=1e-5, rngs=rngs)

    def __call__(  # type: ignore[override]
        self, x: Float[Array, "*batch D"]
    ) -> Float[Array, "*batch D"]:
        if self.use_running_average:
            return super().__call__(x)
        count = x.size // x.shape[-1]
        if count < 2:
            raise UserError(f"batch statistics need at least 2 rows, got an input of shape {x.shape}")
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(x, axis=axes, keepdims=True)
        var = jnp.mean(jnp.square(x - mean), axis=axes, keepdims=True)
        for running, now in ((self.mean, mean), (self.var, var * (count / (count - 1)))):
            old = running[...]
            running[...] = jax.lax.stop_gradient(self.momentum * old + (1 - self.momentum) * now.reshape(old.shape))
        lead = (1,) * (x.ndim - 1)
        assert self.scale is not None
        assert self.bias is not None
        scale, bias = self.scale[...].reshape(*lead, -1), self.bias[...].reshape(*lead, -1)
        return (x - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias


class MLP(nnx.Module):
    """Projector between latents.

    Source: reference, `wm/lewm/module.py`.
    """

    def __init__(self, config: MLPConfig, *, rngs: nnx.Rngs):
        norms = {
            "batch": lambda: BatchNorm(config.hidden_dim, rngs=rngs),
            "layer": lambda: layer_norm(config.hidden_dim, rngs=rngs),
            None: Identity,
        }
        self.net = nnx.List(
            [
                linear(config.input_dim, config.hidden_dim, rngs=rngs),
                norms[config.norm](),
                Gelu(),
                linear(config.hidden_dim, config.output_dim, rngs=rngs),
            ]
        )

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch O"]:
        for layer in self.net:
            x = layer(x)
        return x


@dataclass(frozen=True)
class EmbedderConfig:
    """Sizes of the action embedder; `input_dim` is the planner action size (block x environment action size)."""

    input_dim: int
    emb_dim: int
    smoothed_dim: int = 10
    mlp_scale: int = 4

    def __post_init__(self) -> None:
        check_counts("EmbedderConfig", **vars(self))


class Embedder(nnx.Module):
    """Embeds each planner action on its own (the reference's convolution over time has width 1).

    Source: reference, `wm/lewm/module.py`.
    """

    def __init__(self, config: EmbedderConfig, *, rngs: nnx.Rngs):
        self.patch_embed = linear(config.input_dim, config.smoothed_dim, rngs=rngs)
        self.embed = nnx.List(
            [
                linear(config.smoothed_dim, config.mlp_scale * config.emb_dim, rngs=rngs),
                Silu(),
                linear(config.mlp_scale * config.emb_dim, config.emb_dim, rngs=rngs),
            ]
        )

    def __call__(self, actions: Float[Array, "*batch A"]) -> Float[Array, "*batch D"]:
        x = self.patch_embed(actions)
        for layer in self.embed:
            x = layer(x)
        return x


@dataclass(frozen=True)
class LinearEmbedderConfig:
    """Sizes of the embedder of a vector source: `in_chans` entries (frameskip included for actions) to `emb_dim`."""

    in_chans: int
    emb_dim: int

    def __post_init__(self) -> None:
        check_counts("LinearEmbedderConfig", **vars(self))


class LinearEmbedder(nnx.Module):
    """A linear map of each vector (the reference's convolution over time has width 1).

    Source: reference, `wm/prejepa/module.py`.
    """

    def __init__(self, config: LinearEmbedderConfig, *, rngs: nnx.Rngs):
        self.patch_embed = linear(config.in_chans, config.emb_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch E"]:
        return self.patch_embed(x)
