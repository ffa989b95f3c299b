"""TwoRoom: recorded trajectories and frames, factors and constraints, the swept rule, expert, gradients."""

from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types
from hypothesis import given, settings
from hypothesis import strategies as st

import envs_mjx
from envs_mjx import programs
from envs_mjx.tworoom import TwoRoom, dynamics, expert_action

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
ENV = TwoRoom()
DEFAULTS = ENV.variation_space.draw(jax.random.key(0))


INITIAL = {name: ENV.variation_space.factor(name).init_value for name in ENV.variation_space.names()}


def start(agent, target=(30.0, 30.0), env=ENV, **factors):
    # All factors are given, since each set of names has a program of its own.
    values = INITIAL | {name.replace("_", ".", 1): value for name, value in factors.items()}
    options = {"state": jnp.asarray(agent, jnp.float32), "target_state": jnp.asarray(target, jnp.float32)}
    return env.reset(jax.random.key(0), variation=(), values=values, options=options)


@pytest.fixture(scope="module")
def rollout():
    """Batched start and target positions and actions to the states after every step."""

    def run(agent, target, actions):
        def step(state, action):
            state = ENV.step(state, action)
            return state, state

        return jax.lax.scan(step, start(agent, target), actions)[1]

    return jax.jit(jax.vmap(run))


def test_recorded_trajectories_are_met_to_the_bit(rollout):
    golden = np.load(GOLDEN / "tworoom.npz")
    states = rollout(
        golden["state"][:, 0].astype(np.float32), golden["goal_state"].astype(np.float32), golden["action"]
    )
    np.testing.assert_array_equal(states.obs["observation"], golden["obs"][:, 1:].astype(np.float32))
    np.testing.assert_array_equal(states.info["state"], golden["state"][:, 1:].astype(np.float32))
    np.testing.assert_array_equal(states.terminated, golden["terminated"])
    np.testing.assert_array_equal(states.reward, golden["reward"])
    np.testing.assert_allclose(states.info["distance_to_target"], golden["distance"][:, 1:], rtol=3e-7)
    # The recordings do meet the wall between the rooms, so that the above says something about it.
    assert (states.physics[..., 0] == 99.5).sum() > 20
    assert (states.physics[..., 0] == 124.5).sum() > 20


def oracle_frame(agent, target, factors, with_target=False):
    """The reference's formula in NumPy, with an exponential that is rounded correctly."""
    pixel, f32 = np.arange(224), np.float32
    vertical = factors["wall.axis"] == 1
    stripe = abs(pixel - 112) <= factors["wall.thickness"] // 2
    count = int(factors["door.number"])
    doors = zip(factors["door.position"][:count], factors["door.size"][:count], strict=True)
    span = np.any([abs(pixel - center) <= size for center, size in doors], axis=0)
    if vertical:
        wall, door = stripe[None] & ~span[:, None], stripe[None] & span[:, None]
    else:
        wall, door = stripe[:, None] & ~span[None], stripe[:, None] & span[None]
    line = ((pixel >= 10) & (pixel < 14)) | ((pixel >= 210) & (pixel < 214))
    image = np.empty((224, 224, 3), np.uint8)
    image[:] = factors["background.color"]
    image[door] = factors["door.color"]
    image[wall | line[None] | line[:, None]] = factors["wall.color"]
    for name, center in (("target", target), ("agent", agent)):
        if name == "target" and not with_target:
            continue
        radius = float(factors[f"{name}.radius"][0])
        dx, dy = pixel.astype(f32) - f32(center[0]), pixel.astype(f32) - f32(center[1])
        exponent = -((dx * dx)[None] + (dy * dy)[:, None]) / f32(2.0 * radius * radius)
        dot = np.exp(exponent.astype(np.float64)).astype(f32)
        alpha = (dot / dot.max())[..., None]
        image = (image.astype(f32) * (f32(1) - alpha) + factors[f"{name}.color"].astype(f32) * alpha).astype(np.uint8)
    return image


def assert_equal_frames(ours, theirs):
    """At most 0.1 % of the pixels differ, by 1 level."""
    difference = np.abs(np.asarray(ours).astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference.max(-1) > 0).mean(axis=(-2, -1)).max() <= 1e-3


def test_frames_equal_the_recorded_ones():
    golden = np.load(GOLDEN / "tworoom_frames.npz")
    agents = golden["state"][:, [0, -1]].astype(np.float32).reshape(-1, 2)
    frames = jax.jit(jax.vmap(lambda agent: ENV.render(start(agent))))(agents)
    assert_equal_frames(frames, golden["frames"].reshape(-1, 224, 224, 3))
    assert_equal_frames(oracle_frame(agents[0], None, jax.device_get(DEFAULTS)), golden["frames"][0, 0])


@pytest.fixture(scope="module")
def drawn():
    """Draws of all factors."""
    keys = jax.random.split(jax.random.key(7), 256)
    return jax.jit(jax.vmap(lambda key: ENV.variation_space.draw(key, ("all",))))(keys)


def test_frames_with_all_factors_equal_the_formula(drawn):
    env = TwoRoom(render_target=True)
    values = {name: value[:8] for name, value in drawn.items()}
    states = jax.jit(jax.vmap(lambda values: env.reset(jax.random.key(3), variation=(), values=values)))(values)
    frames = jax.jit(jax.vmap(env.render))(states)
    plain = jax.jit(jax.vmap(ENV.render))(states)
    host = jax.device_get((states.physics, states.goal, states.factors))
    for i, (frame, without) in enumerate(zip(frames, plain, strict=True)):
        agent, target, factors = jax.tree.map(lambda leaf, i=i: leaf[i], host)
        assert_equal_frames(frame, oracle_frame(agent, target, factors, with_target=True))
        shown = factors["rendering.render_target"] == 1
        assert_equal_frames(without, oracle_frame(agent, target, factors, shown))


def test_factors_are_those_of_the_reference():
    space = ENV.variation_space
    assert [name for name in space.sampling_order if "." in name] == [
        "background.color",
        *(f"wall.{name}" for name in ("color", "border_color", "thickness", "axis")),
        *(f"agent.{name}" for name in ("color", "radius", "position", "speed")),
        *(f"door.{name}" for name in ("color", "number", "size", "position")),
        "task.min_steps",
        *(f"target.{name}" for name in ("color", "radius", "position")),
        "rendering.render_target",
    ]
    assert ENV.default_variation == ("agent.position", "target.position")
    bounds = {
        "wall.thickness": (7, 41, 10),
        "wall.axis": (0, 1, 1),
        "agent.radius": (7, 14, 7),
        "agent.position": (14, 209, [60, 112]),
        "agent.speed": (1.75, 10.5, 5),
        "door.number": (1, 3, 1),
        "door.size": (1, 21, 14),
        "door.position": (0, 223, 49),
        "task.min_steps": (15, 114, 25),
        "target.radius": (7, 14, 7),
        "target.position": (14, 209, [164, 112]),
        "rendering.render_target": (0, 1, 0),
    }
    for name, (low, high, default) in bounds.items():
        factor = space.factor(name)
        np.testing.assert_array_equal(factor.bounds, [np.full(factor.shape, low), np.full(factor.shape, high)])
        np.testing.assert_array_equal(factor.init_value, np.broadcast_to(default, factor.shape))
    colors = {
        "background": (255,) * 3,
        "agent": (255, 0, 0),
        "target": (0, 255, 0),
        "wall": (0,) * 3,
        "door": (255,) * 3,
    }
    for group, color in colors.items():
        np.testing.assert_array_equal(space.factor(f"{group}.color").init_value, color)
    np.testing.assert_array_equal(space.factor("wall.border_color").init_value, (0, 0, 0))


def test_draws_meet_the_constraints_on_both_faces(drawn):
    drawn = jax.device_get(drawn)
    space = TwoRoom().variation_space
    space.seed(5)
    sampled = [space.sample() for _ in range(32)]

    def check(factors):
        half = factors["wall.thickness"] // 2 + float(factors["agent.radius"][0])
        across = float(factors["agent.position"][1 - factors["wall.axis"]])
        assert not 112 - half <= across <= 112 + half
        sizes = factors["door.size"][: factors["door.number"]]
        assert any(float(size) >= 1.1 * float(factors["agent.radius"][0]) for size in sizes)

    for i in range(256):
        check({name: values[i] for name, values in drawn.items()})
    for nested in sampled:
        check({f"{group}.{name}": value for group, inner in nested.items() for name, value in inner.items()})
    across = np.where(drawn["wall.axis"] == 1, *drawn["agent.position"].T)
    assert 64 < (across < 112).sum() < 192


def test_the_door_constraint_is_decided_in_float64():
    # 1.1 x 7.2727275 is above 8 in float64, and equal to it in float32.
    radius = np.float32(7.2727275)
    factors = DEFAULTS | {"agent.radius": jnp.asarray([radius]), "door.size": jnp.asarray([8, 21, 21])}
    valid = jax.jit(ENV.variation_space.valid)
    assert not valid(factors)
    assert valid(factors | {"agent.radius": jnp.asarray([np.nextafter(radius, np.float32(0))])})
    assert valid(factors | {"door.number": jnp.asarray(2)})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wall.axis": 0}, r"agent.position \[60.0, 112.0\] touches the wall between the rooms"),
        ({"agent.position": [100.0, 50.0]}, "touches the wall"),
        ({"agent.radius": [13.0]}, r"door.size \[14, 14, 14\]: none of the first"),
        ({"agent.speed": [11.0]}, "agent.speed"),
        ({"wall.border_colour": [0, 0, 0]}, "did you mean 'wall.border_color'"),
    ],
)
def test_bad_factors_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ENV.reset(jax.random.key(0), variation=(), values=values)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="collision must be one of endpoint, swept, got 'strict'"):
        TwoRoom(collision="strict")
    with unchecked_types(), pytest.raises(ValueError, match="render_target must be true or false, got 1"):
        TwoRoom(render_target=1)
    with pytest.raises(ValueError, match="unknown option of TwoRoom.reset 'goal'"):
        ENV.reset(jax.random.key(0), options={"goal": np.zeros(2)})
    with pytest.raises(ValueError, match="two names of one option"):
        ENV.reset(jax.random.key(0), options={"goal_state": np.zeros(2), "target_state": np.zeros(2)})
    with pytest.raises(ValueError, match="state must have 2 entries"):
        ENV.reset(jax.random.key(0), options={"state": np.zeros(3)})
    state = start((60.0, 60.0))
    for action in (jnp.zeros(3), jnp.zeros((1, 2)), jnp.zeros(2, int)):
        with pytest.raises(ValueError, match=r"action must be floating point of shape \[2\]"):
            ENV.step(state, action)


def test_an_action_that_is_not_finite_freezes_the_agent():
    state = start((60.0, 60.0))
    after = ENV.step(state, jnp.asarray([jnp.nan, 1.0]))
    np.testing.assert_array_equal(after.physics, state.physics)
    assert after.info["invalid_action"]
    assert not ENV.step(after, jnp.asarray([0.5, 1.0])).info["invalid_action"]


def sweep(agent, action, **factors):
    return np.asarray(
        TwoRoom(collision="swept").step(start(agent, **factors), jnp.asarray(action, jnp.float32)).physics
    )


def test_swept_stops_at_faces_and_jambs_and_slides():
    # The wall spans 107 to 117 px, so the centre of an agent of radius 7 stops at 100; the door spans 33.25 to 64.75.
    np.testing.assert_allclose(sweep((98.0, 150.0), (1.0, 1.0)), (100.0, 155.0))
    np.testing.assert_allclose(sweep((128.0, 150.0), (-1.0, 0.4)), (124.0, 152.0))
    np.testing.assert_allclose(sweep((98.0, 49.0), (1.0, 0.0)), (103.0, 49.0))
    # Inside the door, sideways: the reference's rule throws this agent out of the wall.
    np.testing.assert_allclose(sweep((110.0, 63.0), (0.2, 1.0)), (111.0, 64.75))
    thrown = ENV.step(start((110.0, 63.0)), jnp.asarray([0.2, 1.0])).physics
    np.testing.assert_allclose(thrown, (99.5, 68.0))
    # Past the corner of the door: the step ends in line with the door, yet meets the face before it.
    np.testing.assert_allclose(sweep((99.0, 66.0), (1.0, -0.5)), (100.0, 63.5))
    # A start inside the wall is put in front of it first.
    np.testing.assert_allclose(sweep((110.0, 150.0), (0.0, 0.0)), (100.0, 150.0))
    # Horizontal wall, doors that overlap count as one.
    doors = {"wall_axis": 0, "door_number": 2, "door_position": [60, 90, 0], "door_size": [14, 14, 1]}
    values = {"agent_position": [60.0, 40.0]}
    np.testing.assert_allclose(sweep((74.0, 110.0), (1.0, 0.4), **doors, **values), (79.0, 112.0))


@pytest.fixture(scope="module")
def swept_steps():
    def one(key, seed):
        factors = ENV.variation_space.draw(key, ("wall", "agent.radius", "agent.speed", "door"))
        where, angle = jax.random.split(seed)
        # Starts near the wall, in doors too; far more steps meet it then.
        across = jax.random.uniform(where, (), minval=78.0, maxval=146.0)
        along = jax.random.uniform(angle, (), minval=14.0, maxval=209.0)
        position = dynamics.wall(factors).turn(jnp.stack([across, along]))
        action = jax.random.uniform(jax.random.fold_in(where, 1), (2,), minval=-1.5, maxval=1.5)
        free = factors | {"wall.thickness": jnp.asarray(-1000)}
        wall = dynamics.wall(factors)
        moved = dynamics.move(position, action, factors, True)
        return wall, wall.turn(position), wall.turn(dynamics.move(position, action, free, True)), wall.turn(moved)

    return jax.jit(jax.vmap(one))


def test_nothing_tunnels_through_the_wall_when_swept(swept_steps):
    keys = jax.random.split(jax.random.key(11), (2, 4_000))
    wall, before, aim, after = jax.device_get(swept_steps(*keys))
    reach = (wall.half + wall.radius)[:, None]

    def inside(points, slack):
        """Whether points [B, P, 2] lie deeper than `slack` px in the wall."""
        depth = reach - np.abs(points[..., 0] - 112)
        along, no_door = points[..., 1], np.float32(-1e9)
        margins = [
            np.where(used[:, None], np.minimum(along - low[:, None], high[:, None] - along), no_door)
            for low, high, used in zip(wall.low.T, wall.high.T, wall.used.T, strict=True)
        ]
        return (depth > slack) & (np.max(margins, axis=0) < -slack)

    def way(start, end):
        t = np.linspace(0, 1, 101)[None, :, None]
        return start[:, None] * (1 - t) + end[:, None] * t

    legal = ~inside(before[:, None], 0.0)[:, 0]
    blocked = inside(way(before, aim), 1e-2).any(1)
    assert 200 < (legal & blocked).sum() < legal.sum()
    assert not inside(after[:, None], 1e-4).any()
    # A free way is walked to its end; a blocked one never ends on the other side.
    unhindered = legal & ~inside(way(before, aim), -1e-2).any(1)
    np.testing.assert_array_equal(after[unhindered], aim[unhindered])
    in_strip = np.abs(before[:, 0] - 112) < reach[:, 0]
    changed = (before[:, 0] < 112) != (after[:, 0] < 112)
    assert not (changed & blocked & legal & ~in_strip).any()
    # What is walked instead is the straight way to the contact and then a slide along one axis.
    np.testing.assert_array_less(np.abs(after - aim).min(-1)[legal], 1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_both_rules_agree_away_from_the_wall(seed):
    key = jax.random.key(seed)
    position = jax.random.uniform(key, (2,), minval=jnp.asarray([21.0, 21.0]), maxval=jnp.asarray([94.0, 203.0]))
    action = jax.random.uniform(jax.random.fold_in(key, 1), (2,), minval=-1.0, maxval=1.0)
    ends = [dynamics.move(position, action, DEFAULTS, swept) for swept in (False, True)]
    np.testing.assert_array_equal(*ends)


def test_expert_reaches_the_target_in_either_room():
    keys = jax.random.split(jax.random.key(2), 64)

    def run(key):
        state = ENV.reset(
            key, variation=("agent.position", "door.position"), values={"agent.speed": jnp.asarray([8.0])}
        )

        def step(state, _):
            moved = ENV.step(state, expert_action(key, state))
            return jax.tree.map(lambda new, old: jnp.where(state.terminated, old, new), moved, state), None

        return jax.lax.scan(step, state, length=80)[0].terminated

    # Doors far outside the arena cannot be passed.
    assert jax.jit(jax.vmap(run))(keys).mean() > 0.8


def test_expert_looks_at_doors_that_fit():
    doors = {"door_number": 3, "door_position": [100, 40, 190], "door_size": [5, 14, 14]}
    state = start((60.0, 110.0), (170.0, 110.0), **doors)
    action = expert_action(jax.random.key(0), state)
    to_door = np.array([52.0, -70.0])
    np.testing.assert_allclose(action, to_door / np.linalg.norm(to_door), rtol=1e-6)
    none_fits = start((60.0, 110.0), (170.0, 120.0))
    none_fits = none_fits.replace(factors=none_fits.factors | {"door.size": jnp.asarray([5, 5, 5])})
    to_wall = np.array([52.0, 10.0])
    np.testing.assert_allclose(
        expert_action(jax.random.key(0), none_fits), to_wall / np.linalg.norm(to_wall), rtol=1e-6
    )
    in_door = start((108.0, 45.0), (170.0, 45.0))
    np.testing.assert_allclose(expert_action(jax.random.key(0), in_door), (1.0, 0.0))
    assert not expert_action(jax.random.key(0), start((60.0, 50.0), (60.0, 50.0))).any()


def test_behaviour_actions_have_the_statistics_of_the_recorded_dataset():
    keys = jax.random.split(jax.random.key(0), 20_000)
    angles = jnp.linspace(0, 2 * jnp.pi, 20_000)
    targets = jnp.asarray([[60.0, 110.0]]) + 30 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)

    def act(key, target):
        return ENV.behaviour_action(key, start((60.0, 110.0), target))

    actions = np.asarray(jax.jit(jax.vmap(act))(keys, targets))
    # The action statistics beside the reference's TwoRoom checkpoint.
    np.testing.assert_allclose(actions.std(0), (0.8695, 0.8685), atol=0.006)
    assert np.abs(actions).max() == 1.0
    assert actions[(angles < 0.5) | (angles > 5.8), 0].mean() > 0.2


def test_planning_cost_is_zero_at_the_goal_and_counts_the_way_through_the_door():
    at_goal = start((60.0, 60.0), (60.0, 60.0))
    assert ENV.planning_cost(at_goal) == 0
    assert at_goal.terminated
    np.testing.assert_allclose(ENV.planning_cost(start((60.0, 60.0), (60.0, 92.0))), 4.0)
    through = ENV.planning_cost(start((72.0, 79.0), (152.0, 79.0)))
    np.testing.assert_allclose(through, (100.0 / 16) ** 2, rtol=1e-6)
    gradient = jax.grad(lambda position: ENV.planning_cost(ENV.set_state(at_goal, position)))(at_goal.physics)
    np.testing.assert_array_equal(gradient, 0.0)
    assert np.isfinite(jax.grad(lambda p: ENV.distance(ENV.set_state(at_goal, p)))(at_goal.physics)).all()


@pytest.mark.parametrize("collision", ["endpoint", "swept"])
def test_gradients_inside_a_room_match_differences(collision):
    env = TwoRoom(collision=collision)
    state = start((50.0, 60.0), (80.0, 120.0), env)

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def cost(actions):
        return env.planning_cost(env.rollout(state, actions)[0])

    # The first six actions count, the others stay where those lead; at walls the gradient is one-sided, never NaN.
    actions = jnp.pad(jax.random.uniform(jax.random.key(1), (6, 2), minval=-0.6, maxval=0.6), ((0, 24), (0, 0)))
    step = 0.02
    bumps = step * jnp.eye(60)[:12].reshape(12, 30, 2)
    towards = jnp.tile(jnp.asarray([[1.0, 0.3]]), (30, 1))
    bumped = jnp.concatenate([actions[None] + bumps, actions[None] - bumps])
    costs, gradients = cost(jnp.concatenate([actions[None], towards[None], bumped]))
    differences = (costs[2:14] - costs[14:]) / (2 * step)
    np.testing.assert_allclose(gradients[0, :6].reshape(-1), differences, rtol=2e-3, atol=2e-3)
    assert np.isfinite(gradients[1]).all()


def test_the_contract_of_environments():
    assert envs_mjx.make("swm/TwoRoom-v1", collision="swept") == TwoRoom(collision="swept")
    keys = jax.random.split(jax.random.key(0), 3)
    batch = programs.reset_batch(ENV, keys)
    single = ENV.reset(keys[2])
    jax.tree.map(lambda one, many: np.testing.assert_array_equal(_data(one), _data(many[2])), single, batch)
    moved = ENV.set_goal(ENV.set_state(single, jnp.asarray([150.0, 80.0])), jnp.asarray([150.0, 90.0]))
    assert moved.terminated
    np.testing.assert_array_equal(ENV.goal_from(moved), (150.0, 80.0))
    np.testing.assert_array_equal(moved.factors["target.position"], single.factors["target.position"])
    stepped = ENV.step(moved, jnp.asarray([0.0, 0.0]))
    assert jax.tree.structure(stepped) == jax.tree.structure(single)
    assert [leaf.dtype for leaf in jax.tree.leaves(stepped)] == [leaf.dtype for leaf in jax.tree.leaves(single)]


def _data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_gymnasium_makes_it():
    env = gymnasium.make("swm/TwoRoom-v1", render_mode="rgb_array")
    observation, info = env.reset(seed=3, options={"state": np.asarray([60.0, 60.0], np.float32)})
    assert env.observation_space.contains(observation)
    np.testing.assert_array_equal(info["state"], (60.0, 60.0))
    observation, reward, *_ = env.step(np.asarray([1.0, 0.0], np.float32))
    np.testing.assert_array_equal(observation["observation"][:2], (65.0, 60.0))
    assert reward == 0.0
    assert env.render().shape == (224, 224, 3)
