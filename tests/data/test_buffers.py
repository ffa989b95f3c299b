"""Arrays that are filled again once nobody looks at them."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from swmjax.data.buffers import Buffers


def made():
    return {
        "pixels": np.moveaxis(np.empty((3, 5, 6, 2), np.uint8), -1, -3),
        "state": np.empty((3, 2), np.float32),
        "text": np.empty(3, object),
    }


def address(arrays):
    return arrays["pixels"].__array_interface__["data"][0]


def test_arrays_are_as_they_are_wanted_and_begin_where_jax_takes_them():
    taken = Buffers(made).take()
    for name, like in made().items():
        assert taken[name].shape == like.shape
        assert taken[name].dtype == like.dtype
        assert taken[name].strides == like.strides
    assert address(taken) % 64 == 0


def test_a_set_comes_again_when_no_view_of_it_is_left():
    buffers = Buffers(made)
    first = buffers.take()
    part = first["pixels"][1:, 0].T
    before = address(first)
    first["state"][:] = 7
    del first
    second = buffers.take()
    assert address(second) != before
    del part, second
    assert address(buffers.take()) == before


def test_what_jax_looks_into_stays():
    buffers = Buffers(made)
    arrays = buffers.take()
    arrays["state"][:] = 3
    before = address(arrays)
    on_device = jax.device_put(arrays["pixels"].transpose(0, 2, 3, 1), jax.devices("cpu")[0])
    on_device.block_until_ready()
    shared = on_device.unsafe_buffer_pointer() == before
    assert shared, "JAX copied, so that this test shows nothing"
    computed = jax.jit(lambda x: x + 1)(on_device)
    del arrays
    assert address(buffers.take()) != before
    del on_device, computed
    gc.collect()
    assert address(buffers.take()) == before


def test_sets_that_nobody_needs_any_more_go():
    buffers = Buffers(made)
    many = [buffers.take() for _ in range(20)]
    owners = [weakref.ref(arrays["pixels"].base) for arrays in many]
    del many
    buffers.take()
    assert sum(owner() is not None for owner in owners) <= 2


def test_what_jax_still_computes_with_stays():
    """The array goes while a program that reads it at its very end is at work."""
    buffers = Buffers(made)

    @jax.jit
    def slow(x):
        busy = jax.lax.fori_loop(0, 300, lambda _, y: jnp.tanh(y @ y), jnp.eye(200) + x.sum() * 0)
        return x + busy[0, 0] * 0

    slow(np.zeros((3, 2), np.float32))
    for value in range(5):
        arrays = buffers.take()
        arrays["state"][:] = value
        on_device = jax.device_put(arrays["state"])
        assert on_device.unsafe_buffer_pointer() == arrays["state"].ctypes.data
        result = slow(on_device)
        del arrays, on_device
        for _ in range(3):
            buffers.take()["state"][:] = -1
        np.testing.assert_array_equal(result, value)
