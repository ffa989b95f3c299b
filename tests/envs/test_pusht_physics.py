"""PushT's physics against trajectories recorded from the reference, through the environment's own methods.

The recordings were made by the reference with the symmetric rule for the angle and pymunk 7.3.1, and shortened by
`golden/trim_pusht_goldens.py`: states are rounded to 2**-16.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = ("pusht_t", "pusht_shapes")
STEPS = 60
ROUNDING = 2.0**-17


class Played(NamedTuple):
    """What the environment makes of recorded actions: `state` [n, T + 1, 7], `reward` [n, T] and so on."""

    init: np.ndarray
    state: np.ndarray
    block_angle: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    n_contacts: np.ndarray


@functools.cache
def golden(file: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{file}.npz") as recorded:
        return dict(recorded)


def play(start, goal, actions, block_shape, block_scale, agent_scale) -> Played:
    """One trajectory through `reset` and `step`."""
    env = envs_mjx.make("swm/PushT-v1")
    values = {"block.shape": block_shape, "block.scale": block_scale, "agent.scale": agent_scale}
    options = {"state": start, "goal_state": goal}
    first = env.reset(jax.random.key(0), variation=(), values=values, options=options)

    def step(state, action):
        state = env.step(state, action)
        return state, state

    later = jax.lax.scan(step, first, actions)[1]
    bodies, state = first.physics.bodies, first.obs["state"]
    spin, turn = bodies.angular_velocity, bodies.angle
    agent, block = bodies.velocity
    init = jnp.concatenate([state[:4], turn[1:], agent, block, spin[1:], turn[:1], spin[:1]])

    def joined(one, rest):
        return jnp.concatenate([one[None], rest])

    return Played(
        init=init,
        state=joined(state, later.obs["state"]),
        block_angle=joined(first.info["block_pose"][2], later.info["block_pose"][:, 2]),
        reward=later.reward,
        terminated=later.terminated,
        n_contacts=joined(first.info["n_contacts"], later.info["n_contacts"]),
    )


@functools.cache
def played(wide: bool) -> dict[str, Played]:
    """All recorded trajectories, by one compiled program; the shorter ones are padded with idle steps."""
    columns = []
    for file in FILES:
        recorded = golden(file)
        actions = np.zeros((len(recorded["start"]), STEPS, 2), np.float32)
        actions[:, : recorded["action"].shape[1]] = recorded["action"]
        names = ("start", "goal_state", None, "block_shape", "block_scale", "agent_scale")
        columns.append([actions if name is None else recorded[name] for name in names])
    with jax.enable_x64(wide):
        arrays = [np.concatenate(column) for column in zip(*columns, strict=True)]
        together = jax.device_get(jax.jit(jax.vmap(play))(*(jnp.asarray(x) for x in arrays)))
    result, begin = {}, 0
    for file in FILES:
        count, steps = golden(file)["action"].shape[:2]
        rows = slice(begin, begin + count)
        begin += count
        whole = {"state", "block_angle", "n_contacts"}
        result[file] = Played(
            **{
                name: values[rows] if name == "init" else values[rows, : steps + (name in whole)]
                for name, values in together._asdict().items()
            }
        )
    return result


def deviation(file: str, ours: Played) -> np.ndarray:
    """Largest deviation of positions (px) and angles (rad) at every step [n, T + 1]."""
    recorded = golden(file)
    position = np.abs(ours.state[..., :4] - recorded["state"][..., :4]).max(-1)
    turn = np.abs(np.angle(np.exp(1j * (ours.state[..., 4] - recorded["state"][..., 4]))))
    unwrapped = np.abs(ours.block_angle - recorded["block_angle"])
    return np.maximum(position, np.maximum(turn, unwrapped))


@pytest.mark.parametrize("file", FILES)
def test_float64_follows_the_reference_exactly(file):
    ours, recorded = played(True)[file], golden(file)
    assert ours.state.dtype == np.float64
    np.testing.assert_allclose(ours.init, recorded["init"], rtol=0.0, atol=1e-9)
    assert deviation(file, ours).max() < 1e-6 + ROUNDING
    np.testing.assert_allclose(ours.state[..., 5:], recorded["state"][..., 5:], rtol=0.0, atol=1e-6 + ROUNDING)
    np.testing.assert_allclose(ours.reward, recorded["reward"], rtol=0.0, atol=1e-3)
    np.testing.assert_array_equal(ours.n_contacts, recorded["n_contacts"])
    np.testing.assert_array_equal(ours.terminated, recorded["terminated"])
    assert recorded["n_contacts"].max() > 3


@pytest.mark.parametrize(("file", "share"), [("pusht_t", 0.9), ("pusht_shapes", 0.8)])
def test_float32_stays_close(file, share):
    ours, recorded = played(False)[file], golden(file)
    assert ours.state.dtype == np.float32
    np.testing.assert_allclose(ours.init, recorded["init"], rtol=0.0, atol=1e-4)
    assert (deviation(file, ours)[:, -1] < 0.5).mean() >= share
    assert (ours.n_contacts == recorded["n_contacts"]).mean() > 0.98
    np.testing.assert_array_equal(ours.terminated, recorded["terminated"])
