"""Rings on the device: the oldest goes first, and clips are those of the buffer on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_mjx.checks import UserError
from swmjax.data import ReplayBuffer
from swmjax.data.ring import EpisodeRing, Ring


def test_a_ring_of_rows_forgets_the_oldest():
    ring = Ring.empty({"x": jnp.zeros((), jnp.int32)}, 6)
    for first in range(0, 10, 2):
        ring = jax.jit(Ring.insert)(ring, {"x": jnp.arange(first, first + 2)})
        held = set(range(max(0, first - 4), first + 2))
        assert set(np.asarray(ring.sample(jax.random.key(first), 200)["x"]).tolist()) == held
    assert int(ring.size) == 6


CAPACITY, ROWS = 17, 6


def episodes(lengths, number):
    rows = 1000 * (number + jnp.arange(len(lengths)))[:, None] + jnp.arange(ROWS)[None]
    return {"action": jnp.stack([rows, -rows], -1).astype(jnp.float32), "step": rows}


_insert, _clip = jax.jit(EpisodeRing.insert), jax.jit(EpisodeRing.clip)


@pytest.mark.parametrize(("history_len", "frameskip"), [(1, 1), (2, 2), (3, 1)])
def test_clips_are_those_of_the_buffer_on_the_host(history_len, frameskip):
    rng = np.random.default_rng(history_len)
    row = {"action": jnp.zeros(2), "step": jnp.zeros((), jnp.int32)}
    ring = EpisodeRing.empty(row, CAPACITY, history_len, frameskip)
    buffer = ReplayBuffer(CAPACITY, history_len, frameskip)
    assert int(ring.count()) == 0
    for number in range(0, 60, 2):
        lengths = rng.integers(0, ROWS + 1, 2) if number % 10 else np.array([0, 0])
        given = episodes(lengths, number)
        ring = _insert(ring, given, jnp.asarray(lengths))
        for i, length in enumerate(lengths):
            buffer.write_episode({name: np.asarray(column[i, :length]) for name, column in given.items()})
        assert int(ring.size) == buffer.num_steps_stored
        assert int(ring.count()) == len(buffer)
        if len(buffer):
            numbers = np.resize(np.arange(len(buffer)), CAPACITY)
            expected, found = buffer.batch(numbers), _clip(ring, jnp.asarray(numbers))
            assert found.keys() == expected.keys()
            for name, column in expected.items():
                np.testing.assert_array_equal(found[name], column)


def test_clips_are_drawn_uniformly_within_jit_and_scan():
    def collect(ring, number):
        return ring.insert({"step": 10 * number + jnp.arange(4)[None]}), None

    @jax.jit
    def draw(ring, key):
        ring, _ = jax.lax.scan(collect, ring, jnp.arange(5))
        return ring.sample(key, 4000)["step"]

    drawn = np.asarray(draw(EpisodeRing.empty({"step": jnp.zeros((), jnp.int32)}, 10, 3), jax.random.key(0)))
    assert (drawn[:, 2] == drawn[:, 0] + 2).all()
    starts, counts = np.unique(drawn[:, 0], return_counts=True)
    assert starts.tolist() == [30, 31, 40, 41]
    np.testing.assert_allclose(counts, 1000, rtol=0.2)


def test_what_can_never_fit_is_refused():
    ring = EpisodeRing.empty({"step": jnp.zeros(())}, 11)
    with pytest.raises(UserError, match="2 episodes of 6 rows do not fit into a ring of 11"):
        ring.insert({"step": jnp.zeros((2, 6))})
    with pytest.raises(UserError, match="EpisodeRing.capacity must be a whole number of at least 1, got 0"):
        EpisodeRing.empty({"step": jnp.zeros(())}, 0)
