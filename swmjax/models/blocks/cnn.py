"""The small convolutional frame encoder of TD-MPC2."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from swmjax.models.blocks.layers import mish

LAYERS = ((7, 2), (5, 2), (3, 2), (3, 1))
"""Kernel size and stride of each convolution."""
CHANNELS = 32


def output_size(image_size: int) -> int:
    """Length of the flattened output for square frames.

    Args:
        image_size: Side of a frame, px.

    Returns:
        Features; 0 for a frame that is too small.
    """
    side = image_size
    for kernel, stride in LAYERS:
        side = (side - kernel) // stride + 1 if side >= kernel else 0
    return CHANNELS * side * side


class CNN(nnx.List):
    """Four convolutions with Mish between them; places 1, 3, 5 and 7 are the reference's activations.

    Source: reference, `wm/tdmpc2/tdmpc2.py`.
    """

    def __init__(self, *, rngs: nnx.Rngs):
        layers: list[nnx.Conv | Mish] = []
        channels = 3
        for kernel, stride in LAYERS:
            layers += [convolution(channels, CHANNELS, kernel, stride, rngs=rngs), Mish()]
            channels = CHANNELS
        super().__init__(layers)

    def __call__(self, pixels: Float[Array, "M H W 3"]) -> Float[Array, "M D"]:
        """Features of frames, flattened with the channel first as in torch."""
        x = pixels
        for layer in self:
            x = layer(x)
        return jnp.transpose(x, (0, 3, 1, 2)).reshape(x.shape[0], -1)


class Mish(nnx.Module):
    """The activation, as a module so that it can hold a place in a list."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return mish(x)


def convolution(features: int, new_features: int, kernel: int, stride: int, *, rngs: nnx.Rngs) -> nnx.Conv:
    """A convolution without padding, with the initial weights of torch.nn.Conv2d."""
    bound = (features * kernel**2) ** -0.5

    def uniform(
        key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, out_sharding: object = None
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Conv(
        features,
        new_features,
        (kernel, kernel),
        strides=(stride, stride),
        padding="VALID",
        kernel_init=uniform,
        bias_init=uniform,
        rngs=rngs,
    )
