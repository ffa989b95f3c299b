"""PushT's physics against trajectories recorded from the reference, through the environment's own methods.

The recordings were made by the reference with the symmetric rule for the angle and pymunk 7.3.1, and shortened by
`golden/trim_pusht_goldens.py`: states are rounded to 2**-16.
"""

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_mjx
from envs_mjx.state import State

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
ROUND = ("pusht_t", "pusht_shapes", "pusht_frames")
FILES = (*ROUND, "pusht_dynamic_agents")
ENV = envs_mjx.make("swm/PushT-v1")
ROUND_ENV = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
STEPS = 60
ROUNDING = 2.0**-17


@functools.cache
def golden(file: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{file}.npz") as recorded:
        return dict(recorded)


def play(env, start, goal, actions, block_shape, block_scale, agent_scale, agent_shape=None) -> State:
    """The states of one trajectory, the first included."""
    values = {"block.shape": block_shape, "block.scale": block_scale, "agent.scale": agent_scale}
    values |= {} if agent_shape is None else {"agent.shape": agent_shape}
    options = {"state": start, "goal_state": goal}
    first = env.reset(jax.random.key(0), variation=(), values=values, options=options)

    def step(state, action):
        state = env.step(state, action)
        return state, state

    later = jax.lax.scan(step, first, actions)[1]
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)


@functools.cache
def played(wide: bool) -> dict[str, State]:
    """Recorded trajectories, by one compiled program; the shorter ones are padded with idle steps.

    In float64 all of them, round and polygonal agents in one batch, and three times, so that the batch is larger than
    what the physics handles at once. In float32 round agents, by the program that knows no others.
    """
    files, env, copies = (FILES, ENV, 3) if wide else (ROUND, ROUND_ENV, 1)
    columns = []
    for file in files:
        recorded = golden(file)
        actions = np.zeros((len(recorded["start"]), STEPS, 2), np.float32)
        actions[:, : recorded["action"].shape[1]] = recorded["action"]
        factors = [recorded[name] for name in ("block_shape", "block_scale", "agent_scale")]
        if wide:
            factors.append(recorded.get("agent_shape", np.zeros(len(actions), np.int8)))
        columns.append([recorded["start"], recorded["goal_state"], actions, *factors])
    with jax.enable_x64(wide):
        arrays = [np.concatenate(column * copies) for column in zip(*columns, strict=True)]
        # Optimised as well, but XLA writes its loops in the other of its two ways, which compiles in half the time.
        options = {"xla_cpu_use_fusion_emitters": False} if wide else None
        program = jax.jit(jax.vmap(functools.partial(play, env)), compiler_options=options)
        together = program(*(jnp.asarray(x) for x in arrays))
    for leaf in jax.tree.leaves((together.physics, together.obs)):
        rows = np.asarray(leaf).reshape(copies, -1, *leaf.shape[1:])
        np.testing.assert_array_equal(rows[1:], rows[:-1], err_msg="a row depends on its place in the batch")
    result, begin = {}, 0
    for file in files:
        count, steps = golden(file)["action"].shape[:2]
        rows = slice(begin, begin + count)
        result[file] = jax.tree.map(lambda leaf, rows=rows, steps=steps: leaf[rows, : steps + 1], together)
        begin += count
    return result


def deviation(file: str, ours: State) -> np.ndarray:
    """Largest deviation of positions (px) and angles (rad) at every step [n, T + 1]."""
    recorded, state = golden(file), np.asarray(ours.obs["state"])
    position = np.abs(state[..., :4] - recorded["state"][..., :4]).max(-1)
    turn = np.abs(np.angle(np.exp(1j * (state[..., 4] - recorded["state"][..., 4]))))
    unwrapped = np.abs(np.asarray(ours.info["block_pose"])[..., 2] - recorded["block_angle"])
    return np.maximum(position, np.maximum(turn, unwrapped))


def init(ours: State) -> np.ndarray:
    """The first state as recorded in `init` [n, 12]."""
    bodies, state = ours.physics.bodies, ours.obs["state"][:, 0]
    turn, spin, velocity = bodies.angle[:, 0], bodies.angular_velocity[:, 0], bodies.velocity[:, 0]
    parts = [state[:, :4], turn[:, 1:], velocity[:, 0], velocity[:, 1], spin[:, 1:], turn[:, :1], spin[:, :1]]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("file", FILES)
def test_float64_follows_the_reference_exactly(file):
    ours, recorded = played(True)[file], golden(file)
    assert ours.obs["state"].dtype == np.float64
    np.testing.assert_allclose(init(ours), recorded["init"], rtol=0.0, atol=1e-9)
    assert deviation(file, ours).max() < 1e-6 + ROUNDING
    velocity = np.asarray(ours.obs["state"])[..., 5:]
    np.testing.assert_allclose(velocity, recorded["state"][..., 5:], rtol=0.0, atol=1e-6 + ROUNDING)
    np.testing.assert_allclose(ours.reward[:, 1:], recorded["reward"], rtol=0.0, atol=1e-3)
    np.testing.assert_array_equal(ours.info["n_contacts"], recorded["n_contacts"])
    np.testing.assert_array_equal(ours.terminated[:, 1:], recorded["terminated"])
    assert recorded["n_contacts"].max() > 3


@pytest.mark.parametrize(("file", "share"), [("pusht_t", 0.9), ("pusht_shapes", 0.8)])
def test_float32_stays_close(file, share):
    ours, recorded = played(False)[file], golden(file)
    assert ours.obs["state"].dtype == np.float32
    np.testing.assert_allclose(init(ours), recorded["init"], rtol=0.0, atol=1e-4)
    assert (deviation(file, ours)[:, -1] < 0.5).mean() >= share
    assert (ours.info["n_contacts"] == recorded["n_contacts"]).mean() > 0.98
    np.testing.assert_array_equal(ours.terminated[:, 1:], recorded["terminated"])


def test_frames_through_the_environment_equal_the_reference():
    recorded, states = golden("pusht_frames"), played(True)["pusht_frames"]
    rows = np.arange(len(recorded["frames"]))[:, None]
    shown = jax.tree.map(lambda leaf: leaf[rows, recorded["frame_steps"]], states)
    with jax.enable_x64(True):
        frames = np.asarray(jax.jit(jax.vmap(jax.vmap(ENV.render)))(shown))
    assert frames.dtype == np.uint8
    # Some of the frames show contact ticks.
    assert (np.asarray(shown.physics.disc.cache.age) == 0).any(-1).sum() > 5
    same = (frames == recorded["frames"]).all(-1).mean((2, 3))
    assert same.min() >= 0.999


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the flag exists for x86 only")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_do_not_depend_on_their_batch(dtype):
    root = Path(__file__).parents[2]
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=AVX", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    # Programs compiled without the flag must not be taken from the cache.
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, str(Path(__file__).with_name("lane_bits.py")), dtype]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["1", "0", "5", "0", "64", "0"]
