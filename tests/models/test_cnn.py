"""The convolutional encoder of TD-MPC2: its sizes, and a convolution written out (its numbers: test_tdmpc2.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from swmjax.models.blocks.cnn import CNN, output_size
from swmjax.models.tdmpc2.layers import mish


@pytest.mark.parametrize(("side", "expected"), [(64, 512), (48, 128), (224, 24 * 24 * 32), (39, 32), (38, 0), (6, 0)])
def test_output_size(side, expected):
    assert output_size(side) == expected
    if expected:
        features = jax.eval_shape(lambda: CNN(rngs=nnx.Rngs(0))(jnp.zeros((2, side, side, 3))))
        assert features.shape == (2, expected)


def test_first_convolution_by_hand():
    model = CNN(rngs=nnx.Rngs(0))
    frames = jax.random.normal(jax.random.key(0), (1, 9, 11, 3))
    kernel, bias = (np.asarray(leaf[...]) for leaf in (model[0].kernel, model[0].bias))
    patch = np.asarray(frames)[0, 2:9, 4:11]
    np.testing.assert_allclose(
        model[0](frames)[0, 1, 2], np.tensordot(patch, kernel, axes=3) + bias, rtol=1e-4, atol=1e-5
    )
    x = np.linspace(-30, 30, 7, dtype=np.float32)
    np.testing.assert_allclose(mish(jnp.asarray(x)), x * np.tanh(np.log1p(np.exp(x.astype(np.float64)))), rtol=1e-5)
