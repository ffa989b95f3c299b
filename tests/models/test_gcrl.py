"""GCBC, GCIQL, GCIVL and HILP on the recorded outputs of the reference, in both precisions, and odd input."""

import dataclasses
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import difference, drawn
from quick import quick_jit
from reference import reference_python

from swmjax.checkpoints import load_pretrained
from swmjax.models.blocks.layers import LinearEmbedderConfig
from swmjax.models.blocks.resnet import ResNetConfig
from swmjax.models.blocks.vit import ViTConfig
from swmjax.models.gcrl.gcrl import GCRL, GCRLConfig
from swmjax.models.gcrl.predictors import (
    GoalPredictor,
    GoalPredictorConfig,
    MetricValuePredictor,
    MetricValuePredictorConfig,
    QPredictor,
    QPredictorConfig,
)

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["gcrl_gcbc", "gcrl_gcbc_deep", "gcrl_iql_value", "gcrl_ivl_policy", "gcrl_hilp_value"]
TOLERANCES = {False: 1e-4, True: 1e-8}
SIZES = {"num_patches": 4, "num_frames": 2, "dim": 8, "depth": 1, "heads": 1, "mlp_dim": 4, "dim_head": 8}
TINY = GCRLConfig(encoder=ViTConfig(14, 7, 8, 1, 2, 8), action_predictor=GoalPredictorConfig(**SIZES, out_dim=2))


def compare(folder, name, x64):
    """Errors of all outputs on a recorded checkpoint."""
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        model = load_pretrained(folder / name, dtype=dtype)
        golden = dict(np.load(folder / f"{name}_io.npz"))
        obs = {key: jnp.asarray(value, dtype) for key, value in golden.items() if value.dtype == np.float32}

        @quick_jit
        def run(model, obs):
            embed, goal = model.encode(obs), model.encode_goal(obs)
            found = {"embed": embed, "goal_embed": goal}
            for context in (1, 2, 3) if x64 else (1, 3):
                found[f"means_{context}"], found["stds"] = model.predict_actions(embed[:, :context], goal, 0.7)
                if model.config.value:
                    found[f"values_{context}"] = model.predict_values(embed[:, :context], goal)
            if model.config.value_wrapper == "teacher":
                found["student_values"] = model.value_predictor.student(embed, goal)
            if model.config.critic:
                found["q"] = model.predict_action_values(embed, obs["actions"], goal)
            return found

        outputs = run(model, obs)
        assert {value.dtype for value in outputs.values()} == {jnp.dtype(dtype)}
        errors = {key: difference(value, golden[key]) for key, value in outputs.items()}
        recorded = {key for key, value in golden.items() if value.dtype == np.float64 and key != "action"}
        assert set(errors) == {key for key in recorded if x64 or not key.endswith("_2")}
        return errors


@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, x64):
    errors = compare(GOLDEN, name, x64)
    assert max(errors.values()) < TOLERANCES[x64], errors


@pytest.mark.reference
@pytest.mark.parametrize("seed", [1, 2])
def test_outputs_on_fresh_weights_are_those_of_the_installed_reference(seed, tmp_path):
    python = reference_python()
    script = GOLDEN / "make_tdmpc2_gcrl_goldens.py"
    command = [python, script, "--folder", tmp_path, "--seed", str(seed), *NAMES]
    subprocess.run(command, check=True, capture_output=True)
    for x64, tolerance in TOLERANCES.items():
        for name in NAMES:
            errors = compare(tmp_path, name, x64)
            print(f"{name} seed {seed} {'float64' if x64 else 'float32'}: {max(errors.values()):.1e}")
            assert max(errors.values()) < tolerance, (name, errors)


def test_actions_are_means_or_means_and_scaled_noise():
    model = load_pretrained(GOLDEN / "gcrl_gcbc")
    golden = dict(np.load(GOLDEN / "gcrl_gcbc_io.npz"))
    obs = {key: jnp.asarray(value) for key, value in golden.items() if value.dtype == np.float32}

    @quick_jit
    def run(key):
        return model.get_action(obs), model.get_action(obs, key, temperature=0.7)

    mean, sample = run(jax.random.key(0))
    assert difference(mean, golden["action"]) < 1e-4
    noise = np.asarray(jax.random.normal(jax.random.key(0), (2, 2)))
    np.testing.assert_allclose(sample, golden["action"] + golden["stds"] * noise, atol=1e-5)
    assert jnp.any(sample != run(jax.random.key(1))[1])


def test_standard_deviations_are_bounded():
    model = drawn(GCRL, dataclasses.replace(TINY, log_std_min=-1.0, log_std_max=0.5))
    model.log_stds[...] = jnp.array([-3.0, 3.0])
    _, stds = quick_jit(model.predict_actions)(jnp.zeros((1, 1, 4, 8)), jnp.zeros((1, 1, 4, 8)))
    np.testing.assert_allclose(stds, np.exp([-1.0, 0.5]), rtol=1e-6)


def test_hilp_values_stay_below_a_thousandth():
    model = load_pretrained(GOLDEN / "gcrl_hilp_value")
    values = quick_jit(lambda frames: model.predict_values(frames, frames))(jnp.ones((1, 1, 4, 12)))
    np.testing.assert_allclose(values, -1e-3, rtol=1e-5)


def test_frames_do_not_see_the_future():
    model = load_pretrained(GOLDEN / "gcrl_ivl_policy")
    frames, goal = jax.random.normal(jax.random.key(0), (1, 3, 4, 12)), jnp.ones((1, 1, 4, 12))

    @quick_jit
    def run(frames):
        return model.predict_actions(frames, goal)[0], model.predict_values(frames, goal)

    for before, after in zip(run(frames), run(frames.at[:, 2, :, 0].add(1.0)), strict=True):
        np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-6)
        assert jnp.any(jnp.abs(before[:, 2] - after[:, 2]) > 1e-3)


def test_a_convolutional_backbone_gives_one_patch():
    sizes = {**SIZES, "num_patches": 1, "dim": 6}
    config = dataclasses.replace(
        TINY,
        encoder=ResNetConfig(hidden_sizes=(4,), depths=(1,), layer_type="basic", embedding_size=4),
        action_predictor=GoalPredictorConfig(**sizes, out_dim=2),
        extra_encoders=(("proprio", LinearEmbedderConfig(3, 2)),),
    )
    obs = {"pixels": jnp.ones((2, 2, 3, 16, 16)), "proprio": jnp.ones((2, 2, 3))}
    embedded = jax.eval_shape(lambda: GCRL(config, rngs=nnx.Rngs(0)).encode(obs))
    assert embedded.shape == (2, 2, 1, 6)


def test_parameter_counts_are_the_references():
    trunk = {"num_patches": 256, "num_frames": 3, "dim": 384, "depth": 6, "heads": 16, "mlp_dim": 2048}
    counts = {
        19_297_922: lambda: GoalPredictor(GoalPredictorConfig(**trunk, out_dim=2), rngs=nnx.Rngs(0)),
        19_297_153: lambda: GoalPredictor(GoalPredictorConfig(**trunk, out_dim=1, pool="mean"), rngs=nnx.Rngs(0)),
        19_461_889: lambda: QPredictor(QPredictorConfig(**trunk, action_dim=2, pool="mean"), rngs=nnx.Rngs(0)),
        19_320_256: lambda: MetricValuePredictor(MetricValuePredictorConfig(**trunk), rngs=nnx.Rngs(0)),
    }
    for expected, make in counts.items():
        assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(nnx.eval_shape(make)))) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GoalPredictorConfig(**{**SIZES, "depth": 0}, out_dim=1),
            "GoalPredictorConfig.depth must be an integer",
        ),
        (lambda: GoalPredictorConfig(**SIZES, out_dim=1, pool="max"), "pool must be 'attention' or 'mean', got 'max'"),
        (lambda: QPredictorConfig(**SIZES, action_dim=0), "QPredictorConfig.action_dim must be an integer"),
        (lambda: MetricValuePredictorConfig(**SIZES, embed_dim=0), "embed_dim must be an integer of at least 1, got 0"),
        (
            lambda: dataclasses.replace(TINY, extra_encoders=(("proprio", LinearEmbedderConfig(3, 2)),)),
            "action_predictor.dim must be 10, the sizes of the encoders together, got 8",
        ),
        (
            lambda: dataclasses.replace(TINY, log_std_min=3.0),
            r"log_std_min must not exceed log_std_max \(2.0\), got 3.0",
        ),
        (lambda: dataclasses.replace(TINY, encoder_wrapper="teacher"), "encoder_wrapper must be 'none' or 'frozen'"),
    ],
)
def test_bad_configurations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_inputs():
    model = load_pretrained(GOLDEN / "gcrl_gcbc_deep")
    frames, goal = jnp.zeros((1, 2, 4, 12)), jnp.zeros((1, 1, 4, 12))
    with pytest.raises(ValueError, match="obs has no 'goal'; it has pixels"):
        model.encode_goal({"pixels": frames})
    with pytest.raises(ValueError, match=r"at most 3 frames of 4 patches of size 12, got shape \(1, 4, 4, 12\)"):
        model.predict_actions(jnp.zeros((1, 4, 4, 12)), goal)
    with pytest.raises(ValueError, match=r"goal must be 1 frame of 4 patches of size 12, got shape \(1, 1, 5, 12\)"):
        model.predict_actions(frames, jnp.zeros((1, 1, 5, 12)))
    with pytest.raises(ValueError, match="has no value predictor; it is a policy only"):
        model.predict_values(frames, goal)
    with pytest.raises(ValueError, match="has no critic; only the value phase of GCIQL has one"):
        model.predict_action_values(frames, jnp.zeros((1, 2, 2)), goal)
