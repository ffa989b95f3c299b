"""Settings of evaluations: presets, the order of overrides, and mistakes that are named before anything runs."""

import dataclasses
from dataclasses import dataclass

import pytest
from goal_env import unchecked_types
from omegaconf import OmegaConf

from swmjax.planning import SOLVERS, CEMSolver, Solver
from swmjax.policies import PlanConfig
from swmjax.runs.paths import configs_dir
from swmjax.world import EvalConfig, RunFolder, load_settings

BASE = {"env": "swm/PushT-v1", "model": "oracle"}


@pytest.fixture(autouse=True)
def as_users():
    with unchecked_types():
        yield


@dataclass(frozen=True)
class OtherSolver(Solver):
    """A solver with options of its own."""

    n_steps: int = 3
    width: float = 0.5

    def init(self, key, space, horizon, warm_start=None, carry=None):
        raise NotImplementedError

    def step(self, state, scorer):
        raise NotImplementedError

    def finish(self, state, scorer):
        raise NotImplementedError


@pytest.fixture
def other_solver(monkeypatch):
    monkeypatch.setitem(SOLVERS, "other", OtherSolver)


def preset(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_main_job():
    config = load_settings()
    assert (config.env, config.model, config.episodes, config.budget, config.goal_offset) == (
        "swm/PushT-v1", "oracle", 20, 50, 25,
    )  # fmt: skip
    assert isinstance(config.make_solver(), CEMSolver)


def test_the_model_preset_plans_as_the_reference():
    config = load_settings("PushT-v1", "somewhere/lewm")
    assert (config.env, config.model) == ("swm/PushT-v1", "somewhere/lewm")
    assert config.make_solver() == CEMSolver(num_samples=300, n_steps=30, topk=30, var_scale=1.0, clip="none")
    assert config.plan == PlanConfig(5, 5, 5, True)


@pytest.mark.parametrize("path", sorted(configs_dir().glob("eval/*.yaml")), ids=lambda path: path.stem)
def test_every_preset_loads(path):
    env = "swm/Any-v0" if path.stem.partition("_")[0] in ("goals", "rewards") else None
    config = load_settings(env, "a-model" if path.stem.endswith("_model") else None, path)
    assert load_settings(env, config.model, f"eval/{path.name}") == config


@pytest.mark.parametrize(
    ("env", "model", "protocol", "solver"),
    [
        ("swm/Piecewise-v0", None, "drawn", "cem"),
        ("swm/Piecewise-v0", "mine", "drawn", "cem"),
        ("swm/VoidRun-v0", None, "drawn", "categorical_cem"),
        ("swm/PushT-Discrete-v1", None, "drawn", "categorical_cem"),
        ("swm/PendulumControl-v1", None, "episodic", "predictive_sampling"),
        ("swm/MountainCarContinuousControl-v0", "mine", "episodic", "mppi"),
        ("swm/AcrobotControl-v1", None, "episodic", "categorical_cem"),
        ("swm/ReacherDMControl-v0", None, "episodic", "predictive_sampling"),
    ],
)
def test_environments_without_a_preset_get_one_for_what_they_offer(env, model, protocol, solver):
    config = load_settings(env, model)
    assert (config.env, config.protocol_name, config.solver["name"]) == (env, protocol, solver)
    if env == "swm/ReacherDMControl-v0":
        config = load_settings(env, assignments=["env_options.task=qpos_match"])
        assert (config.protocol_name, config.env_options) == ("drawn", {"task": "qpos_match"})


def test_an_evaluation_of_the_reference_is_recognised(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    file = preset(
        tmp_path,
        "solver:\n  _target_: stable_worldmodel.solver.CEMSolver\n  seed: ${oc.env:WANDB_API_KEY}\nworld:\n"
        "  env_name: swm/TwoRoom-v1\nseed: 42\nplan_config: {horizon: 5}\neval: {num_eval: 50, dataset_name: rooms}\n",
    )
    with pytest.raises(ValueError, match="is an evaluation file of stable-worldmodel") as caught:
        load_settings(file=file)
    for part in ("world.env_name (env)", "plan_config (plan)", "eval.num_eval (episodes)", "--problems"):
        assert part in str(caught.value)
    assert "policy" not in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_interpolations_are_never_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    file = preset(tmp_path, "env: swm/PushT-v1\nmodel: oracle\n")
    for assignment in ("model=${oc.env:WANDB_API_KEY}", "env_options={a: [1, '${seed}']}"):
        with pytest.raises(ValueError, match="is '[$]{.*}', an interpolation, which is never evaluated") as caught:
            load_settings(file=file, assignments=[assignment])
        assert "a-secret" not in str(caught.value)


def test_options_win_over_the_preset_and_assignments_over_options(tmp_path):
    file = preset(tmp_path, "env: swm/PushT-v1\nmodel: oracle\nseed: 1\nepisodes: 1\nbudget: 30\n")
    options = {"episodes": 2, "budget": 40, "seed": None}
    config = load_settings(None, None, file, options, ["budget=50", "plan.horizon=6", "plan.receding_horizon=1"])
    assert (config.seed, config.episodes, config.budget) == (1, 2, 50)
    assert config.plan == PlanConfig(6, 1, 5)
    assert load_settings("swm/PushT-v1", "mine", file).model == "mine"


def test_assignments_make_what_is_not_there(tmp_path):
    file = preset(tmp_path, "env: swm/PushT-v1\nmodel: oracle\nsolver:\nplan: {horizon: 5}\n")
    config = load_settings(file=file, assignments=["solver.name=cem", "env_options.resolution=96", "solver.topk=7"])
    assert config.env_options == {"resolution": 96}
    assert config.solver == {"name": "cem", "topk": 7}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("solver.var_scale=0.25", "solver", 0.25),
        ("env_options={resolution: 64, relative: false}", "env_options", {"resolution": 64, "relative": False}),
        ("action_stats=a=b.json", "action_stats", "a=b.json"),
        ("action_stats=null", "action_stats", None),
        ("model='007'", "model", "007"),
        ("model=~/runs/a b", "model", "~/runs/a b"),
        ("plan_batch_size=null", "plan_batch_size", None),
    ],
)
def test_assigned_values_are_yaml(text, name, value):
    found = getattr(load_settings(assignments=[text]), name)
    assert (found["var_scale"] if name == "solver" else found) == value


@pytest.mark.usefixtures("other_solver")
def test_another_solver_drops_the_options_of_the_one_before():
    assert load_settings(overrides={"solver.name": "other"}).solver == {"name": "other"}
    assert load_settings(overrides={"solver.name": "cem"}).solver == load_settings().solver
    assigned = ["solver.num_samples=5", "solver.name=other", "solver.width=2"]
    assert load_settings(assignments=assigned).make_solver() == OtherSolver(width=2.0)
    with pytest.raises(ValueError, match="solver 'other' has no option 'num_samples'"):
        load_settings(overrides={"solver.name": "other"}, assignments=["solver.num_samples=5"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overrides": {"episodse": 2}}, "unknown setting 'episodse'; did you mean 'episodes'"),
        ({"assignments": ["plan.horzion=2"]}, "unknown setting 'plan.horzion'; did you mean 'plan.horizon'"),
        ({"overrides": {"solver.name": "cme"}}, "unknown solver 'cme'; did you mean 'cem'"),
        ({"assignments": ["solver.nsamples=3"]}, "solver 'cem' has no option 'nsamples'; did you mean 'num_samples'"),
        ({"env": "PushTT-v1"}, "unknown environment 'swm/PushTT-v1'; did you mean 'swm/PushT-v1'"),
        ({"env": "somewhere/Else-v0"}, "unknown environment 'somewhere/Else-v0'; (did you mean|known are) "),
    ],
)
def test_unknown_names_offer_the_nearest(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_settings(**arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episodes=0", "episodes must be an integer of at least 1, got 0"),
        ("episodes=1e3", "episodes must be an integer of at least 1, got 1000.0"),
        ("episodes=", "episodes must be an integer of at least 1, got None"),
        ("seed=-1", "seed must be an integer of at least 0, got -1"),
        ("seed=2147483640", r"seed \+ episodes must be at most 2\*\*31, got 2147483640 \+ 20"),
        ("goal_offset=yes", "goal_offset must be an integer of at least 1, got True"),
        ("batch_size=[1]", r"batch_size must be an integer of at least 1, got \[1\]"),
        ("plan_batch_size=0", "plan_batch_size must be an integer of at least 1, got 0"),
        ("video_episodes=-1", "video_episodes must be an integer of at least 0, got -1"),
        ("budget=24", r"plan.horizon x plan.action_block \(5 x 5\) must not be above the budget of 24 steps"),
        ("plan.action_block=11", r"\(5 x 11\) must not be above the budget of 50"),
        ("plan.horizon=3", r"plan.receding_horizon \(5\) must not be above plan.horizon \(3\)"),
        ("plan.horizon=x", "plan.horizon must be a positive integer, got 'x'"),
        ("plan.warm_start=maybe", "plan.warm_start must be true or false, got 'maybe'"),
        ("plan=7", "plan must be a mapping, got 7"),
        ("solver=cem", "solver must be a mapping with a name, got 'cem'"),
        ("solver={topk: 3}", "solver must be a mapping with a name"),
        ("solver={name: cem, 1: 2}", "solver 'cem' has no option '1'"),
        ("solver.topk=500", r"topk must be at most num_samples \(200\), got 500"),
        ("solver.num_samples=lots", "solver.num_samples must be an integer, got 'lots'"),
        ("solver.num_samples={a: 1}", "solver.num_samples must be an integer, got {'a': 1}"),
        ("model=", "model: give 'oracle' or a checkpoint .--model., got None"),
        ("model=''", "model: give 'oracle' or a checkpoint .--model., got ''"),
        ("model=5", "model: give 'oracle' or a checkpoint .--model., got 5"),
        ("env=5", "env must be the id of an environment, got 5"),
        ("env_options=5", "env_options must be a mapping of names to values, got 5"),
        ("env_options={5: 6}", "env_options must be a mapping of names to values, got {5: 6}"),
        ("action_stats=5", "action_stats must be the path of a JSON file, got 5"),
        ("seed.deeper=1", "seed.deeper: 'seed' is no group of settings"),
        ("plan.horizon.deeper=1", "plan.horizon.deeper: 'horizon' is no group of settings"),
    ],
)
def test_values_out_of_range(text, message):
    with pytest.raises(ValueError, match=message):
        load_settings(assignments=[text])


@pytest.mark.parametrize(
    "text", ["", "seed", "=3", "seed =3", "solver..topk=3", "3d=1", "solver.=3", "a-b=1", "sølver*=1"]
)
def test_assignments_that_are_none(text):
    with pytest.raises(ValueError, match="must read NAME=VALUE, for example solver.num_samples=1000") as caught:
        load_settings(assignments=[text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "value", ["[1, 2", "{a: 1", "a: b", "'", "${", "!!python/object/apply:os.getcwd []", "\x00", "@"]
)
def test_assigned_values_that_are_no_yaml(value):
    with pytest.raises(ValueError, match="is not a value in YAML"):
        load_settings(assignments=[f"model={value}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not readable as YAML"),
        ("\x00", "not readable as YAML"),
        ("a: 1\na: 2\n", "not readable as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("- env\n- model\n", "expected a mapping of settings"),
        ("5", "(not readable as YAML|expected a mapping of settings)"),
        ("", "setting 'env' is missing"),
        ("env: swm/PushT-v1\n", "setting 'model' is missing"),
        ("hello", "unknown setting 'hello'"),
        ("1: 2\n", "unknown setting '1'"),
        ("env:\nmodel: oracle\n", "env must be the id of an environment, got None"),
        ("env: swm/PushT-v1\nmodel: oracle\nplan: [1]\n", r"plan must be a mapping, got \[1\]"),
        ("env: swm/PushT-v1\nmodel: oracle\nplan: {1: 2}\n", "unknown setting 'plan.1'"),
        ("env: swm/PushT-v1\nmodel: oracle\nseed: ${oc.env:HOME}\n", "setting 'seed' is '[$]{oc.env:HOME}', an inter"),
    ],
)
def test_files_that_are_no_settings(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_settings(file=preset(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_files(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml", "eval/none.yaml"):
        with pytest.raises(ValueError, match="no config file .*shipped presets: .*eval/pusht.yaml"):
            load_settings(file=path)
    (tmp_path / "latin.yaml").write_bytes(b"env: caf\xe9\n")
    with pytest.raises(ValueError, match="latin.yaml: not readable as YAML"):
        load_settings(file=tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "config",
    [
        EvalConfig(**BASE),
        EvalConfig(
            env="PushT-v1",
            model="~/run: 1",
            env_options={"resolution": 64},
            action_stats="null",
            solver={"name": "cem", "var_scale": 1, "clip": "none"},
            plan=PlanConfig(2, 1, 3, False),
            seed=2**31 - 20,
            plan_batch_size=None,
            video_episodes=0,
        ),
    ],
)
def test_a_config_comes_back_from_its_file(tmp_path, config):
    RunFolder(tmp_path).write_config(config.to_dict())
    assert EvalConfig.from_dict(RunFolder(tmp_path).read_config()) == config
    assert load_settings(file=tmp_path / "config.yaml") == config
    names = {field.name for field in dataclasses.fields(EvalConfig)}
    assert set(OmegaConf.load(tmp_path / "config.yaml")) == names | {"format"}
