"""Settings of trainings: presets, overrides, and messages for mistakes."""

import pytest
from goal_env import unchecked_types

import envs_mjx
from swmjax.runs.paths import configs_dir
from swmjax.runs.settings import read_settings
from swmjax.training import ExpertConfig, load_expert_settings


@pytest.mark.parametrize("path", sorted((configs_dir() / "expert").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_presets_are_valid(path):
    config = ExpertConfig.from_dict(read_settings(path) | {"env": "swm/PendulumDMControl-v0"})
    assert config.make_algorithm().name == "sac"


@pytest.mark.parametrize(
    ("env", "preset"),
    [
        ("swm/CartpoleDMControl-v0", "cartpole"),
        ("PendulumControl-v1", "pendulum"),
        ("swm/BallInCupDMControl-v0", "default"),
    ],
)
def test_the_preset_of_a_domain_is_found(env, preset):
    expected = read_settings(configs_dir() / "expert" / f"{preset}.yaml")
    config = load_expert_settings(env)
    assert config.env == envs_mjx.full_id(env)
    assert {name: getattr(config, name) for name in expected} == expected


def test_options_and_assignments_win_over_the_preset():
    changes = {"env_options.task": "easy", "algorithm.name": "ppo", "steps": None}
    texts = ["algorithm.hidden=[32,32]", "seed=3", "variation=[agent]"]
    config = load_expert_settings("ReacherDMControl-v0", None, changes, texts)
    assert config.env_options == {"task": "easy"}
    assert config.algorithm == {"name": "ppo", "hidden": [32, 32]}
    assert config.make_algorithm().hidden == (32, 32)
    assert (config.seed, config.variation, config.steps) == (3, ("agent",), 200_000)


@pytest.mark.parametrize(
    ("env", "texts", "message"),
    [
        (None, [], "give the id of an environment"),
        ("PendulmControl-v1", [], "did you mean 'swm/PendulumControl-v1'"),
        ("PendulumControl-v1", ["algorithm.name=sack"], "unknown algorithm 'sack'; did you mean 'sac'?"),
        ("PendulumControl-v1", ["algorithm.lerning_rate=1"], "did you mean 'learning_rate'?"),
        ("PendulumControl-v1", ["stepps=1"], "unknown setting 'stepps'; did you mean 'steps'?"),
        ("PendulumControl-v1", ["steps=0"], "steps must be an integer of at least 1, got 0"),
        ("PendulumControl-v1", ["steps=3000000000"], "steps must be below 2**31, got 3000000000"),
        ("PendulumControl-v1", ["variation=all"], "variation must be a list of names of factors, got 'all'"),
        ("PendulumControl-v1", ["algorithm=sac"], "algorithm must be a mapping with a name, got 'sac'"),
        ("PendulumControl-v1", ["nonsense"], "must read NAME=VALUE, for example algorithm.batch_size=512"),
    ],
)
def test_mistakes(env, texts, message):
    with unchecked_types(), pytest.raises(ValueError) as caught:
        load_expert_settings(env, None, {}, texts)
    assert message in str(caught.value)
