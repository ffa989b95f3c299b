"""Solvers by name, overrides as text, block spaces and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

from swmjax.planning import CEMSolver, block_space, make_solver, solve_batch


def test_overrides_are_converted_to_the_fields_type():
    overrides = {"num_samples": "1000", "var_scale": "0.5", "clip": "bounds"}
    assert make_solver("cem", overrides) == CEMSolver(num_samples=1000, var_scale=0.5, clip="bounds")
    assert make_solver("cem", {"var_scale": 2}) == CEMSolver(var_scale=2.0)
    assert make_solver("cem") == CEMSolver()


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("cemm", {}, "unknown solver 'cemm'; did you mean 'cem'"),
        ("simulated-annealing", {}, "unknown solver 'simulated-annealing'; known: .*cem"),
        ("cem", {"num_sample": 3}, "solver 'cem' has no option 'num_sample'; did you mean 'num_samples'"),
        ("cem", {"num_samples": "many"}, "solver.num_samples must be an integer, got 'many'"),
        ("cem", {"num_samples": "10.5"}, "solver.num_samples must be an integer, got '10.5'"),
        ("cem", {"num_samples": None}, "solver.num_samples must be an integer, got None"),
        ("cem", {"var_scale": "wide"}, "solver.var_scale must be a number, got 'wide'"),
        ("cem", {"var_scale": True}, "solver.var_scale must be a number, got True"),
        ("cem", {"clip": "hard"}, "solver.clip must be one of 'none', 'bounds', got 'hard'"),
    ],
)
def test_bad_names_and_values(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        make_solver(name, overrides)


def test_block_space_repeats_the_bounds_in_time():
    space = Box(np.array([-1, -2], np.float32), np.array([3, 4], np.float32))
    block = block_space(space, 3)
    np.testing.assert_array_equal(block.low, [-1, -2] * 3)
    np.testing.assert_array_equal(block.high, [3, 4] * 3)
    assert block.dtype == np.float32


@pytest.mark.parametrize(("space", "block"), [(Box(-1, 1, (2,), np.int32), 1), (Box(-1.0, 1.0, (2,), np.float32), 0)])
def test_block_space_rejects(space, block):
    with pytest.raises(ValueError, match=r"must be|needs"):
        block_space(space, block)


@pytest.mark.parametrize("problems", [{}, jnp.zeros(()), (jnp.zeros((2, 1)), jnp.zeros((3, 1)))])
def test_solve_batch_rejects_problems_without_a_common_axis(problems):
    space = Box(-1.0, 1.0, (2,), np.float32)
    with pytest.raises(ValueError, match="leading axis"):
        solve_batch(CEMSolver(), lambda p, a: jnp.zeros(a.shape[0]), problems, space, jax.random.key(0), 2)
