"""Evaluations on the toy environment: what is written, and what survives an interruption."""

import dataclasses
import json
import platform

import jax
import numpy as np
import pytest
from goal_env import registered

import swmjax
from swmjax.policies import PlanConfig
from swmjax.runs.interrupts import Stopped
from swmjax.runs.table import Table
from swmjax.runs.watched import Watched
from swmjax.world import EvalConfig, RunFolder, evaluate, evaluation, run_episodes, set_up
from swmjax.world import wilson_interval as wilson
from swmjax.world.rows import EPISODES

pytestmark = pytest.mark.optimised

COUNT = 5


@pytest.fixture(autouse=True, scope="module")
def goal_env():
    with registered():
        yield


@pytest.fixture(scope="module")
def config(goal_env):
    return EvalConfig(
        env="test/Goal-v0",
        model="oracle",
        env_options={"gain": 0.25},
        solver={"name": "cem", "num_samples": 16, "n_steps": 2, "topk": 4},
        plan=PlanConfig(2, 1, 2),
        episodes=COUNT,
        seed=40,
        goal_offset=20,
        budget=5,
        batch_size=2,
        video_episodes=0,
    )


@pytest.fixture(scope="module")
def setup(config):
    return set_up(config)


@pytest.fixture(scope="module")
def expected(config, setup):
    """Every episode, run as one batch."""

    def program(rows):
        return run_episodes(setup.env, setup.policy, setup.protocol.start(setup.env, rows), config.budget)

    return jax.device_get(jax.jit(program)(np.arange(COUNT, dtype=np.int32)))


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def quick(monkeypatch):
    """No measurement of the planning latency; a list of the numbers of episodes that were known by then."""
    calls = []

    def latency(play, rows):
        calls.append(sorted(rows))
        return {"plan_latency_s": {"median": 0.25, "p95": 0.5, "calls": 7}}

    monkeypatch.setattr(evaluation, "_plan_latency", latency)
    return calls


@pytest.fixture
def programs(monkeypatch):
    """Episodes that were played by every call of the program, and whether their frames were rendered."""
    seen, original = [], Watched.compile

    def compile(self, stage, function, *args, made_of):
        run, seconds = original(self, stage, function, *args, made_of=made_of)
        assert stage == "compiling the episodes"

        def spy(policy, protocol, rows, alive, rendering):
            assert len(rows) >= 3
            seen.append((np.asarray(rows)[np.asarray(alive)].tolist(), bool(rendering)))
            return run(policy, protocol, rows, alive, rendering)

        return spy, seconds

    monkeypatch.setattr(Watched, "compile", compile)
    return seen


def results_of(folder):
    return json.loads((folder.path / "results.json").read_text())


def assert_rows(rows, expected, episodes):
    assert [row["episode"] for row in rows] == episodes
    for row in rows:
        i = row["episode"]
        assert row["seed"] == 40 + i
        assert (row["success"], row["steps"]) == (expected.success[i], expected.steps[i])
        assert row["final_distance"] == expected.final_distance[i]
        assert (row["start"], row["goal"]) == (expected.start[i].tolist(), expected.goal[i].tolist())


def stop_at(stage, done):
    """A progress callback that is interrupted at a stage."""

    def progress(seen, episodes):
        if (seen, episodes) == (stage, done):
            raise KeyboardInterrupt

    return progress


def test_a_whole_run(config, setup, expected, folder, programs):
    stages = []
    config = dataclasses.replace(config, video_episodes=1)
    results = evaluate(config, setup, folder, progress=lambda *seen: stages.append(seen))

    # Only the frames of the first batch are rendered; the latency is that of the first episode, alone.
    assert programs[:3] == [([0, 1], True), ([2, 3], False), ([4], False)]
    assert set(map(str, programs[3:])) == {"([0], False)"}
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))
    assert sorted(path.name for path in folder.path.iterdir()) == ["episodes.mp4", "episodes.parquet", "results.json"]
    assert (folder.path / "episodes.mp4").read_bytes()[4:8] == b"ftyp"
    assert results_of(folder) == results
    assert [(stage, done) for stage, done in stages if not stage.endswith(" s")] == [
        ("compiling the episodes", 0),
        ("episodes", 0),
        ("video", 2),
        ("episodes", 2),
        ("episodes", 4),
        ("timing plans", 5),
        ("done", 5),
    ]

    successes = int(expected.success.sum())
    assert 0 < successes < COUNT
    facts = {
        "env": "test/Goal-v0",
        "model": "oracle",
        "solver": "cem",
        "episodes": 5,
        "complete": True,
        "successes": successes,
        "success_rate": successes / 5,
        "success_interval_95": list(wilson(successes, 5)),
        "dtype": "float32",
        "versions": {"swmjax": swmjax.__version__, "jax": jax.__version__, "python": platform.python_version()},
    }
    assert {name: results[name] for name in facts} == facts
    assert results["mean_final_distance"] == pytest.approx(expected.final_distance.mean())
    latency = results["plan_latency_s"]
    assert 0.0 < latency["median"] <= latency["p95"]
    assert 5 <= latency["calls"] <= 20
    assert len(programs) == 3 + latency["calls"]
    assert min(results["compile_s"].values()) > 0.0
    # Up to 3 plans an episode, one for every two steps, each 2 x 16 candidates of 4 steps.
    taken, plans = int(expected.steps.sum()), int(expected.plans.sum())
    assert plans == (-(-expected.steps // 2)).sum() < 5 * 3
    assert results["candidates_per_s"] * results["run_s"] == pytest.approx(plans * 32)
    assert results["executed_env_steps_per_s"] * results["run_s"] == pytest.approx(taken)
    assert results["env_steps_per_s"] * results["run_s"] == pytest.approx(taken + plans * 32 * 4)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("size", "rows"), [(1, [1] * 5), (3, [3, 2]), (50, [5])])
def test_the_batch_size_changes_nothing(config, setup, expected, folder, programs, size, rows):
    evaluate(dataclasses.replace(config, batch_size=size), setup, folder)
    assert [len(played) for played, _ in programs] == rows
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))


def test_an_interrupted_run_is_resumed(config, setup, expected, folder, programs, quick):
    config = dataclasses.replace(config, video_episodes=2)
    with pytest.raises(Stopped) as stop:
        evaluate(config, setup, folder, progress=stop_at("episodes", 2))
    assert stop.value.done == 2
    assert_rows(EPISODES.read(folder.path), expected, [0, 1])
    kept = results_of(folder)
    assert (kept["episodes"], kept["complete"], kept["successes"]) == (2, False, int(expected.success[:2].sum()))
    assert "plan_latency_s" not in kept
    assert not quick
    video = (folder.path / "episodes.mp4").stat()

    programs.clear()
    results = evaluate(config, setup, folder, EPISODES.read(folder.path))
    assert programs == [([2, 3], False), ([4], False)]
    assert quick == [list(range(COUNT))]
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))
    assert (results["episodes"], results["complete"]) == (5, True)
    assert results["successes"] == int(expected.success.sum())
    assert results["candidates_per_s"] * results["run_s"] == pytest.approx(int(expected.plans[2:].sum()) * 32)
    assert results["plan_latency_s"] == {"median": 0.25, "p95": 0.5, "calls": 7}
    after = (folder.path / "episodes.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (video.st_ino, video.st_mtime_ns)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kept", [[0, 1], [0, 1, 2, 3, 4], [0, 3]])
def test_a_video_that_an_interruption_prevented_is_made_on_resume(config, setup, expected, folder, programs, kept):
    evaluate(config, setup, folder)
    rows, video = EPISODES.read(folder.path), folder.path / "episodes.mp4"
    assert not video.exists()
    programs.clear()
    results = evaluate(dataclasses.replace(config, video_episodes=2), setup, folder, [rows[i] for i in kept])
    assert video.read_bytes()[4:8] == b"ftyp"
    assert programs[0] == ([0, 1], True)
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))
    assert (results["episodes"], results["complete"]) == (COUNT, True)


def test_where_every_episode_starts_solved_there_is_no_latency(config, folder):
    config = dataclasses.replace(config, env_options={"gain": 0.0}, episodes=2)
    results = evaluate(config, set_up(config), folder)
    assert (results["successes"], results["plan_latency_s"], results["candidates_per_s"]) == (2, None, 0.0)


@pytest.mark.usefixtures("quick")
def test_only_the_missing_episodes_are_run(config, setup, expected, folder, programs):
    evaluate(config, setup, folder)
    rows = EPISODES.read(folder.path)
    programs.clear()
    evaluate(config, setup, folder, [rows[3], rows[1]])
    assert programs == [([0, 2], False), ([4], False)]
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))


def test_interrupted_before_the_first_batch(config, setup, folder):
    with pytest.raises(Stopped) as stop:
        evaluate(config, setup, folder, progress=stop_at("compiling the episodes", 0))
    assert stop.value.done == 0
    assert [path.name for path in folder.path.iterdir()] == ["results.json"]
    kept = results_of(folder)
    assert (kept["episodes"], kept["complete"], kept["success_rate"]) == (0, False, None)


def test_interrupted_after_the_last_batch(config, setup, expected, folder, programs, quick):
    with pytest.raises(Stopped):
        evaluate(config, setup, folder, progress=stop_at("timing plans", 5))
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))
    assert results_of(folder)["complete"] is False

    programs.clear()
    results = evaluate(config, setup, folder, EPISODES.read(folder.path))
    assert programs == []
    assert len(quick) == 1
    assert results["complete"] is True
    assert (results["plan_latency_s"]["calls"], results["run_s"], results["candidates_per_s"]) == (7, 0.0, None)
    assert_rows(EPISODES.read(folder.path), expected, list(range(COUNT)))


def test_interrupted_while_the_episodes_are_written(config, setup, expected, folder, monkeypatch):
    original, calls = Table.write, []

    def write(self, run, rows):
        calls.append(len(rows))
        if calls == [2, 4]:
            raise KeyboardInterrupt
        original(self, run, rows)

    monkeypatch.setattr(Table, "write", write)
    with pytest.raises(Stopped) as stop:
        evaluate(config, setup, folder)
    assert calls == [2, 4, 4]
    assert stop.value.done == 4
    assert_rows(EPISODES.read(folder.path), expected, [0, 1, 2, 3])


@pytest.mark.usefixtures("quick")
def test_a_failure_keeps_what_is_written(config, setup, expected, folder):
    def progress(stage, episodes):
        if (stage, episodes) == ("episodes", 4):
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        evaluate(config, setup, folder, progress=progress)
    assert_rows(EPISODES.read(folder.path), expected, [0, 1, 2, 3])


@pytest.mark.parametrize("change", [{"seed": 41}, {"episode": 5, "seed": 45}, {"episode": -1, "seed": 39}])
def test_rows_of_other_settings_are_refused(config, setup, folder, change):
    row = {"episode": 0, "seed": 40, "start": [0.0], "goal": [1.0], "success": True, "steps": 1, "final_distance": 0.0}
    with pytest.raises(ValueError, match="is not one of these settings: 5 episodes from seed 40"):
        evaluate(config, setup, folder, [row | change])
    assert list(folder.path.iterdir()) == []
