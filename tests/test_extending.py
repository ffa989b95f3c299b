"""One file and one registry line: a toy of each kind, registered and used (models: checkpoints/torch/test_families)."""

import dataclasses
import re
import sys
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, registered, unchecked_types
from toy_solver import ForwardSolver
from typer.testing import CliRunner

import envs_mjx
from envs_mjx import plugins, registry
from swmjax.cli import app as program
from swmjax.cli import console
from swmjax.planning import make_solver
from swmjax.planning.solvers import SOLVERS
from swmjax.policies import POLICIES, PlanConfig, RandomPolicy, Start, make_policy
from swmjax.world import EvalConfig, RunFolder, evaluate, set_up
from swmjax.world.protocols import PROTOCOLS, Protocol
from swmjax.world.rows import EPISODES

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


# What would be `world/protocols/line.py`.


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Line(Protocol):
    """Episodes that start at 0 and aim at a distance that grows with their number."""

    options = ("spacing",)

    spacing: float

    @classmethod
    def make(cls, seed, **options):
        return cls(np.asarray(seed, np.int32), **options)

    def start(self, env, rows):
        def one(row):
            state = env.set_state(self.fresh(env, self.seed + row), jnp.zeros(1))
            goal = self.spacing * (1.0 + row)[None]
            return env.set_goal(state, goal), env.set_goal(env.set_state(state, goal), goal)

        states, goals = jax.vmap(one)(rows)
        return Start(states=states, seeds=self.seed + rows, goals=goals)


def test_a_solver_and_a_protocol(monkeypatch, tmp_path):
    monkeypatch.setitem(SOLVERS, "forward", ForwardSolver)
    monkeypatch.setitem(PROTOCOLS, "line", Line)
    with registered() as env:
        config = EvalConfig(
            env=env,
            model="oracle",
            env_options={"gain": 0.25},
            solver={"name": "forward", "pace": "0.5"},
            protocol={"name": "line", "spacing": 0.25},
            plan=PlanConfig(1, 1, 1),
            episodes=4,
            budget=6,
            video_episodes=0,
        )
        assert EvalConfig.from_dict(config.to_dict()) == config
        evaluate(config, set_up(config), RunFolder(tmp_path))
        for changes, message in (
            ({"protocol": {"name": "lien"}}, "unknown protocol 'lien'; did you mean 'line'"),
            ({"protocol": {"name": "line", "space": 1}}, "unknown option of protocol 'line' 'space'"),
            ({"protocol": "line"}, "protocol must be a mapping with a name, got 'line'"),
        ):
            with unchecked_types(), pytest.raises(ValueError, match=message):
                dataclasses.replace(config, **changes)
    rows = EPISODES.read(tmp_path)
    # Goals at 0.25, 0.5, ...; steps of 0.125, and a goal is reached from less than 0.1 away.
    assert [row["goal"] for row in rows] == [[0.25], [0.5], [0.75], [1.0]]
    assert [(row["success"], row["steps"]) for row in rows] == [(True, 2), (True, 4), (True, 6), (False, 6)]
    listing = CliRunner().invoke(program.app, ["solvers"]).stdout
    assert re.search(r"forward.*Go on by the same amount.*nobody 2026", listing)


def test_an_environment(monkeypatch):
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    envs_mjx.register("test/Extended-v0", "goal_env:GoalEnv", gain=0.5)
    assert envs_mjx.make("test/Extended-v0") == GoalEnv(gain=0.5)
    assert "test/Extended-v0" in CliRunner().invoke(program.app, ["envs"]).stdout
    with gymnasium.make("test/Extended-v0", disable_env_checker=True) as env:
        env.reset(seed=1)
        observation, *_ = env.step(np.ones(1, np.float32))
    assert observation["x"].shape == (1,)
    del gymnasium.registry["test/Extended-v0"]


def test_a_command(monkeypatch):
    module = types.ModuleType("swmjax.cli.greet")

    def greet(name: str) -> None:
        """Say hello."""
        print(f"hello {name}")

    module.greet_command = console.command(greet)
    monkeypatch.setitem(sys.modules, "swmjax.cli.greet", module)
    monkeypatch.setitem(program.COMMANDS, "greet", "greet:greet_command")
    run = CliRunner().invoke
    assert run(program.make_app(), ["greet", "you"]).stdout == "hello you\n"
    assert "Say hello" in run(program.make_app(), ["--help"]).stdout


def test_the_page_names_files_that_exist_and_its_examples_run(tmp_path, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    root = PAGE.parents[1]
    for path in re.findall(r"`((?:swmjax|envs_mjx|tests)/[\w/]+\.py)`", text):
        if "NAME" not in path:
            assert (root / path).is_file(), path
    package, loop = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(loop, names)
    assert names["played"].kept.shape == (51, 8)
    assert package.count("\n") <= 10
    (tmp_path / "my_robots.py").write_text(package)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    try:
        env = envs_mjx.make("my_robots:SmallPushT-v0")
        assert env.resolution == 64
        assert make_solver("plain") == SOLVERS["cem"]()
        assert make_policy("wander", env) == RandomPolicy.of(env.action_space)
    finally:
        SOLVERS.pop("plain", None)
        POLICIES.pop("wander", None)
        gymnasium.registry.pop("mine/SmallPushT-v0", None)
        sys.modules.pop("my_robots", None)
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert tomllib.loads(table) == {"project": {"entry-points": {plugins.GROUP: {"my_robots": "my_robots"}}}}
