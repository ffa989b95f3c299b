"""PushT's constructor arguments, the discrete variant, and batches that mix agents of all shapes."""

from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types
from quick import quick_jit

import envs_mjx
from envs_mjx.pusht import PolarQuantizer, PushT, PushTDiscrete, action_mark

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "pusht_discrete.npz")
ENV = envs_mjx.make("swm/PushT-v1")
# Programs for round agents alone compile in half the time.
ROUND = PushT(agent_shapes="circle")
DISCRETE = PushTDiscrete(agent_shapes="circle")
NEAR = np.array([205.0, 90.0, 200.0, 150.0, 0.5, 0.0, 0.0])
FAR = np.array([60.0, 450.0, 200.0, 150.0, 1.0, 0.0, 0.0])


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def rolled(env, values, start, actions, goal=FAR):
    """All states of an episode with explicit factors, the first included."""
    options = {"state": start, "goal_state": jnp.asarray(goal)}
    first = env.reset(jax.random.key(0), variation=(), values=values, options=options)

    def step(state, action):
        state = env.step(state, action)
        return state, state

    later = jax.lax.scan(step, first, actions)[1]
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)


@pytest.fixture(scope="module")
def far():
    """A scene with the initial factors, agent and block far from each other."""
    return ENV.reset(jax.random.key(0), variation=(), options={"state": FAR, "goal_state": FAR})


def test_quantizer_equals_the_references():
    for name, quantizer in {"usual": PolarQuantizer(), "uneven": PolarQuantizer(5, 12, 0.7)}.items():
        rings, sectors = quantizer.action_shape
        bins = jax.jit(jax.vmap(quantizer.quantize))(GOLDEN["vectors"])
        assert bins.dtype == jnp.int32
        np.testing.assert_array_equal(bins, GOLDEN[f"{name}_bins"])
        cells = jnp.stack(jnp.meshgrid(jnp.arange(rings), jnp.arange(sectors), indexing="ij"), -1).reshape(-1, 2)
        vectors = jax.vmap(quantizer.dequantize)(cells)
        assert vectors.dtype == jnp.float32
        np.testing.assert_array_equal(vectors.reshape(rings, sectors, 2), GOLDEN[f"{name}_vectors"])
        np.testing.assert_array_equal(jax.vmap(quantizer.quantize)(vectors), cells)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins_radial": 0}, "num_bins_radial must be an integer of at least 1, got 0"),
        ({"num_bins_angular": True}, "num_bins_angular"),
        ({"max_action_distance": -1.0}, "max_action_distance must be a finite number above 0, got -1.0"),
    ],
)
def test_quantizer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        PolarQuantizer(**arguments)


@pytest.mark.slow
def test_discrete_episodes_equal_the_references(x64):
    values = {"block.scale": 30.0, "agent.scale": 40.0}
    play = jax.jit(jax.vmap(lambda start, goal, actions: rolled(DISCRETE, values, start, actions, goal)))
    states = play(GOLDEN["start"], GOLDEN["goal_state"], jnp.asarray(GOLDEN["action"], jnp.int32))
    np.testing.assert_allclose(states.obs["state"], GOLDEN["state"], rtol=0.0, atol=1e-6)
    moved = np.abs(GOLDEN["state"][:, -1, 2:4] - GOLDEN["state"][:, 0, 2:4]).max(-1)
    assert (moved > 1.0).any()


def test_discrete_actions(far):
    space = DISCRETE.action_space
    assert space == gymnasium.spaces.MultiDiscrete([16, 16])
    with pytest.raises(ValueError, match=r"action must be integer of shape \[2\]"):
        jax.eval_shape(DISCRETE.step, far, jax.ShapeDtypeStruct((2,), jnp.float32))
    actions = jax.vmap(lambda key: DISCRETE.behaviour_action(key, far))(jax.random.split(jax.random.key(1), 50))
    assert all(space.contains(np.asarray(action, space.dtype)) for action in actions)
    continuous = jax.vmap(lambda key: ROUND.behaviour_action(key, far))(jax.random.split(jax.random.key(1), 50))
    np.testing.assert_array_equal(actions, jax.vmap(PolarQuantizer().quantize)(continuous))


def test_the_cross_of_an_action_is_opencvs():
    for size in (96, 224, 300, 512):
        blank = jnp.zeros((size, size, 3), jnp.uint8)
        pictures = jax.jit(jax.vmap(action_mark.mark_action, (None, 0)))(blank, GOLDEN["mark_actions"])
        expected = np.unpackbits(GOLDEN[f"mark_{size}"], axis=-1, count=size)
        np.testing.assert_array_equal(pictures[..., 0], 255 * expected)
        assert not pictures[..., 1:].any()
    # The reference fails below 96 px.
    small = action_mark.mark_action(jnp.zeros((64, 64, 3), jnp.uint8), jnp.array([100.0, 100.0], jnp.float32))
    assert small[..., 0].astype(bool).sum() == 9


def test_the_cross_marks_the_last_action_and_a_reset_has_none(far):
    env = PushT(render_action=True, agent_shapes="circle")
    options = {"state": FAR, "goal_state": FAR}
    none = jax.jit(lambda: env.reset(jax.random.key(0), variation=(), options=options).info["latest_action"])()
    state = far.replace(info=far.info | {"latest_action": none})
    plain = ENV.render(far)
    np.testing.assert_array_equal(env.render(state), plain)
    action = jnp.array([0.3, -0.2], jnp.float32)
    shape = jax.eval_shape(env.step, state, action)
    assert jax.tree.structure(shape) == jax.tree.structure(state)
    latest = jnp.array([100.0, 200.0])
    stepped = state.replace(step=state.step + 1, info=state.info | {"latest_action": latest})
    marked = np.asarray(env.render(stepped)) != np.asarray(plain)
    cross = action_mark.mark_action(jnp.zeros((224, 224, 3), jnp.uint8), latest)
    np.testing.assert_array_equal(marked.any(-1), cross.any(-1))
    rows, columns = np.nonzero(marked.any(-1))
    assert (rows.mean(), columns.mean()) == (37, 18)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_cog": (1.0,)}, "block_cog must be None or two finite numbers"),
        ({"block_cog": (1.0, np.nan)}, "block_cog"),
        ({"damping": 1.5}, r"damping must be None or a number in \[0, 1\], got 1.5"),
        ({"damping": np.nan}, "damping"),
        ({"damping": True}, "damping"),
        ({"init_value": {"block.scal": 30.0}}, "unknown factor of variation 'block.scal'; did you mean 'block.scale'"),
        ({"init_value": {"block.scale": 61.0}}, "factor 'block.scale': value 61.0 is not in"),
        ({"init_value": {"agent": {"shape": 9}}}, "agent.shape"),
        ({"init_value": 3}, "init_value must map names of factors to values, got 3"),
        ({"agent_shapes": "square"}, "agent_shapes must be 'all' or 'circle', got 'square'"),
        ({"agent_shapes": "circle", "init_value": {"agent.shape": 3}}, "agent.shape must be 0 with .*'circle', got 3"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message), unchecked_types():
        PushT(**arguments)


def test_initial_values():
    given = {"block": {"scale": 45.0, "shape": 4}, "agent.color": np.array([1, 2, 3], np.uint8)}
    env = PushT(init_value=given, block_cog=[1, 2])
    flat = (("agent.color", (1, 2, 3)), ("block.scale", 45.0), ("block.shape", 4))
    assert env == PushT(init_value=dict(flat), block_cog=(1.0, 2.0))
    assert hash(env) == hash(PushT(init_value=flat, block_cog=np.array([1.0, 2.0])))
    assert env != PushT(init_value=flat)
    assert env.variation_space.value["block"]["scale"] == 45.0
    factors = jax.jit(lambda key: env.reset(key).factors)(jax.random.key(0))
    assert (factors["block.scale"], factors["block.shape"]) == (45.0, 4)
    assert factors["agent.color"].tolist() == [1, 2, 3]
    plain = jax.jit(lambda key: ENV.reset(key).factors)(jax.random.key(0))
    assert plain["block.scale"] == 30.0
    np.testing.assert_array_equal(factors["block.start_position"], plain["block.start_position"])


ACTIONS = np.tile(np.array([[-0.05, 0.6]], np.float32), (8, 1))


@pytest.fixture(scope="module")
def mixed():
    """Episodes of every agent shape, together and alone."""
    names = ("agent.shape", "agent.scale", "agent.angle", "block.shape", "block.scale")
    rng = np.random.default_rng(0)
    factors = {
        "agent.shape": jnp.arange(40, dtype=jnp.int32) % 8,
        "agent.scale": jnp.asarray(rng.uniform(20, 30, 40), jnp.float32),
        "agent.angle": jnp.asarray(rng.uniform(-6, 6, 40), jnp.float32),
        "block.shape": jnp.asarray(1 + rng.integers(0, 7, 40), jnp.int32),
        "block.scale": jnp.asarray(rng.uniform(20, 40, 40), jnp.float32),
    }
    assert tuple(factors) == names
    starts = jnp.asarray(NEAR[None] + rng.uniform(-1, 1, (40, 7)) * np.array([[20, 10, 5, 5, 3, 0, 0]]), jnp.float32)
    program = quick_jit(jax.vmap(lambda values, start: rolled(ENV, values, start, jnp.asarray(ACTIONS))))
    return program(factors, starts), program, factors, starts


def test_a_batch_may_mix_agents_of_all_shapes(mixed):
    together, program, factors, starts = mixed
    touched = np.asarray(together.info["n_contacts"]).max(1) > 0
    polygonal = np.asarray(factors["agent.shape"]) > 0
    assert (touched & polygonal).sum() > 15
    assert (touched & ~polygonal).sum() > 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((together.obs, together.physics, together.reward)))
    # Contacts turn polygonal agents, round ones never turn.
    angle = np.asarray(together.physics.bodies.angle[:, :, 0])
    assert (np.abs(angle - angle[:, :1]).max(1) > 1e-3)[touched & polygonal].any()
    assert not angle[~polygonal].any()
    # Every row as in a batch of its own kind, up to rounding: it is filled with copies so that no program is compiled.
    for shape in range(8):
        mine = np.flatnonzero(np.asarray(factors["agent.shape"]) == shape)
        rows = np.resize(mine, 40)
        alone = program(jax.tree.map(lambda x, rows=rows: x[rows], factors), starts[rows])
        for a, b in zip(jax.tree.leaves(alone.obs), jax.tree.leaves(together.obs), strict=True):
            np.testing.assert_allclose(a[: len(mine)], b[mine], rtol=0.0, atol=1e-3)


@pytest.mark.slow
def test_round_agents_alone_move_and_look_the_same(mixed):
    together, _, factors, starts = mixed
    rows = np.flatnonzero(np.asarray(factors["agent.shape"]) == 0)
    values = {name: value[rows] for name, value in factors.items() if name != "agent.shape"}
    env = PushT(agent_shapes="circle", resolution=32)
    program = jax.jit(jax.vmap(lambda values, start: rolled(env, values, start, jnp.asarray(ACTIONS))))
    states = program(values, starts[rows])
    for a, b in zip(jax.tree.leaves(states.obs), jax.tree.leaves(together.obs), strict=True):
        np.testing.assert_allclose(a, b[rows], rtol=0.0, atol=1e-3)
    last = jax.tree.map(lambda leaf: leaf[:, -1], states)
    frames = [jax.jit(jax.vmap(one.render))(last) for one in (env, PushT(resolution=32))]
    np.testing.assert_array_equal(*frames)


def test_other_agents_are_refused_where_only_round_ones_are_known():
    env, key = PushT(agent_shapes="circle"), jax.random.key(0)
    for variation in (("all",), ("agent",), ("agent.shape",)):
        with pytest.raises(ValueError, match="agent.shape cannot vary with agent_shapes='circle'"):
            env.reset(key, variation=variation)
    with pytest.raises(ValueError, match="agent.shape must be 0 with agent_shapes='circle', got 3"):
        env.reset(key, values={"agent.shape": 3})
    with pytest.raises(ValueError, match="agent.shape cannot be a traced value with agent_shapes='circle'"):
        jax.eval_shape(lambda shape: env.reset(key, values={"agent.shape": shape}), jnp.asarray(0))
    env.check_reset(("all",), {"agent.shape": 0})


def test_frames_of_polygonal_agents(mixed):
    together = mixed[0]
    for shape in range(8):
        frame = np.asarray(ENV.render(jax.tree.map(lambda leaf, row=shape: leaf[row, -1], together)))
        near = np.abs(frame.astype(int) - np.array([65, 105, 225])).max(-1) < 40
        assert near.sum() > 36, shape


@pytest.mark.slow
def test_every_factor_may_vary():
    env = PushT(resolution=64)
    reset = jax.jit(jax.vmap(lambda key: env.reset(key, variation=("all",))))
    states = reset(jax.random.split(jax.random.key(0), 64))
    assert set(np.asarray(states.factors["agent.shape"]).tolist()) == set(range(8))
    step = jax.jit(jax.vmap(env.step))
    for i in range(10):
        states = step(states, jax.random.uniform(jax.random.key(i), (64, 2), minval=-1.0, maxval=1.0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((states.obs, states.reward, states.physics)))
    assert step._cache_size() == 1


@pytest.mark.slow
def test_damping_and_centre_of_gravity():
    """A damped block glides on, and one that is pushed at its centre of gravity does not turn."""
    start = np.array([100.0, 200.0, 200.0, 200.0, 0.0, 0.0, 0.0], np.float32)
    push = jnp.asarray(np.concatenate([np.tile([[1.0, 0.0]], (3, 1)), np.zeros((12, 2))]), jnp.float32)
    values = {"block.shape": 4, "block.scale": 30.0, "agent.scale": 40.0}
    ends = {}
    for name, env in {
        "plain": ENV,
        "gliding": PushT(damping=0.8),
        "off centre": PushT(block_cog=(0.0, 20.0)),
    }.items():
        states = jax.jit(lambda env=env: rolled(env, values, start, push))()
        ends[name] = np.asarray(states.obs["state"][-1])
    assert ends["plain"][2] > 205.0
    assert ends["gliding"][2] > ends["plain"][2] + 5.0
    np.testing.assert_allclose(np.sin(ends["plain"][4]), 0.0, atol=1e-5)
    assert abs(np.sin(ends["off centre"][4])) > 0.05


@pytest.mark.slow
def test_gradients_through_contacts_are_finite(x64):
    """Against finite differences too: the agents press on the block with the same features all the time."""
    env = PushT(differentiable=True)
    start = np.array([200.0, 200.0 - 46.0, 200.0, 200.0, 0.0, 0.0, 0.0])

    def moved(push, shape):
        values = {"block.shape": 4, "block.scale": 30.0, "agent.scale": jnp.where(shape == 0, 40.0, 20.0)}
        states = rolled(env, values | {"agent.shape": shape}, start, push[None])
        return states.obs["state"][-1, 3]

    slope = jax.jit(jax.vmap(jax.value_and_grad(moved), (None, 0)))
    push = jnp.array([0.0, 0.4])
    shapes = jnp.array([0, 4], jnp.int32)
    value, gradient = slope(push, shapes)
    assert np.isfinite(gradient).all()
    assert (np.asarray(value) > 200.5).all()
    step = 1e-4
    ahead, behind = (slope(push + jnp.array([0.0, sign * step]), shapes)[0] for sign in (1, -1))
    np.testing.assert_allclose(gradient[:, 1], (ahead - behind) / (2 * step), rtol=0.05)
    assert (gradient[:, 1] > 1.0).all()
