"""From settings to environment and policy: what does not fit is refused, with file, setting and what is expected."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from goal_env import GoalEnv, registered, unchecked_types

from swmjax.checkpoints import load_pretrained, save_pretrained
from swmjax.models import TDMPC2, PreJEPA, PreJEPAConfig, TDMPC2Config
from swmjax.models.blocks import DINOv2Config, LinearEmbedderConfig
from swmjax.models.prejepa import CausalPredictorConfig
from swmjax.planning import SOLVERS, GoalMSE
from swmjax.policies import PhysicsPolicy, PlanConfig, Scaler, WorldModelPolicy
from swmjax.policies.rollout import observe, observe_goals
from swmjax.world import EvalConfig, set_up
from swmjax.world.setup import read_stats

MINI = Path(__file__).parents[1] / "golden" / "lewm_mini_hf4"
STATS = {"action_mean": [0.5], "action_std": [2.0]}


@pytest.fixture(autouse=True)
def goal_env():
    with registered():
        yield


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(MINI, tmp_path / "run")


def settings(model="oracle", block=10, env="test/Goal-v0", **others):
    return EvalConfig(env=env, model=str(model), plan=PlanConfig(2, 1, block), **others)


def observed(setup, count=2):
    """What the policy sees of a few fresh episodes, whose goals are where they start."""
    states = jax.vmap(setup.env.reset)(jax.random.split(jax.random.key(0), count))
    goals = jax.vmap(lambda state: setup.env.set_state(state, jnp.asarray([2.0])))(states)
    return states, observe(setup.env, setup.policy, states) | observe_goals(setup.env, setup.policy, goals)


def test_the_oracle_plans_in_the_environments_units():
    setup = set_up(settings(env_options={"gain": 0.5}))
    assert setup.env == GoalEnv(gain=0.5)
    assert setup.notes == ()
    assert isinstance(setup.policy, PhysicsPolicy)
    assert setup.policy.model.env == setup.env
    assert setup.policy.space == setup.env.action_space
    assert setup.policy.config == PlanConfig(2, 1, 10)


def test_a_checkpoint_sees_frames_of_its_own_size(checkpoint):
    setup = set_up(settings(checkpoint, plan_batch_size=None))
    policy = setup.policy
    assert isinstance(policy, WorldModelPolicy)
    assert policy.plan_batch_size is None
    _, obs = observed(setup)
    assert set(obs) == {"pixels", "goal"}
    assert (obs["pixels"].shape, obs["pixels"].dtype) == ((2, 56, 56, 3), jnp.uint8)
    assert np.all(np.asarray(obs["pixels"]) == 255)
    assert policy.goals(obs).shape == (2, 1, 32)


def test_without_statistics_there_is_a_note(checkpoint):
    setup = set_up(settings(checkpoint))
    assert setup.policy.scaler == Scaler((0.0,), (1.0,))
    (note,) = setup.notes
    assert "no action_stats.json beside the checkpoint" in note
    assert "--action-stats" in note


def test_statistics_beside_the_checkpoint_and_given_ones(checkpoint, tmp_path):
    (checkpoint / "action_stats.json").write_text(json.dumps(STATS | {"comment": "of single actions"}))
    setup = set_up(settings(checkpoint / "weights.pt"))
    assert setup.notes == ()
    assert setup.policy.scaler == Scaler((0.5,), (2.0,))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"action_mean": [1], "action_std": [3]}))
    setup = set_up(settings(checkpoint, action_stats=str(other)))
    assert setup.notes == ()
    assert setup.policy.scaler == Scaler((1.0,), (3.0,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON with action_mean and action_std, lists of 1 numbers"),
        ("[]", "expected JSON"),
        ("5", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"action_mean": [0]}', "expected JSON"),
        ('{"action_mean": 0, "action_std": 1}', "expected JSON"),
        ('{"action_mean": "0", "action_std": "1"}', "expected JSON"),
        ('{"action_mean": [true], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [null], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [[0]], "action_std": [[1]]}', "expected JSON"),
        ('{"action_mean": [1' + "0" * 400 + '], "action_std": [1]}', "expected JSON"),
        ('{"action_mean": [0, 0], "action_std": [1, 1]}', "action_mean has 2 entries; expected JSON .* 1 numbers"),
        ('{"action_mean": [0], "action_std": [1, 1]}', "must have the same length, got 1 and 2"),
        ('{"action_mean": [NaN], "action_std": [1]}', "mean must be finite"),
        ('{"action_mean": [0], "action_std": [0]}', "above 0"),
    ],
)
def test_damaged_statistics_name_the_file(checkpoint, content, message):
    path = checkpoint / "action_stats.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        set_up(settings(checkpoint))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_statistics_that_cannot_be_read(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="none.json: No such file or directory; expected JSON"):
        set_up(settings(checkpoint, action_stats=str(tmp_path / "none.json")))
    with pytest.raises(ValueError, match="Is a directory; expected JSON"):
        read_stats(tmp_path, {"action": 1})
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(ValueError, match="latin.json: expected JSON"):
        read_stats(tmp_path / "latin.json", {"action": 1})


def test_another_action_block(checkpoint):
    with pytest.raises(
        ValueError, match=r"plan.action_block: .* takes planner actions of size 10, but blocks of 3"
    ) as e:
        set_up(settings(checkpoint, block=3))
    assert "but blocks of 3 actions of test/Goal-v0 have size 3" in str(e.value)
    with pytest.raises(ValueError, match="of 10 actions of swm/PushT-v1 have size 20"):
        set_up(settings(checkpoint, env="swm/PushT-v1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "test/Gaol-v0"}, "unknown environment 'test/Gaol-v0'; did you mean 'test/Goal-v0'"),
        ({"env_options": {"gian": 1.0}}, "unknown argument of test/Goal-v0 'gian'; did you mean 'gain'"),
        ({"env": "swm/PushT-v1", "env_options": {"resolution": "high"}}, "resolution must be an integer of at least 8"),
        ({"model": "./nowhere"}, "nowhere: no such folder"),
        ({"model": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_what_does_not_exist(changes, message, tmp_path, monkeypatch):
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    with unchecked_types(), pytest.raises(ValueError, match=message):
        set_up(settings(**changes))


def test_ends_that_are_no_success_are_not_counted(monkeypatch):
    monkeypatch.setattr(GoalEnv, "has_success", False)
    with pytest.raises(ValueError, match=r"test/Goal-v0 has no success to count.*protocol.name=episodic"):
        set_up(settings())
    set_up(settings(protocol={"name": "episodic"}))


def test_frames_have_three_channels(checkpoint, monkeypatch):
    model = load_pretrained(checkpoint)
    config = model.config
    model.config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, num_channels=1))
    monkeypatch.setattr("swmjax.world.setup.load_pretrained", lambda name, **options: model)
    with pytest.raises(ValueError, match="takes frames of 1 channels, but environments render 3"):
        set_up(settings(checkpoint))


def tdmpc2(**sizes):
    config = TDMPC2Config(action_dim=1, mlp_dim=8, enc_dim=8, num_q=2, image_size=48, **sizes)
    return TDMPC2(config, rngs=nnx.Rngs(0))


def prejepa():
    config = PreJEPAConfig(
        encoder=DINOv2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28),
        predictor=CausalPredictorConfig(num_patches=4, num_frames=2, dim=24, depth=1, heads=2, mlp_dim=16, dim_head=8),
        extra_encoders=(("x", LinearEmbedderConfig(1, 4)), ("action", LinearEmbedderConfig(1, 4))),
        history_size=2,
    )
    return PreJEPA(config, rngs=nnx.Rngs(0))


def planned(model, folder, solver="cem", **options):
    """The set-up for a model from a file, what its policy sees of two episodes, and their plans."""
    save_pretrained(model, folder)
    options = {"num_samples": 4, "n_steps": 2} | options
    setup = set_up(settings(folder, block=1, solver={"name": solver} | options))
    states, obs = observed(setup)
    plan = setup.policy.plan(setup.policy.init(jnp.arange(2), obs), obs)
    assert plan.actions.shape == (2, 2, 1)
    assert np.all(np.isfinite(plan.cost))
    return setup, states, obs, plan


def test_a_model_with_rewards_needs_no_goal_and_sees_scaled_vectors(tmp_path):
    (tmp_path / "run").mkdir()
    stats = STATS | {"x_mean": [1.0], "x_std": [4.0]}
    (tmp_path / "run" / "action_stats.json").write_text(json.dumps(stats))
    model = tdmpc2(encoding=(("x", 8),), extra_dims=(("x", 1),))
    setup, states, obs, plan = planned(model, tmp_path / "run", topk=2)
    policy = setup.policy
    assert setup.notes == ()
    assert policy.inputs == ("x",)
    assert policy.goals(obs) is None
    x = (states.physics - 1.0) / 4.0
    latents = model.encode({"x": x[:, None]})
    problems = policy.problems({"x": states.physics[:, None]}, jnp.zeros((2, 0, 1)), None)
    np.testing.assert_allclose(problems.latents, latents, rtol=1e-6)
    one = jax.tree.map(lambda leaf: leaf[1], problems)
    expected = model.plan_cost(latents[1:, -1], plan.actions[1:, None])[0]
    np.testing.assert_allclose(policy.cost(one, plan.actions[1:]), expected, rtol=1e-5)


def test_frames_and_vectors_together(tmp_path):
    setup, states, obs, _ = planned(prejepa(), tmp_path / "run", topk=2)
    (note,) = setup.notes
    assert "its actions and xs are taken as they are" in note
    policy = setup.policy
    assert policy.objective == GoalMSE(reduction="mean")
    assert policy.inputs == ("pixels", "x", "goal", "goal_x")
    seen = policy.seen(obs)
    assert seen["pixels"].shape == (2, 28, 28, 3)
    np.testing.assert_array_equal(seen["x"], states.physics)
    latents = policy.goals(obs)
    assert {name: leaf.shape for name, leaf in latents.items()} == {"pixels": (2, 1, 4, 16), "x": (2, 1, 4)}


def test_grasp_plans_in_the_latents_of_a_checkpoint(checkpoint):
    setup = set_up(settings(checkpoint, solver={"name": "grasp", "n_steps": 2}))
    _, obs = observed(setup, 1)
    plan = setup.policy.plan(setup.policy.init(jnp.arange(1), obs), obs)
    assert plan.actions.shape == (1, 2, 10)
    assert np.all(np.isfinite(plan.actions))


def test_a_vector_that_the_environment_does_not_observe(tmp_path):
    save_pretrained(tdmpc2(encoding=(("state", 8),), extra_dims=(("state", 3),)), tmp_path / "run")
    with pytest.raises(ValueError, match=r"observes 'state' with 3 entries; the vectors of test/Goal-v0 are x \(1\)"):
        set_up(settings(tmp_path / "run", block=1))


@pytest.mark.parametrize("model", ["oracle", str(MINI)])
def test_a_population_that_no_memory_holds(model):
    with pytest.raises(ValueError, match=r"solver.num_samples: 10+ candidates for each of \d+ problems need at least"):
        set_up(settings(model, solver={"name": "cem", "num_samples": 10**13}))


def test_a_policy_is_no_world_model():
    path = MINI.parent / "gcrl_gcbc"
    with pytest.raises(ValueError, match="gcrl_gcbc: a GCRL cannot be planned with; allowed are LeWM, PLDM, PreJEPA"):
        set_up(settings(path))


@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        ("grasp", "grasp plans in latents, which the physics does not have"),
        ("nevergrad", "nevergrad searches on the host, but evaluations are compiled"),
        ("categorical_cem", "categorical_cem does not plan actions of test/Goal-v0, which are Box"),
        ("composite", "'composite' is made of other objects; build it in Python with swmjax.planning.CompositeSolver"),
    ],
)
def test_solvers_that_do_not_fit(solver, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        set_up(settings(solver={"name": solver}))
    allowed = str(caught.value).partition("allowed are ")[2].split(", ")
    assert solver == "composite" or {"cem", "gradient"} <= set(allowed) <= set(SOLVERS) - {"pgd", "ask_tell", solver}
