"""The benchmark of planning through physics: settings are checked before any compute, finished cells are kept."""

import copy
import json
import re
import sys
from pathlib import Path

import imageio.v3 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from omegaconf import OmegaConf

import envs_mjx
from swmjax.planning import CEMSolver, MPPISolver, PredictiveSamplingSolver, solve
from swmjax.world.statistics import mean_interval

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# For these imports alone: the folder has modules of the same names as folders of tests.
sys.path.insert(0, str(BENCHMARKS))
try:
    import physics
    from physics_parts import Held, OneOf
    from physics_tasks import OBJECTIVES, load_bench
finally:
    sys.path.remove(str(BENCHMARKS))

PRESET = Path(__file__).parents[2] / "configs" / "bench" / "physics.yaml"
TINY = {
    "steps": 4,
    "chunk": 2,
    "impl": "auto",
    "seeds": [0, 1],
    "tasks": {
        "cartpole": {
            "env": "swm/CartpoleDMControl-v0",
            "objective": "cartpole_upright",
            "threshold": 4.0,
            "published": [{"score": 838, "method": "someone's", "source": "somewhere"}],
            "hold": 2,
            "plan": {"horizon": 3, "action_block": 1, "receding_horizon": 1},
            "solvers": {"predictive_sampling": {"noise_scale": 0.2}},
        }
    },
    "solvers": {"predictive_sampling": {"num_samples": 4, "clip": "bounds"}},
}


def written(folder, settings):
    path = folder / "bench.yaml"
    OmegaConf.save(OmegaConf.create(settings), path)
    return path


def changed(place, value):
    """The tiny settings with another value at a dotted place; None takes it away."""
    settings = copy.deepcopy(TINY)
    inner = settings
    *groups, last = place.split(".")
    for group in groups:
        inner = inner[group]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return settings


def test_the_preset_has_the_tasks_and_scores_of_others():
    bench = load_bench(PRESET)
    assert list(bench.solvers) == ["cem", "icem", "mppi", "predictive_sampling"]
    early = ["cartpole", "pendulum", "reacher", "walker", "cheetah"]
    legged = ["hopper_stand", "hopper_hop", "humanoid_stand", "humanoid_walk", "quadruped_walk"]
    assert list(bench.tasks) == [*early, *legged, "cup_catch", "finger_spin", "manipulator_bring_ball"]
    assert (bench.impl, bench.seeds) == ("auto", (0, 1, 2, 3, 4))
    for name, task in bench.tasks.items():
        acting, model = task.make_envs(bench.impl)
        assert acting.env == model.env
        assert task.seeds == (None if name in early else (0, 1, 2))
        assert {solver.clip for solver in bench.make_solver(name, 0).solvers} == {"bounds"}
        if task.published:
            assert 0.8 * task.published[0].score - 5 <= task.threshold <= 1000
    assert [name for name, task in bench.tasks.items() if task.threshold is None] == ["manipulator_bring_ball"]


SHAPED = {
    "cartpole_upright": ("Cartpole", [0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]),
    "hopper_upright": ("Hopper", [0.0] * 14, [0.0, -0.6, 1.2, *[0.0] * 11]),
    "humanoid_upright": ("Humanoid", [0, 0, 1.3, 1, *[0.0] * 51], [0, 0, 0.3, 0.7, 0, 0.7, *[0.0] * 49]),
    "cup_gap": ("BallInCup", [0.0, 0.0, 0.0, 0.35, *[0.0] * 4], [0.0] * 8),
    "finger_slowness": ("Finger", [0.5, 0.5, 0.0, 0, 0, -20], [0.5, 0.5, 0.0, 0, 0, 0]),
    "ball_gap": ("Manipulator", [*[0.0] * 8, 0.1, 0.3, 0, *[0.0] * 11], [*[0.0] * 8, 0.4, 0.0, 0, *[0.0] * 11]),
}


@pytest.mark.parametrize("name", SHAPED)
def test_what_planners_minimise_is_less_near_the_goal(name):
    domain, good, bad = SHAPED[name]
    env = envs_mjx.make(f"swm/{domain}DMControl-v0", **({"task": "spin"} if domain == "Finger" else {}))
    target = {"target": jnp.asarray([0.1, 0.001, 0.3, 1, 0, 0, 0])} if domain == "Manipulator" else {}
    start = env.reset(jax.random.key(0), options={"state": jnp.asarray(good, jnp.float32), **target})
    near = OBJECTIVES[name](start)
    far = OBJECTIVES[name](env.set_state(start, jnp.asarray(bad, jnp.float32)))
    assert far > near + 0.1
    if name in ("cup_gap", "finger_slowness"):
        assert near == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("steps", 0, "steps must be an integer of at least 1, got 0"),
        ("steps", None, "setting 'steps' is missing"),
        ("stps", 3, "unknown setting of settings 'stps'"),
        ("seeds", [0, 0], "seeds must be a list of different integers"),
        ("tasks.cartpole.env", "swm/CartpolDMControl-v0", "tasks.cartpole: .*CartpoleDMControl-v0"),
        ("tasks.cartpole.objective", "height", "unknown objective 'height'.*upright"),
        ("tasks.cartpole.threshold", "high", "threshold must be a number from 0 to 1000, got 'high'"),
        (
            "tasks.cartpole.published",
            [],
            "published must name .* or threshold must be null",
        ),
        ("tasks.cartpole.published", [{"score": 838}], "published: setting 'method' is missing"),
        ("tasks.cartpole.hold", 3, r"tasks.cartpole.hold must divide steps \(4\), got 3"),
        ("tasks.cartpole.plan.receding_horizon", 9, r"receding_horizon \(9\) must not be above"),
        ("tasks.cartpole.solvers", {"cem": {}}, "tasks.cartpole: unknown solver 'cem'"),
        ("solvers.predictive_sampling.num_samples", 0, "tasks.cartpole.solvers.predictive_sampling: .*num_samples"),
        ("solvers.pgd", {}, "unknown solver 'pgd'.*cem"),
        ("solvers.cem", {"num_samples": 40}, "tasks.cartpole: .*must agree in num_samples, got"),
    ],
)
def test_bad_settings_are_refused(tmp_path, place, value, message):
    with pytest.raises(ValueError, match=f"bench.yaml: .*{message}"):
        load_bench(written(tmp_path, changed(place, value)))


def test_unreadable_settings_are_refused(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text("steps: [")
    with pytest.raises(ValueError, match="not readable as YAML"):
        load_bench(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "acrobot"], "--tasks: no 'acrobot' in the file; it has cartpole"),
        (["--steps", "3"], "--steps must be a multiple of tasks.cartpole.hold"),
        (["--config", "nowhere.yaml"], "no config file 'nowhere.yaml'"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, capsys, options, message):
    config = str(written(tmp_path, TINY))
    monkeypatch.setattr(sys, "argv", ["physics.py", "--config", config, *options])
    with pytest.raises(SystemExit):
        physics.main()
    assert message in capsys.readouterr().err


def test_held_actions_add_up_the_rewards():
    env = envs_mjx.make("swm/ReacherDMControl-v0", task="easy")
    held, actions = Held(env, 3), jnp.asarray([[0.5, -0.5], [0.0, 1.0]])
    # Within reach of the target, so that there is a reward.
    options = {"state": jnp.zeros(4), "target": jnp.asarray([0.24, 0.0])}
    start = state = env.reset(jax.random.key(0), options=options)
    totals = []
    for action in actions:
        rewards = []
        for _ in range(3):
            state = env.step(state, action)
            rewards.append(state.reward)
        totals.append(sum(rewards))
    assert totals[0] > 0
    last, (kept, places) = held.rollout(start, actions, lambda after: (after.reward, after.info["qpos"]))
    np.testing.assert_allclose(kept, totals)
    np.testing.assert_array_equal(places[-1], state.info["qpos"])
    np.testing.assert_array_equal(last.info["state"], state.info["state"])
    stepped = held.step(held.step(start, actions[0]), actions[1])
    np.testing.assert_array_equal(stepped.info["state"], state.info["state"])
    assert stepped.reward == last.reward == pytest.approx(totals[1])
    assert held.rollout_bytes == 3 * env.rollout_bytes > 0


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_of_several_solvers_plans_as_if_alone(index):
    solvers = (CEMSolver(8, 2, 3), MPPISolver(8, 2, 3), PredictiveSamplingSolver(8, n_steps=2))

    def distance(actions):
        return jnp.square(actions - 0.3).sum((1, 2))

    def plan(solver):
        return solve(solver, distance, Box(-1.0, 1.0, (2,)), jax.random.key(3), 4)

    alone, among = plan(solvers[index]), jax.jit(lambda index: plan(OneOf(solvers, index)))(index)
    np.testing.assert_allclose(among.actions, alone.actions, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(among.cost, alone.cost, rtol=1e-5)


def test_solvers_of_one_program_need_equal_budgets():
    with pytest.raises(ValueError, match=r"must agree in num_samples, got \[8, 9\]"):
        OneOf((CEMSolver(8, 2, 3), MPPISolver(9, 2, 3)), 0)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Run the tiny settings with some options; what is kept is in the same file."""
    rows, config = tmp_path / "rows.jsonl", str(written(tmp_path, TINY))

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["physics.py", "--config", config, "--rows", str(rows), *options])
        physics.main()
        return list(map(json.loads, rows.read_text().splitlines()))

    return run


def test_a_tiny_run_keeps_its_cells_and_goes_on(tiny, tmp_path, monkeypatch, capsys):
    output = tmp_path / "table.txt"
    (first,) = tiny("--seeds=1")
    assert first["hyperparameters"] == {"num_samples": 4, "clip": "bounds", "noise_scale": 0.2}
    assert (first["seed"], first["diverged"], first["physics"][0]) == (1, False, "c")
    printed = capsys.readouterr()
    assert "1/1 cartpole predictive_sampling seed 1: step 4/4, score" in printed.err
    assert printed.err.count("cartpole: compiling") == 1
    other, again = sorted(tiny("--output", str(output)), key=lambda row: row["seed"])
    assert again == first
    assert other["seed"] == 0
    table = output.read_text()
    low, high = mean_interval([first["score"], other["score"]])
    assert re.search(rf"cartpole │ +predictive_sampling │ +2 │ +\d+ │ +{low:.0f} to +{high:.0f} │ +4 │", table)
    assert "cartpole: 838, someone's (somewhere)" in table
    assert "Physics in c: the device is a CPU" in table

    monkeypatch.setattr(physics, "Program", None)
    assert len(tiny()) == 2
    assert "Not run: cartpole predictive_sampling (1)" in (tiny("--table", "--seeds=0,5"), capsys.readouterr().out)[1]


def test_a_run_that_is_stopped_keeps_what_was_finished(tiny, monkeypatch, capsys, tmp_path):
    class Stopping:
        task = "cartpole"

        def __init__(self, *_):
            pass

        def play(self, solver, seed, label):
            if seed:
                raise KeyboardInterrupt
            return self

        def figures(self):
            return {"score": 1.0}

    monkeypatch.setattr(physics, "Program", Stopping)
    with pytest.raises(SystemExit) as stopped:
        tiny()
    assert stopped.value.code == 130
    assert f"interrupted: 1 of 2 cells are kept in {tmp_path / 'rows.jsonl'}" in capsys.readouterr().err
    assert [json.loads(line)["seed"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == [0]


def test_a_damaged_file_of_cells_is_refused(tiny, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(SystemExit):
        tiny()
    assert "line 1: not a finished cell of this benchmark" in capsys.readouterr().err
    assert (tmp_path / "rows.jsonl").read_text() == '{"id": "a"}\n'


@pytest.mark.slow
def test_pictures(tiny, tmp_path):
    try:
        tiny("--pictures", str(tmp_path / "pictures"))
    except Exception as error:
        if "needs OpenGL" in str(error):
            pytest.skip("no OpenGL on this machine")
        raise
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["cartpole.mp4", "sheet.png"]
    sheet = imageio.imread(tmp_path / "pictures" / "sheet.png")
    assert sheet.std() > 10
