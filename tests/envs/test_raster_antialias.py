"""Antialiased resizing against Pillow, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from envs_mjx.raster import resize_antialiased

pytestmark = pytest.mark.optimised


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise in the upper half, black and white blocks below: rounding and saturation both matter."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[height // 2 :] = np.where(noise[height // 2 :] > 127, 255, 0)
    return noise


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rows first, whichever order this version of Pillow prefers for the size."""
    rows_done = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(rows_done.resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((224, 224), (56, 56)),
        ((224, 224), (64, 64)),
        ((224, 224), (84, 84)),
        ((512, 512), (224, 224)),
        ((96, 96), (224, 224)),
        ((120, 160), (64, 64)),
        ((60, 80), (97, 33)),
        ((64, 48), (64, 24)),
        ((64, 48), (100, 48)),
    ],
)
def test_resize_equals_pillow(before, after):
    image = picture(*before)
    got = jax.jit(resize_antialiased, static_argnums=(1, 2))(jnp.asarray(image), *after)
    want = Image.fromarray(image).resize(after[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


sides = st.integers(1, 20)


@settings(max_examples=15, deadline=None)
@given(height=sides, width=sides, rows=sides, columns=sides, seed=st.integers(0, 2**31))
@example(height=1, width=1, rows=7, columns=5, seed=0)
@example(height=40, width=40, rows=1, columns=1, seed=0)
@example(height=90, width=12, rows=9, columns=20, seed=0)  # columns first in Pillow 13
def test_any_size_equals_two_passes_of_pillow(height, width, rows, columns, seed):
    image = picture(height, width, seed)
    got = jax.jit(resize_antialiased, static_argnums=(1, 2))(jnp.asarray(image), rows, columns)
    np.testing.assert_array_equal(np.asarray(got), pillow(image, rows, columns))


def test_same_size_is_an_exact_copy():
    image = picture(17, 23)
    np.testing.assert_array_equal(np.asarray(resize_antialiased(jnp.asarray(image), 17, 23)), image)


@pytest.mark.parametrize("x64", [False, True])
def test_batches_map_over_frames(x64):
    images = np.stack([picture(32, 24, seed) for seed in range(3)])
    with jax.enable_x64(x64):
        got = jax.jit(jax.vmap(lambda image: resize_antialiased(image, 12, 10)))(jnp.asarray(images))
    assert got.dtype == jnp.uint8
    np.testing.assert_array_equal(np.asarray(got), np.stack([pillow(image, 12, 10) for image in images]))


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_sizes_below_one_pixel_are_refused(size):
    with pytest.raises(ValueError, match=f"size is {size[0]} x {size[1]}"):
        resize_antialiased(jnp.zeros((4, 4, 3), jnp.uint8), *size)


def test_empty_images_are_refused():
    with pytest.raises(ValueError, match="it must be uint8"):
        resize_antialiased(jnp.zeros((0, 4, 3), jnp.uint8), 2, 2)
