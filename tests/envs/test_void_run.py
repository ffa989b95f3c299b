"""VoidRun: moves, breaking cells, termination, pictures, factors, bad input; no reference of it is released."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types

from envs_mjx.void_run import VoidRun

ENV = VoidRun(resolution=40)
LEFT, RIGHT, DOWN, UP = range(4)


def start(agent=(10, 10), goal=(5, 5), env=ENV, **factors):
    # All factors are given, since each set of names has a program of its own.
    space = env.variation_space
    values = {name: space.factor(name).init_value for name in space.names()}
    values |= {"agent.position": agent, "goal.position": goal}
    values |= {name.replace("_", ".", 1): value for name, value in factors.items()}
    return env.reset(jax.random.key(0), variation=(), values=values)


def test_moves_break_the_cell_that_is_left():
    state = start()
    for action, expected in ((LEFT, (10, 9)), (DOWN, (11, 9)), (RIGHT, (11, 10)), (RIGHT, (11, 11))):
        left = tuple(state.physics.position.tolist())
        assert state.physics.board[left] in (1, 2)
        state = ENV.step(state, jnp.asarray(action))
        np.testing.assert_array_equal(state.obs["perception"], expected)
        assert state.obs["board"][left] == 0
        assert state.reward == 1
        assert state.info["newly_voided"]
        assert not state.truncated
    assert state.info["steps"] == 4
    assert (state.physics.board[:20, :20] == 0).sum() == 4
    fallen = ENV.step(ENV.step(state, jnp.asarray(UP)), jnp.asarray(LEFT))
    assert fallen.truncated
    assert fallen.info["in_void"]
    assert fallen.reward == 1
    # Nobody climbs out of the void.
    after = ENV.step(fallen, jnp.asarray(LEFT))
    np.testing.assert_array_equal(after.physics.position, fallen.physics.position)
    assert after.reward == 0
    assert after.truncated


def test_a_bump_breaks_the_agents_own_cell():
    state = ENV.step(start((0, 3)), jnp.asarray(UP))
    np.testing.assert_array_equal(state.physics.position, (0, 3))
    assert state.truncated
    assert state.reward == 1
    corner = ENV.step(start((19, 19)), jnp.asarray(DOWN))
    np.testing.assert_array_equal(corner.physics.position, (19, 19))


def test_cells_break_with_their_probability():
    state = start(agent_prob_break=0.5)
    keys = jax.random.split(jax.random.key(1), 400)
    broke = jax.jit(jax.vmap(lambda key: ENV.step(state.replace(key=key), jnp.asarray(LEFT)).reward))(keys)
    assert 0.4 < broke.mean() < 0.6
    assert start().reward == 0


def test_the_goal_is_reached_by_standing_on_it():
    state = start((5, 7))
    assert state.obs["board"][5, 5] == 3
    assert ENV.distance(state) == 2
    state = ENV.step(state, jnp.asarray(LEFT))
    assert not state.terminated
    state = ENV.step(state, jnp.asarray(LEFT))
    assert state.terminated
    assert not state.truncated
    assert ENV.planning_cost(state) == 0
    # Once left, the goal's cell is void and observed so.
    state = ENV.step(state, jnp.asarray(LEFT))
    assert state.obs["board"][5, 5] == 0
    assert not state.terminated
    fallen = ENV.step(state, jnp.asarray(RIGHT))
    assert not fallen.terminated
    assert ENV.planning_cost(fallen) == 100


def test_the_meant_rule_asks_for_an_empty_board():
    env = VoidRun(clear_first=True)
    state = start((5, 6), env=env)
    assert not env.step(state, jnp.asarray(LEFT)).terminated
    board = np.zeros((50, 50), int)
    board[5, 5:7] = 1
    last = env.set_state(state, jnp.asarray(np.concatenate([[5, 6], board.ravel()])))
    assert env.step(last, jnp.asarray(LEFT)).terminated


def test_pictures_have_row_0_at_the_bottom_and_change_nothing():
    colors = {"board_void_color": (9, 9, 9), "board_sand_color": (20, 0, 0), "board_gravel_color": (30, 0, 0)}
    env = VoidRun(resolution=32)
    state = env.step(start((0, 0), (3, 7), env, board_size=10, **colors), jnp.asarray(RIGHT))
    image = np.asarray(jax.jit(env.render)(state))
    cells = np.asarray(state.physics.board)
    palette = np.array([(9, 9, 9), (20, 0, 0), (30, 0, 0)])
    for row in range(32):
        for column in range(32):
            # The cell whose area holds the pixel's centre.
            cell = (9 - int((row + 0.5) / 3.2), int((column + 0.5) / 3.2))
            expected = {(0, 1): (255, 0, 0), (3, 7): (52, 235, 201)}.get(cell, palette[cells[cell]])
            np.testing.assert_array_equal(image[row, column], expected)
    fallen = env.step(state, jnp.asarray(LEFT))
    np.testing.assert_array_equal(np.asarray(env.render(fallen))[-1, 0], (9, 9, 9))


def test_factors_are_those_of_the_reference():
    space = VoidRun().variation_space
    bounds = {
        "board.size": (10, 49, 20),
        "board.prob_gravel": (0, 1, 0.45),
        "board.sand_color": (0, 255, (242, 218, 130)),
        "board.gravel_color": (0, 255, (128, 128, 128)),
        "board.void_color": (0, 255, (0, 0, 0)),
        "board.prob_break": (0.5, 1, 1),
        "agent.color": (0, 255, (255, 0, 0)),
        "agent.position": (0, 49, (10, 10)),
        "agent.prob_break": (0.5, 1, 1),
        "goal.color": (0, 255, (52, 235, 201)),
        "goal.position": (0, 49, (5, 5)),
    }
    assert [name for name in space.sampling_order if "." in name] == list(bounds)
    for name, (low, high, default) in bounds.items():
        factor = space.factor(name)
        np.testing.assert_array_equal(factor.bounds, [np.full(factor.shape, low), np.full(factor.shape, high)])
        np.testing.assert_allclose(factor.init_value, np.broadcast_to(default, factor.shape), rtol=1e-6)
    assert VoidRun().default_variation == ("board.prob_gravel", "agent.position", "goal.position")


def test_resets_and_runs_stay_on_the_board():
    keys = jax.random.split(jax.random.key(3), 64)

    def run(key):
        first = ENV.reset(key, variation=("all",))

        def walk(state, key):
            after = ENV.step(state, ENV.behaviour_action(key, state))
            return after, after

        return first, jax.lax.scan(walk, first, jax.random.split(key, 30))[1]

    first, states = jax.device_get(jax.jit(jax.vmap(run))(keys))
    size = first.factors["board.size"][:, None]
    for positions in (first.physics.position, first.goal, states.physics.position[:, -1]):
        assert ((positions >= 0) & (positions < size)).all()
    ground = first.physics.board
    np.testing.assert_array_equal((ground > 0).sum((1, 2)), size[:, 0] ** 2)
    share = (ground == 2).sum((1, 2)) / size[:, 0] ** 2
    np.testing.assert_allclose(share, first.factors["board.prob_gravel"], atol=0.2)
    # The behaviour policy falls only where no way is left.
    assert states.truncated[:, 5].sum() == 0
    for name, space in ENV.observation_space.spaces.items():
        assert space.contains(first.obs[name][0])
    again = jax.device_get(ENV.reset(keys[5], variation=("all",)))
    np.testing.assert_array_equal(again.physics.board, ground[5])
    assert again.obs["board"].dtype == np.int8


def test_states_and_goals_are_restored():
    state = ENV.step(ENV.step(start(), jnp.asarray(LEFT)), jnp.asarray(DOWN))
    other = ENV.reset(jax.random.key(9))
    restored = ENV.set_state(other, state.info["state"])
    jax.tree.map(np.testing.assert_array_equal, restored.physics, state.physics)
    moved = ENV.set_goal(ENV.set_state(state, jnp.asarray([3.0, 4.0])), jnp.asarray([3.0, 4.0]))
    assert moved.terminated
    np.testing.assert_array_equal(ENV.goal_from(moved), (3, 4))
    np.testing.assert_array_equal(moved.info["goal_pos"], (3, 4))
    np.testing.assert_array_equal(moved.factors["goal.position"], (5, 5))
    assert jax.tree.structure(moved) == jax.tree.structure(ENV.step(moved, jnp.asarray(0)))
    # The initial positions are moved onto a smaller board.
    small = ENV.reset(jax.random.key(0), variation=(), values={"board.size": 10})
    np.testing.assert_array_equal(small.physics.position, (9, 9))


def test_bad_input_is_refused():
    key = jax.random.key(0)
    for resolution in (7, 32.0, True):
        with unchecked_types(), pytest.raises(ValueError, match="resolution must be a whole number of at least 8 px"):
            VoidRun(resolution=resolution)
    with unchecked_types(), pytest.raises(ValueError, match="clear_first must be true or false, got 0"):
        VoidRun(clear_first=0)
    with pytest.raises(ValueError, match=r"agent.position \[20, 3\] is beyond the board of 20 x 20"):
        start((20, 3))
    with pytest.raises(ValueError, match="board.size"):
        start(board_size=50)
    with pytest.raises(ValueError, match=r"state must have 2 entries \(row, column\) or 2502"):
        ENV.reset(key, options={"state": np.zeros(3)})
    with pytest.raises(ValueError, match="goal_state must have 2 entries"):
        ENV.reset(key, options={"goal_state": np.zeros(3)})
    state = start()
    with pytest.raises(ValueError, match="action must be integer"):
        ENV.step(state, jnp.asarray(1.0))
    for action in (-1, 4):
        frozen = ENV.step(state, jnp.asarray(action))
        assert frozen.info["invalid_action"]
        np.testing.assert_array_equal(frozen.physics.board, state.physics.board)
        assert frozen.reward == 0
