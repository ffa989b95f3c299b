"""ResNet as a frame encoder: the classifier of transformers, whose last layer the reference makes a layer norm."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_counts
from swmjax.models.blocks.layers import BatchNorm, Identity, layer_norm


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a ResNet; defaults are ResNet-50's.

    Attributes:
        hidden_sizes: Channels of each stage.
        depths: Layers of each stage.
        layer_type: 'bottleneck' or 'basic'.
        embedding_size: Channels of the first convolution.
        num_channels: Channels of a frame.
    """

    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    layer_type: Literal["bottleneck", "basic"] = "bottleneck"
    embedding_size: int = 64
    num_channels: int = 3

    def __post_init__(self) -> None:
        check_counts("ResNetConfig", embedding_size=self.embedding_size, num_channels=self.num_channels)
        if not self.hidden_sizes or len(self.hidden_sizes) != len(self.depths):
            raise UserError(
                f"ResNetConfig needs one depth for each of hidden_sizes, got {self.hidden_sizes} and {self.depths}"
            )
        for name in ("hidden_sizes", "depths"):
            check_counts("ResNetConfig", **{f"{name}[{i}]": size for i, size in enumerate(getattr(self, name))})
        if self.layer_type not in ("bottleneck", "basic"):
            raise UserError(f"ResNetConfig.layer_type must be 'bottleneck' or 'basic', got {self.layer_type!r}")

    @property
    def hidden_size(self) -> int:
        """Features of a frame."""
        return self.hidden_sizes[-1]


class Convolution(nnx.Module):
    """Convolution without bias, batch norm, and ReLU if it is `active`."""

    def __init__(
        self, features: int, new_features: int, kernel: int, stride: int, *, rngs: nnx.Rngs, active: bool = True
    ):
        self.active = active
        self.convolution = nnx.Conv(
            features,
            new_features,
            (kernel, kernel),
            strides=(stride, stride),
            padding=kernel // 2,
            use_bias=False,
            kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
            rngs=rngs,
        )
        self.normalization = BatchNorm(new_features, rngs=rngs)

    def __call__(self, x: Float[Array, "M H W C"]) -> Float[Array, "M h w c"]:
        x = self.normalization(self.convolution(x))
        return nnx.relu(x) if self.active else x


class Layer(nnx.Module):
    """Two or three convolutions and a shortcut around them."""

    def __init__(
        self,
        features: int,
        new_features: int,
        stride: int,
        layer_type: Literal["bottleneck", "basic"],
        *,
        rngs: nnx.Rngs,
    ):
        if layer_type == "basic":
            sizes = [(features, new_features, 3, stride), (new_features, new_features, 3, 1)]
        else:
            narrow = new_features // 4
            sizes = [(features, narrow, 1, 1), (narrow, narrow, 3, stride), (narrow, new_features, 1, 1)]
        self.layer = nnx.List(
            [Convolution(*size, active=i < len(sizes) - 1, rngs=rngs) for i, size in enumerate(sizes)]
        )
        same = features == new_features and stride == 1
        self.shortcut = Identity() if same else Convolution(features, new_features, 1, stride, active=False, rngs=rngs)

    def __call__(self, x: Float[Array, "M H W C"]) -> Float[Array, "M h w c"]:
        residual = x
        for convolution in self.layer:
            x = convolution(x)
        return nnx.relu(x + self.shortcut(residual))


class Stage(nnx.Module):
    """Layers of one width; the first changes the resolution."""

    def __init__(self, config: ResNetConfig, index: int, *, rngs: nnx.Rngs):
        before = config.hidden_sizes[index - 1] if index else config.embedding_size
        width = config.hidden_sizes[index]
        first = Layer(before, width, 2 if index else 1, config.layer_type, rngs=rngs)
        rest = [Layer(width, width, 1, config.layer_type, rngs=rngs) for _ in range(config.depths[index] - 1)]
        self.layers = nnx.List([first, *rest])

    def __call__(self, x: Float[Array, "M H W C"]) -> Float[Array, "M h w c"]:
        for layer in self.layers:
            x = layer(x)
        return x


class _Stem(nnx.Module):
    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.embedder = Convolution(config.num_channels, config.embedding_size, 7, 2, rngs=rngs)

    def __call__(self, x: Float[Array, "M H W C"]) -> Float[Array, "M h w c"]:
        return nnx.max_pool(self.embedder(x), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


class _Stages(nnx.Module):
    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.stages = nnx.List([Stage(config, index, rngs=rngs) for index in range(len(config.depths))])


class _Trunk(nnx.Module):
    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.embedder = _Stem(config, rngs=rngs)
        self.encoder = _Stages(config, rngs=rngs)


class ResNet(nnx.Module):
    """Frames to one vector each.

    Batch norm uses running statistics; after `train()` those of the batch, and the running ones are updated.

    Source: He et al. 2016; transformers' ResNetForImageClassification with the reference's `create_backbone`.
    """

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.resnet = _Trunk(config, rngs=rngs)
        self.classifier = nnx.List([Identity(), layer_norm(config.hidden_size, rngs=rngs)])

    def __call__(self, pixels: Float[Array, "M C H W"]) -> Float[Array, "M D"]:
        """Encode normalised frames.

        Args:
            pixels: Frames after ImageNet normalisation.

        Returns:
            The normed mean over the last stage's map.
        """
        x = self.resnet.embedder(jnp.transpose(pixels, (0, 2, 3, 1)))
        for stage in self.resnet.encoder.stages:
            x = stage(x)
        pooled: jax.Array = jnp.mean(x, axis=(1, 2))
        for layer in self.classifier:
            pooled = layer(pooled)
        return pooled
