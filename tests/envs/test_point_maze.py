"""SimplePointMaze: recorded trajectories and frames, factors and constraints, gradients, bad input."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types

from envs_mjx.point_maze import SimplePointMaze
from envs_mjx.point_maze.disc import disc_corners

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
ENV = SimplePointMaze()


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "point_maze.npz"))


@pytest.fixture(scope="module")
def replayed(golden):
    """States after every step, and the last frame."""

    def replay(factors, actions):
        first = ENV.reset(jax.random.key(0), variation=(), values=factors)
        last, states = jax.lax.scan(lambda state, action: (ENV.step(state, action),) * 2, first, actions)
        return states, ENV.render(last)

    factors = {name.removeprefix("factor/"): value for name, value in golden.items() if name.startswith("factor/")}
    return jax.device_get(jax.jit(jax.vmap(replay))(factors, golden["action"]))


def test_recorded_trajectories_are_met(golden, replayed):
    states, _ = replayed
    np.testing.assert_allclose(states.physics, golden["state"][:, 1:], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(states.terminated, golden["terminated"])
    np.testing.assert_allclose(states.reward, golden["reward"], rtol=1e-6)
    # Walls did stop steps, and goals were reached.
    assert (golden["state"][:, 1:] == golden["state"][:, :-1]).all(-1).sum() > 50
    assert golden["terminated"].sum() > 3


def test_frames_equal_the_recorded_ones(golden, replayed):
    difference = np.abs(replayed[1].astype(int) - golden["frame"])
    assert difference.max() <= 1
    assert (difference.max(-1) > 0).mean((-2, -1)).max() <= 1e-3


def test_factors_are_those_of_the_reference(golden):
    space = SimplePointMaze().variation_space
    assert [name for name in space.sampling_order if "." in name] == [
        *(f"agent.{name}" for name in ("color", "radius", "position", "speed")),
        *(f"goal.{name}" for name in ("color", "radius", "position")),
        *(f"walls.{name}" for name in ("number", "color", "shape", "positions")),
        "background.color",
    ]
    # The first recorded episode has the initial values, but for the agent's position.
    for name in space.names():
        if name != "agent.position":
            np.testing.assert_array_equal(space.factor(name).init_value, golden[f"factor/{name}"][0])
    np.testing.assert_array_equal(space.factor("agent.position").init_value, (0.5, 0.5))
    bounds = {
        "agent.radius": (0.05, 0.5),
        "agent.position": (0, 5),
        "agent.speed": (0.05, 2),
        "goal.radius": (0.05, 0.5),
        "goal.position": (0, 5),
        "walls.number": (4, 6),
        "walls.shape": (0.5, 1.5),
        "walls.positions": (0, 5),
    }
    for name, (low, high) in bounds.items():
        factor = space.factor(name)
        np.testing.assert_allclose(factor.bounds, [np.full(factor.shape, low), np.full(factor.shape, high)], rtol=1e-6)
    assert space.check()
    assert ENV.default_variation == ("agent.position",)


def circle_meets_box(disc, radius, low, high):
    nearest = np.clip(disc, low, high)
    return ((nearest - disc) ** 2).sum() <= radius**2 * (1 - 1e-5)


def test_draws_meet_the_constraints_on_both_faces():
    keys = jax.random.split(jax.random.key(7), 256)
    drawn = jax.device_get(jax.jit(jax.vmap(lambda key: ENV.variation_space.draw(key, ("all",))))(keys))
    space = SimplePointMaze().variation_space
    space.seed(5)
    sampled = []
    for _ in range(4):
        space.reset()
        nested = space.sample()
        sampled.append({f"{group}.{name}": value for group, inner in nested.items() for name, value in inner.items()})
    for factors in [*({name: values[i] for name, values in drawn.items()} for i in range(256)), *sampled]:
        for wall in range(int(factors["walls.number"])):
            low = factors["walls.positions"][wall].astype(float)
            high = low + factors["walls.shape"][wall]
            assert (low >= 0).all()
            assert (high <= 5 + 1e-5).all()
            for entity in ("agent", "goal"):
                assert not circle_meets_box(factors[f"{entity}.position"], factors[f"{entity}.radius"], low, high)
    # Walls are drawn over the whole range that they fit into.
    room = 5 - drawn["walls.shape"][:, :4]
    share = (drawn["walls.positions"][:, :4] / room).ravel()
    assert 0.45 < share.mean() < 0.55
    assert share.max() > 0.99


def test_steps_stop_at_walls_and_at_the_worlds_edge():
    wall = {"walls.positions": np.full((6, 2), 2.0), "walls.shape": np.ones((6, 2))}
    state = ENV.reset(jax.random.key(0), variation=(), values=wall, options={"state": [1.85, 2.5]})
    stopped = ENV.step(state, jnp.asarray([0.1, 0.0]))
    np.testing.assert_array_equal(stopped.physics, state.physics)
    np.testing.assert_allclose(stopped.reward, -0.01, rtol=1e-6)
    np.testing.assert_allclose(ENV.step(state, jnp.asarray([0.04, 5.0])).physics, (1.89, 2.7), rtol=1e-6)
    corner = ENV.step(ENV.set_state(state, jnp.asarray([0.05, 4.9])), jnp.asarray([-0.2, 0.2]))
    np.testing.assert_array_equal(corner.physics, (0.0, 5.0))
    frozen = ENV.step(state, jnp.asarray([jnp.nan, 0.1]))
    assert frozen.info["invalid_action"]
    np.testing.assert_array_equal(frozen.physics, state.physics)


def test_gradients_between_walls_match_differences():
    state = ENV.reset(jax.random.key(0), variation=(), options={"state": [0.5, 0.5], "goal_state": [1.0, 0.4]})

    @jax.jit
    @jax.value_and_grad
    def cost(actions):
        final, _ = jax.lax.scan(lambda state, action: (ENV.step(state, action), None), state, actions)
        return ENV.planning_cost(final)

    actions = jax.random.uniform(jax.random.key(1), (4, 2), minval=-0.1, maxval=0.1)
    gradient = cost(actions)[1]
    bumps = 0.01 * jnp.eye(8).reshape(8, 4, 2)
    values = jax.vmap(lambda bump: jnp.stack([cost(actions + bump)[0], cost(actions - bump)[0]]))(bumps)
    np.testing.assert_allclose(gradient.reshape(-1), (values[:, 0] - values[:, 1]) / 0.02, rtol=2e-3, atol=1e-4)
    assert np.abs(gradient).min() > 0.05
    assert np.isfinite(cost(jnp.full((4, 2), 0.3))[1]).all()


def test_goals_and_resets():
    keys = jax.random.split(jax.random.key(0), 4)
    batch = jax.jit(jax.vmap(ENV.reset))(keys)
    single = ENV.reset(keys[2])
    np.testing.assert_array_equal(single.physics, batch.physics[2])
    assert len(np.unique(batch.physics)) == 8
    assert single.reward == 0
    moved = ENV.set_goal(ENV.set_state(single, jnp.asarray([1.0, 1.0])), jnp.asarray([1.0, 1.15]))
    assert moved.terminated
    np.testing.assert_allclose(ENV.distance(moved), 0.15, rtol=1e-5)
    assert ENV.planning_cost(ENV.set_goal(moved, ENV.goal_from(moved))) == 0
    action = ENV.behaviour_action(keys[0], single)
    assert ENV.action_space.contains(np.asarray(action))


def test_discs_have_as_many_corners_as_they_need():
    for radius, corners in ((5.0, 24), (20.0, 40), (39.0, 56), (50.0, 72)):
        found = np.unique(np.asarray(disc_corners(jnp.zeros(2), jnp.asarray(radius))).round(3), axis=0)
        assert len(found) == corners
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), radius, atol=0.2)


def test_bad_input_is_refused():
    key = jax.random.key(0)
    with unchecked_types(), pytest.raises(ValueError, match="show_goal must be true or false, got 1"):
        SimplePointMaze(show_goal=1)
    with pytest.raises(ValueError, match="max_walls must be 1 to 32 and min_walls 0 to max_walls"):
        SimplePointMaze(max_walls=3)
    with pytest.raises(ValueError, match="must grow between 0 and 5"):
        SimplePointMaze(wall_min_size=2.0)
    with pytest.raises(ValueError, match="goal.position .* touches a wall"):
        SimplePointMaze(wall_max_size=4.5)
    with pytest.raises(ValueError, match=r"agent.position \[2.0, 4.0\] touches a wall"):
        ENV.reset(key, variation=(), values={"agent.position": [2.0, 4.0]})
    with pytest.raises(ValueError, match="goal.position"):
        ENV.reset(key, values={"goal.position": [2.0, 4.0]})
    with pytest.raises(ValueError, match="a wall does not fit"):
        ENV.reset(key, variation=(), values={"walls.positions": np.full((6, 2), 4.9)})
    with pytest.raises(ValueError, match="agent.speed"):
        ENV.reset(key, values={"agent.speed": 3.0})
    with pytest.raises(ValueError, match="unknown option of SimplePointMaze.reset 'target_state'"):
        ENV.reset(key, options={"target_state": np.zeros(2)})
    with pytest.raises(ValueError, match=r"action must be floating point of shape \[2\]"):
        ENV.step(ENV.reset(key, variation=()), jnp.zeros(3))
