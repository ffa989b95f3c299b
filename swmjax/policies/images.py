"""Frames as world models take them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


def normalised(frames: UInt8[Array, "B T H W 3"]) -> Float[Array, "B T 3 H W"]:
    """ImageNet-normalised frames, channels first."""
    scaled = frames.astype(jnp.float32) / 255.0
    mean, std = (jnp.asarray(v)[None, None, None, None, :] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return jnp.moveaxis((scaled - mean) / std, -1, 2)
