"""What is particular to one library, and mistakes that are refused."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.adapters.cases import GAMES, actions_of, bits, keys_of, made, programs, row, walked
from quick import quick_jit

import envs_mjx


def nearly(ours, theirs):
    """Whole numbers are equal; the library's parameters are constants in our programs, which round differently."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), bits(ours), bits(theirs))


def test_brax_has_these_backends():
    pytest.importorskip("brax")
    with pytest.raises(ValueError, match="one of generalized, positional, spring, mjx, got 'bullet'"):
        envs_mjx.make("brax/Ant-v1", backend="bullet")
    with pytest.raises(ValueError, match="did you mean 'walker2d'.*all tasks: ant, halfcheetah"):
        envs_mjx.make("brax/Ant-v1", task="walker2")
    with pytest.raises(ValueError, match="at least 8 px"):
        envs_mjx.make("brax/Ant-v1", resolution=1)


def test_every_task_of_the_control_suite_is_registered():
    playground = pytest.importorskip("mujoco_playground")
    registered = {id for id in envs_mjx.registered_ids() if id.startswith("playground/")} - {"playground/Task-v0"}
    assert registered == {f"playground/{name}-v0" for name in playground.dm_control_suite.ALL_ENVS}
    assert envs_mjx.make("playground/Task-v0", task="FishSwim") == envs_mjx.make("playground/FishSwim-v0")


def test_an_unknown_task_lists_the_known_ones():
    pytest.importorskip("mujoco_playground")
    with pytest.raises(ValueError, match="did you mean 'WalkerWalk'.*all tasks: .*CheetahRun.*PandaPickCube"):
        envs_mjx.make("playground/Task-v0", task="WalkerWlk")
    with pytest.raises(ValueError, match="impl must be one of jax, warp"):
        envs_mjx.make("playground/Task-v0", impl="c")


def test_a_robot_that_would_have_to_be_downloaded_is_not(monkeypatch, tmp_path):
    pytest.importorskip("mujoco_playground")
    from mujoco_playground._src import mjx_env

    monkeypatch.setattr(mjx_env, "MENAGERIE_PATH", tmp_path / "menagerie")
    with pytest.raises(ValueError, match="Go1Getup needs the robots of MuJoCo Menagerie.*downloads them"):
        envs_mjx.make("playground/Task-v0", task="Go1Getup")
    assert not list(tmp_path.iterdir())


def test_libraries_are_imported_on_use_and_a_missing_one_names_its_extra():
    code = (
        "import sys, envs_mjx\n"
        "names = ['brax', 'mujoco_playground', 'craftax']\n"
        "print(set(names + ['mujoco']) & set(sys.modules))\n"
        "sys.modules |= dict.fromkeys(names)\n"
        "for id in ('brax/Ant-v1', 'playground/Task-v0', 'swm/CraftaxPixels-v1'):\n"
        "    try:\n        envs_mjx.make(id)\n"
        "    except ImportError as error:\n        print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "set()"
    assert [line.partition("pip install ")[2] for line in lines[1:]] == [
        f"'swmjax[{extra}]'" for extra in ("brax", "playground", "craftax")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["brax/HalfCheetah-v1", "playground/CheetahRun-v0"])
def test_nothing_is_printed_and_no_file_is_left(task, tmp_path):
    pytest.importorskip("mujoco_playground")
    code = f"import envs_mjx; envs_mjx.make({task!r}).observation_space"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == done.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", GAMES)
def test_a_seed_gives_the_world_of_the_reference(case):
    env, start = made(case), walked(case)[0]
    theirs, params = env.library, env.library.default_params
    # The reference splits its key and resets with the second half.
    with jax.numpy_rank_promotion("allow"):
        obs, game = quick_jit(theirs.reset_env)(jax.random.split(keys_of()[2])[1], params)
    nearly(start.obs["observation"][2], obs)
    nearly(row(start.physics, 2), game)


@pytest.mark.slow
@pytest.mark.parametrize("case", GAMES)
def test_steps_are_the_game_s_own(case):
    env, states = made(case), walked(case)
    step = quick_jit(env.library.step_env)
    state = row(states[0], 1)
    game = state.physics
    for index, actions in enumerate(actions_of(case)):
        key = jax.random.fold_in(state.key, index)
        with jax.numpy_rank_promotion("allow"):
            obs, game, reward, done, info = step(key, game, actions[1], env.library.default_params)
        ours = row(states[index + 1], 1)
        nearly(ours.obs["observation"], obs)
        nearly(ours.physics, game)
        nearly(ours.reward, reward)
        assert bool(ours.terminated | ours.truncated) == bool(done)
        assert set(info) == set(ours.info) - {"return", "invalid_action"}
        nearly({name: ours.info[name] for name in info}, info)


@pytest.mark.parametrize("case", GAMES[:1])
def test_games_end_and_are_judged(case):
    env, (_, step) = made(case), programs(case)
    start = walked(case)[0]
    assert {"Achievements/collect_wood", "score", "discount"} <= set(start.info)
    np.testing.assert_array_equal(start.info["discount"], 1)
    game = start.physics
    game = game.replace(
        player_health=game.player_health.at[0].set(-5),
        timestep=game.timestep.at[1].set(env.library.default_params.max_timesteps - 1),
        achievements=game.achievements.at[:2, 0].set(True),
    )
    ended = step(start.replace(physics=game), actions_of(case)[0])
    np.testing.assert_array_equal(ended.terminated, [True, False, False])
    np.testing.assert_array_equal(ended.truncated, [False, True, False])
    np.testing.assert_array_equal(ended.info["Achievements/collect_wood"], [100, 100, 0])
    np.testing.assert_array_equal(ended.info["discount"], [0, 0, 1])
    np.testing.assert_array_equal(ended.info["return"], ended.reward)
    # The game goes on if one insists, but the episode has ended.
    later = step(ended, actions_of(case)[0])
    assert later.terminated[0]
    np.testing.assert_array_equal(later.info["return"][:2], ended.info["return"][:2])
    np.testing.assert_array_equal(jax.vmap(env.planning_cost)(ended), -ended.info["return"])


@pytest.mark.parametrize("case", GAMES[:1])
def test_games_have_no_goals_but_states_can_be_taken_over(case):
    env = made(case)
    start, after = walked(case)[0], walked(case)[2]
    first, third = row(start, 0), row(after, 0)
    moved = env.set_state(first, third.physics)
    np.testing.assert_array_equal(moved.obs["observation"], third.obs["observation"])
    assert jax.tree.structure(moved) == jax.tree.structure(first)
    with pytest.raises(ValueError, match="set_state takes the physics"):
        env.set_state(first, jnp.zeros(3))
    with pytest.raises(ValueError, match="state holds a number that is not finite"):
        env.set_state(first, third.physics.replace(player_food=jnp.asarray(jnp.nan)))
    for call in (env.goal_from, env.distance, lambda state: env.set_goal(state, jnp.zeros(3))):
        with pytest.raises(ValueError, match="has no goals, only rewards"):
            call(first)


@pytest.mark.parametrize("case", [game for game in GAMES if "Symbolic" in game.id])
def test_mobs_out_of_sight_erase_no_other(case):
    env = made(case)
    game, full = row(walked(case)[0], 0).physics, "Classic" not in case[0]
    name, rows, columns, size = ("melee_mobs", 9, 11, 83) if full else ("zombies", 7, 9, 21)
    first = size - (41 if full else 4)
    mobs, player = getattr(game, name), np.asarray(game.player_position)
    level = (0,) if full else ()

    def seen(places, alive):
        position, mask = np.zeros_like(mobs.position), np.zeros_like(mobs.mask)
        for index, place in enumerate(places):
            position[(*level, index)] = player + place
            mask[(*level, index)] = alive[index]
        changes = {name: mobs.replace(position=jnp.asarray(position), mask=jnp.asarray(mask))}
        if full:
            changes |= {"light_map": jnp.ones_like(game.light_map), "player_level": jnp.asarray(0)}
        observed = look(game.replace(**changes))["observation"]
        kinds = np.asarray(observed)[: rows * columns * size].reshape(rows, columns, size)
        return kinds[..., first : first + (8 if full else 1)].sum(-1)

    look = quick_jit(env._seen)
    beside, corner = np.array([0, 1]), np.array([rows, columns]) // 2
    alone = np.zeros((rows, columns))
    alone[tuple(corner + beside)] = 1
    np.testing.assert_array_equal(seen([beside], [True]), alone)
    # One that died there, and one whose row counts from the other end of the view.
    np.testing.assert_array_equal(seen([beside, beside], [True, False]), alone)
    np.testing.assert_array_equal(seen([beside, beside - [rows, 0]], [True, True]), alone)
    both = alone.copy()
    both[tuple(corner)] = 1
    np.testing.assert_array_equal(seen([beside, np.zeros(2, int)], [True, True]), both)


def test_craftax_is_refused_in_64_bits():
    pytest.importorskip("craftax")
    with jax.enable_x64(True), pytest.raises(ValueError, match="32 bits only"):
        envs_mjx.make("swm/CraftaxClassicSymbolic-v1")
