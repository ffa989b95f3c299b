"""The benchmark of planning through MJX physics: settings are checked before any compute, rows are kept."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from omegaconf import OmegaConf

from swmjax.planning import CEMSolver, MPPISolver, PredictiveSamplingSolver, solve

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# For these imports alone: the folder has modules of the same names as folders of tests.
sys.path.insert(0, str(BENCHMARKS))
try:
    import mjx_planning
    from mjx_parts import Held, OneOf
    from mjx_tasks import load_bench
finally:
    sys.path.remove(str(BENCHMARKS))

PRESET = Path(__file__).parents[2] / "configs" / "bench" / "mjx.yaml"
TINY = {
    "steps": 4,
    "chunk": 2,
    "seeds": [0, 1],
    "tasks": {
        "pendulum": {
            "env": "swm/PendulumDMControl-v0",
            "objective": "pendulum_upright",
            "threshold": 4.0,
            "published": [{"score": 838, "method": "someone's", "source": "somewhere"}],
            "hold": 2,
            "plan": {"horizon": 3, "action_block": 1, "receding_horizon": 1},
            "solvers": {"predictive_sampling": {"noise_scale": 0.2}},
        }
    },
    "solvers": {"predictive_sampling": {"num_samples": 4, "clip": "bounds"}},
}


@chex.dataclass(frozen=True)
class Rewarded:
    """The part of a state that `Held` looks at."""

    reward: Any


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


def test_the_preset_has_five_tasks_and_four_solvers():
    bench = load_bench(PRESET)
    assert list(bench.solvers) == ["cem", "icem", "mppi", "predictive_sampling"]
    assert list(bench.tasks) == ["cartpole", "pendulum", "reacher", "walker", "cheetah"]
    for name, task in bench.tasks.items():
        task.make_envs()
        assert 0.8 * task.published[0].score - 5 <= task.threshold <= 1000
        assert {solver.clip for solver in bench.make_solver(name, 0).solvers} == {"bounds"}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("steps", 0, "steps must be an integer of at least 1, got 0"),
        ("steps", None, "setting 'steps' is missing"),
        ("stps", 3, "unknown setting of settings 'stps'"),
        ("seeds", [0, 0], "seeds must be a list of different integers"),
        ("tasks.pendulum.env", "swm/PendulmDMControl-v0", "tasks.pendulum: .*PendulumDMControl-v0"),
        ("tasks.pendulum.objective", "height", "unknown objective 'height'.*pendulum_upright"),
        ("tasks.pendulum.threshold", "high", "threshold must be a number from 0 to 1000, got 'high'"),
        ("tasks.pendulum.published", [], "published must name at least one score"),
        ("tasks.pendulum.published", [{"score": 838}], "published: setting 'method' is missing"),
        ("tasks.pendulum.hold", 3, r"tasks.pendulum.hold must divide steps \(4\), got 3"),
        ("tasks.pendulum.plan.receding_horizon", 9, r"receding_horizon \(9\) must not be above"),
        ("tasks.pendulum.solvers", {"cem": {}}, "tasks.pendulum: unknown solver 'cem'"),
        ("solvers.predictive_sampling.num_samples", 0, "tasks.pendulum.solvers.predictive_sampling: .*num_samples"),
        ("solvers.pgd", {}, "unknown solver 'pgd'.*cem"),
        ("solvers.cem", {"num_samples": 40}, "tasks.pendulum: .*must agree in num_samples, got"),
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
        (["--tasks", "acrobot"], "--tasks: no 'acrobot' in the file; it has pendulum"),
        (["--steps", "3"], "--steps must be a multiple of tasks.pendulum.hold"),
        (["--config", "nowhere.yaml"], "no config file 'nowhere.yaml'"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, capsys, options, message):
    config = str(written(tmp_path, TINY))
    monkeypatch.setattr(sys, "argv", ["mjx_planning.py", "--config", config, *options])
    with pytest.raises(SystemExit):
        mjx_planning.main()
    assert message in capsys.readouterr().err


def test_held_actions_add_up_the_rewards():
    class Counter:
        def step(self, state, action):
            return state.replace(reward=state.reward + action[0])

    after = Held(Counter(), 3).step(Rewarded(reward=jnp.asarray(1.0)), jnp.asarray([2.0]))
    assert after.reward == 3 + 5 + 7


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


@pytest.mark.slow
def test_a_tiny_run_prints_its_table_and_is_not_done_twice(tmp_path, monkeypatch, capsys):
    rows, output = tmp_path / "rows.jsonl", tmp_path / "table.txt"
    config = str(written(tmp_path, TINY))
    options = ["--config", config, "--rows", str(rows), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["mjx_planning.py", *options])
    mjx_planning.main()
    first = capsys.readouterr()
    assert "1/1 pendulum predictive_sampling: step 4/4, score" in first.err
    (row,) = map(json.loads, rows.read_text().splitlines())
    assert row["hyperparameters"] == {"num_samples": 4, "clip": "bounds", "noise_scale": 0.2}
    assert len(row["scores"]) == len(row["costs"]) == 2
    assert row["diverged"] == 0
    assert "pendulum: 838, someone's (somewhere)" in output.read_text()

    monkeypatch.setattr(mjx_planning, "Program", None)
    mjx_planning.main()
    assert capsys.readouterr().out.splitlines()[:6] == first.out.splitlines()[:6]
