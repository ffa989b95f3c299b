"""What users bring is known to the commands, and is imported only where the user or an installed package names it."""

import dataclasses
import json
import re
import subprocess
import sys

import gymnasium
import pytest
from command_line import Command
from goal_env import GoalEnv
from omegaconf import OmegaConf

import envs_mjx
from envs_mjx import plugins, registry
from envs_mjx.checks import UserError
from swmjax import policies
from swmjax.checkpoints import own_models
from swmjax.planning import Solver, make_solver, register_solver, solver_class
from swmjax.planning.solvers import SOLVERS
from swmjax.policies import POLICIES, RandomPolicy, make_policy, register_policy
from swmjax.training import ExpertConfig
from swmjax.world import EvalConfig

PACKAGE = '''
"""A package of a user; it leaves a trace when it is imported."""

from dataclasses import dataclass
from pathlib import Path

from flax import nnx
from toy_solver import ForwardSolver

import envs_mjx
from swmjax.checkpoints import register_model
from swmjax.planning import register_solver
from swmjax.policies import RandomPolicy, register_policy

Path(__file__).with_name("imported").touch()
envs_mjx.register("mine/Planted-v0", "goal_env:GoalEnv", gain=0.5)


@dataclass(frozen=True)
class Forward(ForwardSolver):
    """Go on by the same amount.

    Source: nobody 2026.
    """


class Melting:
    """No solver."""


@register_model
class Net(nnx.Module):
    def __init__(self, *, rngs):
        pass


def wander(env):
    return RandomPolicy.of(env.action_space)


def register():
    register_solver("forward", Forward)
    register_policy("wander", wander)
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package beside the current folder, which an import would find."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    (home / "planted_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(home)
    monkeypatch.chdir(here)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr(own_models, "_REGISTERED", {})
    kept = dict(SOLVERS), dict(POLICIES), dict(gymnasium.registry)
    plugins.load.cache_clear()
    yield home
    sys.modules.pop("planted_package", None)
    plugins.load.cache_clear()
    for live, before in zip((SOLVERS, POLICIES, gymnasium.registry), kept, strict=True):
        live.clear()
        live.update(before)


def installed(home, *lines):
    """Metadata of an installed package with these entry points."""
    info = home / "planted_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join((f"[{plugins.GROUP}]", *lines, "")))


def settings(file, **changes):
    """Settings of a small evaluation, in a file."""
    values = {
        "env": "swm/TwoRoom-v1",
        "model": "oracle",
        "plan": {"horizon": 1, "receding_horizon": 1, "action_block": 1},
        "solver": {"name": "planted_package:Forward", "pace": 0.5},
        "episodes": 1,
        "goal_offset": 1,
        "budget": 2,
        "video_episodes": 0,
    }
    file.parent.mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create(values | changes), file)
    return file


ALLOW = "nothing is imported because a file names it; allow it with --allow-module planted_package"


def test_a_name_in_a_file_imports_nothing(package):
    trace = package / "imported"
    (package.parent / "here" / "planted_package.py").write_text(PACKAGE)
    eval_, train = Command("eval"), Command("train-expert")
    file = settings(package / "a.yaml")
    assert f"solver.name is 'planted_package:Forward', and {ALLOW}" in eval_.refused("--config", file)
    run = settings(package / "run" / "config.yaml", env="planted_package:Planted-v0", solver={"name": "cem"}).parent
    assert f"env is 'planted_package:Planted-v0', and {ALLOW}" in eval_.refused("--resume", run)
    expert = package / "expert" / "config.yaml"
    expert.parent.mkdir()
    expert.write_text("env: planted_package:mine/Planted-v0\nsteps: 100\n")
    for arguments in (["--config", expert], ["--resume", expert.parent]):
        assert f"env is 'planted_package:mine/Planted-v0', and {ALLOW}" in train.refused(*arguments)
    for kind, values in (
        (EvalConfig, {"env": "planted_package:Planted-v0", "model": "oracle"}),
        (EvalConfig, {"env": "swm/PushT-v1", "model": "oracle", "solver": {"name": "planted_package:Forward"}}),
        (ExpertConfig, {"env": "planted_package:Planted-v0"}),
    ):
        with pytest.raises(UserError, match=f"{ALLOW}, or import it before in Python"):
            kind.from_dict(values)
    assert not trace.exists()
    assert "planted_package" not in sys.modules
    # An option in the place of the file's name, of another module, allows no more.
    assert f"env is 'planted_package:Planted-v0', and {ALLOW}" in eval_.refused("--resume", run, "--allow-module=json")
    assert not trace.exists()


def test_the_planted_module_of_the_current_folder_stays_untouched(package, monkeypatch):
    """In a process that would find it: `python -c` looks into the current folder first."""
    here = package.parent / "here"
    (here / "planted_package.py").write_text(PACKAGE)
    settings(here / "a.yaml", env="planted_package:Planted-v0")
    installed(here, "planted = planted_package:register")
    call = [sys.executable, "-c", "from swmjax.cli.app import main; main()", "eval", "--config", "a.yaml"]
    refused = subprocess.run(call, cwd=here, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert ALLOW in refused.stderr
    # What lies in the current folder is no installed package either.
    monkeypatch.syspath_prepend(here)
    with pytest.raises(UserError, match="unknown environment 'swm/Planted'"):
        envs_mjx.spec("Planted")
    assert not (here / "imported").exists()
    assert envs_mjx.make("planted_package:Planted").gain == 0.5
    assert (here / "imported").exists()


def test_an_evaluation_with_a_solver_and_an_environment_of_ones_own(package):
    command = Command("eval")
    file = settings(package / "a.yaml")
    named = "planted_package:Planted-v0"
    found = json.loads(command.run(named, "--config", file, "--output", "run", "--json").stdout)
    assert found["env"] == "planted_package:mine/Planted-v0"
    written = OmegaConf.load("run/config.yaml")
    assert (written.env, written.solver.name) == ("planted_package:mine/Planted-v0", "planted_package:Forward")
    # Another day: the run's own settings name the module, and need the option.
    del sys.modules["planted_package"]
    registry._SPECS.pop("mine/Planted-v0")
    assert "solver.name is 'planted_package:Forward'" in command.refused("--config", file)
    for refused, arguments in (
        (f"env is 'planted_package:mine/Planted-v0', and {ALLOW}", ["--config", "run/config.yaml"]),
        ("this run is complete", ["--resume", "run", "--allow-module", "planted_package"]),
    ):
        assert refused in command.refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere:Thing-v0"],
            "module 'nowhere' of environment 'nowhere:Thing-v0' cannot be imported: No module named",
        ),
        (["json:Thing-v0"], "module 'json' is imported, but: unknown environment 'swm/Thing-v0'"),
        (["--solver=planted_package:Annealing"], "solver 'planted_package:Annealing': module .* has no 'Annealing'"),
        (["--solver=planted_package:Melting"], "solver 'planted_package:Melting' must be a class under swmjax.plan"),
        (["--set=solver.name=nowhere:Thing"], "module 'nowhere' of solver.name 'nowhere:Thing' cannot be imported"),
        (["--allow-module=nowhere"], "module 'nowhere' of --allow-module cannot be imported"),
        (["--solver=hidden:Thing"], r"No module named 'hidden'; PYTHONPATH=. lets modules of the current folder be"),
    ],
)
def test_names_that_cannot_be_are_refused(arguments, message, package):
    (package.parent / "here" / "hidden.py").touch()
    line = Command("eval").refused(*arguments)
    assert re.search(message, line), line


def test_a_collection_by_a_policy_of_ones_own(package):
    pytest.importorskip("lance")
    arguments = ["planted_package:Planted-v0", "--no-pixels", "--episodes=1", "--max-steps=3", "--output=a.lance"]
    collect = Command("collect")
    for policy, message in (
        ("planted_package:register", "planted_package:register' must be a class or a function that takes an env"),
        ("planted_package:Forward", "planted_package:Forward' gives a Forward, it must be a swmjax.policies.Policy"),
        ("wandr", "unknown policy 'wandr'; did you mean 'random'?; a run folder of `swmjax train-expert` will do"),
    ):
        line = collect.refused(*arguments, "--policy", policy)
        assert line.startswith("error: --policy: ")
        assert message in line
    result = collect.run(*arguments, "--policy=planted_package:wander")
    assert "1 episodes of planted_package:mine/Planted-v0 written to a.lance" in result.stdout


def test_installed_packages_bring_everything_by_name(package):
    installed(package, "planted = planted_package:register", "broken = no_such_package")
    listing = Command("envs").run()
    assert "mine/Planted-v0" in listing.stdout
    note = "entry point broken = no_such_package of swmjax.plugins failed: ModuleNotFoundError: No module named"
    assert listing.stderr.startswith(f"note: {note}")
    listed = {row["solver"]: row for row in json.loads(Command("solvers").run("--json").stdout)}
    assert listed["forward"]["import"] == "from planted_package import Forward"
    assert listed["cem"]["import"] == "from swmjax.planning import CEMSolver"
    assert "planted_package:Forward" in Command("solvers").run().stdout
    config = EvalConfig.from_dict({"env": "Planted", "model": "oracle", "solver": {"name": "forward", "pace": 2.0}})
    assert config.env == "mine/Planted-v0"
    assert config.make_solver().pace == 2.0
    env = envs_mjx.make("mine/Planted-v0")
    assert make_policy("wander", env) == RandomPolicy.of(env.action_space)
    assert own_models.registered("planted_package.Net") is not None
    with pytest.raises(UserError, match=f"unknown environment 'mine/Plan'; did you mean 'mine/Planted-v0'.*; {note}"):
        envs_mjx.make("mine/Plan")
    with pytest.raises(UserError, match=f"unknown solver 'annealing'; known: .*forward.*; {note}"):
        make_solver("annealing")


def test_names_are_looked_up_in_installed_packages_only_where_nothing_is_known(package):
    installed(package, "planted = planted_package:register")
    for name in ("swm/PushT-v1", "PushT", "brax/Hopper-v1"):
        envs_mjx.full_id(name)
    make_solver("cem")
    make_policy("random", GoalEnv())
    assert not (package / "imported").exists()
    assert solver_class("forward").__module__ == "planted_package"
    assert (package / "imported").exists()


@pytest.mark.usefixtures("package")
def test_what_is_registered_is_checked():
    class Unfrozen(SOLVERS["cem"]):
        pass

    for name, solver, message in (
        ("cem", SOLVERS["icem"], "solver 'cem' is already registered \\(as CEMSolver\\)"),
        ("mine", Solver, "must be a class under swmjax.planning.Solver with all its methods"),
        ("mine", Unfrozen, "Unfrozen must be a frozen dataclass"),
    ):
        with pytest.raises(UserError, match=message):
            register_solver(name, solver)
    register_solver("cem", SOLVERS["cem"])
    with pytest.raises(UserError, match="policy 'random' is already registered"):
        register_policy("random", RandomPolicy.of)
    register_policy("nothing", lambda env: None)
    with pytest.raises(UserError, match="policy 'nothing' gives a NoneType"):
        make_policy("nothing", GoalEnv())
    assert set(policies.__all__) >= {"POLICIES", "make_policy", "register_policy"}
    assert dataclasses.is_dataclass(SOLVERS["cem"])
