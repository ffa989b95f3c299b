"""The projection onto simplices, from its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swmjax.planning.simplex import nominal_probabilities, project_simplex, slots_of

SIZE = 5
POINTS = arrays(np.float32, SIZE, elements=st.floats(-50, 50, width=32))
MASKS = arrays(np.bool_, SIZE).filter(np.any)
PROJECT = jax.jit(project_simplex)


def nearest_by_bisection(point):
    """The projection in float64: max(x - theta, 0) with the theta for which it sums to 1."""
    point = point.astype(np.float64)
    low, high = point.min() - 1, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(point - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(point - high, 0)


@settings(max_examples=200, deadline=None)
@given(POINTS, MASKS)
def test_projection_is_the_nearest_point_of_the_simplex(point, inside):
    projected = np.asarray(PROJECT(point, inside))
    assert projected.min() >= 0
    np.testing.assert_allclose(projected.sum(), 1, atol=1e-6)
    np.testing.assert_array_equal(projected[~inside], 0)
    np.testing.assert_allclose(projected[inside], nearest_by_bisection(point[inside]), atol=1e-5)
    np.testing.assert_allclose(PROJECT(projected, inside), projected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(POINTS, arrays(np.float64, SIZE, elements=st.floats(0.001, 1)))
def test_no_other_point_of_the_simplex_is_nearer(point, weights):
    everything = np.ones(SIZE, bool)
    other = weights / weights.sum()
    distance = np.linalg.norm(np.asarray(PROJECT(point, everything), np.float64) - point)
    assert distance <= np.linalg.norm(other - point) + 1e-5


@pytest.mark.parametrize("scale", [1e6, 1e30])
def test_large_vectors_keep_their_mass(scale):
    vectors = jnp.asarray([[scale, -scale, 0.0], [scale, scale, -scale]])
    np.testing.assert_array_equal(project_simplex(vectors), [[1, 0, 0], [0.5, 0.5, 0]])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_dtype_stays(dtype):
    with jax.enable_x64(True):
        assert project_simplex(jnp.zeros((2, 3), dtype)).dtype == dtype


def test_every_slot_has_its_own_simplex():
    slots = slots_of(MultiDiscrete([2, 4, 3]))
    vectors = np.random.default_rng(0).normal(size=(7, 2, 9)).astype(np.float32)
    parts = [np.asarray(project_simplex(jnp.asarray(part))) for part in np.split(vectors, [2, 6], axis=-1)]
    np.testing.assert_allclose(slots.project(jnp.asarray(vectors)), np.concatenate(parts, axis=-1), atol=1e-6)


def test_slots_decode_in_the_numbers_of_the_space():
    slots = slots_of(MultiDiscrete([2, 3], start=[5, -1]))
    vectors = jnp.asarray([[0.1, 0.9, 0.2, 0.3, 0.5]])
    np.testing.assert_array_equal(slots.decode(vectors), [[6, 1]])
    np.testing.assert_array_equal(nominal_probabilities(slots, 2, jnp.asarray([[6, 1]])), [[0, 1, 0, 0, 1], [0] * 5])
    np.testing.assert_array_equal(nominal_probabilities(slots, 2, vectors)[0], vectors[0])
    assert slots_of(Discrete(4, start=2)).decode(jnp.zeros((3, 4))).tolist() == [[2]] * 3


@pytest.mark.parametrize(
    ("warm_start", "got"),
    [
        (np.zeros((1, 3), np.int32), r"int32 of shape \[1, 3\]"),
        (np.zeros((1, 2), np.float32), r"float32 of shape \[1, 2\]"),
        (np.zeros((3, 2), np.int32), r"int32 of shape \[3, 2\]"),
    ],
)
def test_warm_starts_must_fit(warm_start, got):
    slots = slots_of(MultiDiscrete([2, 3]))
    with pytest.raises(ValueError, match=r"\[at most 2, 2\] if it holds whole numbers, or \[at most 2, 5\].*" + got):
        nominal_probabilities(slots, 2, jnp.asarray(warm_start))


def test_only_discrete_spaces_have_slots():
    with pytest.raises(ValueError, match="a discrete solver needs a Discrete or one-axis MultiDiscrete"):
        slots_of(Box(-1.0, 1.0, (2,)))
