"""Recorded problems: read from a file, put into the environment, evaluated."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, registered

import envs_mjx
from swmjax.policies import PlanConfig
from swmjax.world import EvalConfig, RunFolder, evaluate, set_up
from swmjax.world.protocols import Recorded
from swmjax.world.rows import EPISODES

START, GOAL = np.array([[0.0], [0.5], [1.0]]), np.array([[0.4], [0.5], [-0.25]])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "problems.npz"
    np.savez(path, start=START, goal=GOAL, success=np.ones(3, bool))
    return path


def test_problems_are_read_as_float32(file):
    problems = Recorded.read(file, 0)
    assert (problems.count, problems.starts.dtype) == (3, jnp.float32)
    np.testing.assert_array_equal(problems.goals, GOAL.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"start": START}, "expected NPZ with start and goal"),
        ({"start": START, "goal": GOAL[:2]}, r"shapes \(3, 1\) and \(2, 1\)"),
        ({"start": START[0], "goal": GOAL[0]}, r"shapes \(1,\) and \(1,\)"),
        ({"start": START[:0], "goal": GOAL[:0]}, r"shapes \(0, 1\)"),
        ({"start": START, "goal": np.full_like(GOAL, np.nan)}, "goal: row 0, entry 0 is nan, but must be finite"),
        ({"start": START, "goal": np.full(3, "a")}, "expected NPZ with start and goal"),
        ({"start": START, "goal": np.array([None])}, "expected NPZ with start and goal"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"bad.npz: .*{message}"):
        Recorded.read(path, 0)


def test_files_that_are_no_archives_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("start")
    for name, message in (("text.npz", "expected NPZ"), ("no.npz", "No such file"), (".", "Is a directory")):
        with pytest.raises(ValueError, match=message):
            Recorded.read(tmp_path / name, 0)


def test_a_problem_is_what_the_file_says():
    env = GoalEnv(gain=0.25)
    problems = Recorded(5, *map(jnp.float32, ([[0.0], [0.0], [0.5]], [[0.0], [0.0], [-0.25]])))
    begun = jax.jit(problems.start, static_argnums=0)(env, jnp.asarray([2]))
    assert begun.seeds.tolist() == [7]
    start, shown = (jax.tree.map(lambda leaf: leaf[0], states) for states in (begun.states, begun.goals))
    np.testing.assert_array_equal([start.physics, start.goal], [[0.5], [-0.25]])
    np.testing.assert_array_equal([shown.physics, shown.goal], [[-0.25], [-0.25]])
    assert not start.success
    assert shown.success
    expected = jax.random.split(jax.random.key(7))[1]
    np.testing.assert_array_equal(jax.random.key_data(start.key), jax.random.key_data(expected))


def test_problems_that_cannot_be_are_refused():
    inside = jnp.full((2, 2), 60.0)
    env, outside = envs_mjx.make("swm/TwoRoom-v1"), inside.at[1, 0].set(900.0)
    Recorded(0, inside, inside).check(env, "swm/TwoRoom-v1", 2)
    for part, rows in (("start", (outside, inside)), ("goal", (inside, outside))):
        with pytest.raises(ValueError, match=f"file.npz: {part}: row 1, entry 0 is 900, but must be from 0 to 224"):
            Recorded(0, *rows, "file.npz").check(env, "swm/TwoRoom-v1", 2)


@pytest.fixture
def config(file):
    with registered():
        yield EvalConfig(
            env="test/Goal-v0",
            model="oracle",
            env_options={"gain": 0.25},
            problems=str(file),
            solver={"name": "cem", "num_samples": 64, "n_steps": 4, "topk": 8},
            plan=PlanConfig(2, 1, 2),
            episodes=3,
            budget=12,
            batch_size=2,
            video_episodes=0,
        )


def test_episodes_start_and_aim_as_recorded(config, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_config(config.to_dict())
    assert EvalConfig.from_dict(folder.read_config()) == config
    results = evaluate(config, set_up(config), folder)
    rows = EPISODES.read(folder.path)
    np.testing.assert_array_equal([row["start"] for row in rows], START)
    np.testing.assert_allclose([row["goal"] for row in rows], GOAL, rtol=1e-7)
    # The second problem starts solved, and counts.
    assert (rows[1]["success"], rows[1]["steps"]) == (True, 0)
    assert results["successes"] == 3
    assert json.loads((folder.path / "results.json").read_text())["episodes"] == 3


def test_problems_must_fit_the_settings(config, tmp_path):
    with pytest.raises(ValueError, match="problems.npz holds 3 problems, got 4"):
        set_up(dataclasses.replace(config, episodes=4))
    np.savez(tmp_path / "wide.npz", start=np.zeros((3, 2)), goal=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"wide.npz: its states have 2 entries, those of test/Goal-v0 have 1"):
        set_up(dataclasses.replace(config, problems=str(tmp_path / "wide.npz")))
