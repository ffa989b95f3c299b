"""The encoder's position interpolation and its class-token shortcut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.recorded import drawn
from quick import quick_jit

from swmjax.models.blocks import ViT, ViTConfig
from swmjax.models.blocks.positions import bicubic_matrix


def test_bicubic_weights_of_37_to_16():
    matrix = bicubic_matrix(37, 16)
    rows = {
        0: {0: 0.3261261, 1: 0.7849045, 2: -0.1110306},
        1: {1: -0.0007095, 2: 0.0248642, 3: 0.9978409, 4: -0.0219955},
        15: {34: -0.1110306, 35: 0.7849045, 36: 0.3261261},
    }
    for row, weights in rows.items():
        expected = np.zeros(37)
        expected[list(weights)] = list(weights.values())
        np.testing.assert_allclose(matrix[row], expected, atol=2e-7)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_bicubic_to_the_same_size_is_the_identity():
    np.testing.assert_allclose(bicubic_matrix(5, 5), np.eye(5), atol=1e-12)


def tiny():
    return drawn(ViT, ViTConfig(56, 14, 8, 2, 2, 16))


def test_positions_are_stored_at_the_configured_size_and_resized_elsewhere():
    embeddings = tiny().embeddings
    stored = embeddings.position_embeddings[...]
    np.testing.assert_array_equal(embeddings.positions(4, 4), stored)
    resized = embeddings.positions(2, 6)
    grid = np.asarray(stored)[0, 1:].reshape(4, 4, 8)
    by_hand = np.einsum("yr,xc,rcd->yxd", bicubic_matrix(4, 2), bicubic_matrix(4, 6), grid)
    np.testing.assert_array_equal(resized[:, :1], stored[:, :1])
    np.testing.assert_allclose(resized[0, 1:].reshape(2, 6, 8), by_hand, atol=1e-6)


@pytest.mark.parametrize("size", [(56, 56), (84, 28)])
def test_class_token_equals_that_of_the_full_forward_pass(size):
    vit = tiny()
    pixels = jax.random.normal(jax.random.key(0), (2, 3, *size))
    full, cls = quick_jit(lambda pixels: (vit(pixels), vit.cls(pixels)))(pixels)
    assert full.shape == (2, 1 + size[0] * size[1] // 196, 8)
    np.testing.assert_allclose(cls, full[:, 0], atol=1e-5)


def test_mask_token_is_a_parameter_only_when_asked_for():
    config = ViTConfig(28, 14, 8, 1, 2, 16, use_mask_token=True)
    assert drawn(ViT, config).embeddings.mask_token.shape == (1, 1, 8)
    assert not hasattr(tiny().embeddings, "mask_token")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 9}, r"hidden_size must be a multiple of num_attention_heads \(2\), got 9"),
        ({"image_size": 8}, r"image_size must be at least patch_size \(14\), got 8"),
        ({"patch_size": 0}, "ViTConfig.patch_size must be an integer of at least 1, got 0"),
    ],
)
def test_sizes_are_validated(change, message):
    sizes = {
        "image_size": 56,
        "patch_size": 14,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    with pytest.raises(ValueError, match=message):
        ViTConfig(**{**sizes, **change})


def test_float64_stays():
    with jax.enable_x64(True):
        assert jax.eval_shape(tiny(), jnp.zeros((1, 3, 28, 28), jnp.float64)).dtype == jnp.float64


@pytest.mark.parametrize("shape", [(1, 3, 13, 28), (1, 4, 28, 28)])
def test_frames_that_have_no_patch_or_other_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"3 channels and sides of at least 14 px, got shape \("):
        tiny()(jnp.zeros(shape))
