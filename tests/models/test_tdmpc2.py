"""TD-MPC2 on the recorded outputs of the reference, in both precisions, and what it makes of odd input."""

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
from swmjax.models import WorldModel
from swmjax.models.blocks.two_hot import Bins, symexp, symlog, two_hot, two_hot_inverse
from swmjax.models.tdmpc2.layers import RunningScale
from swmjax.models.tdmpc2.squashed_gaussian import gaussian_log_prob, log_std, squash
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2, TDMPC2Config

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["tdmpc2_state", "tdmpc2_pixels"]
TOLERANCES = {False: 1e-4, True: 1e-8}
TINY = TDMPC2Config(
    action_dim=2, encoding=(("state", 8),), extra_dims=(("state", 5),), mlp_dim=8, enc_dim=8, num_q=2, bins=Bins(5)
)


def compare(folder, name, x64):
    """Errors of all outputs on a recorded checkpoint."""
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        model = load_pretrained(folder / name, dtype=dtype)
        golden = dict(np.load(folder / f"{name}_io.npz"))
        inputs = {key: jnp.asarray(value, dtype) for key, value in golden.items() if value.dtype == np.float32}

        @quick_jit
        def run(model, given):
            obs = {key: given[key] for key, _ in model.config.encoding}
            last = {key: value[:, -1] for key, value in obs.items()}
            current = model.encode_current(last)
            first = given["candidates"][:, 0, 0]
            z = model.encode(obs)
            rolled = model.rollout(z, given["candidates"][:, 0, :1], given["candidates"])
            prefix = current
            for step in range(given["prefix"].shape[1]):
                prefix = model.predict(prefix, given["prefix"][:, step])
            return {
                "z": z,
                "z_now": jnp.stack([model.encode_current(obs), current]),
                "cost": model.plan_cost(current, given["candidates"]),
                "next_z": model.predict(current, first),
                "reward": model.rewards(current, first),
                "qs": model.values(current, first),
                "target_qs": model.values(current, first, target=True),
                "rollout": rolled[:, :, 2:],
                "context": rolled[:, :, :2],
                "mean_action": model.mean_action(current),
                "log_std": model.policy(current)[1],
                "policy": model.policy_rollout(current, given["noise"]).mean(axis=1),
                "policy_prefix": model.policy_rollout(prefix, given["noise"]).mean(axis=1),
            }

        outputs = run(model, inputs)
        golden["z_now"] = np.stack([golden["z"][:, -1]] * 2)
        golden["context"] = np.repeat(golden["z"][:, None], golden["candidates"].shape[1], axis=1)
        assert {value.dtype for value in outputs.values()} == {jnp.dtype(dtype)}
        return {key: difference(value, golden[key]) for key, value in outputs.items()}


@pytest.mark.parametrize("x64", TOLERANCES)
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


def test_frames_may_have_their_channels_last():
    model = load_pretrained(GOLDEN / "tdmpc2_pixels")
    with np.load(GOLDEN / "tdmpc2_pixels_io.npz") as file:
        obs = {key: jnp.asarray(file[key][:, -1]) for key in ("pixels", "state", "proprio")}
    last = {**obs, "pixels": jnp.moveaxis(obs["pixels"], 1, -1)}
    np.testing.assert_array_equal(*quick_jit(lambda *both: list(map(model.encode, both)))(obs, last))


def test_functions_without_weights():
    golden = dict(np.load(GOLDEN / "two_hot_io.npz"))
    bins = Bins(11, -6, 2)
    with jax.enable_x64(True):
        arrays = {key: jnp.asarray(value) for key, value in golden.items()}
        scale = RunningScale(0.05)
        scales = []
        for factor in (1.0, 0.0, 30.0):
            scale.update(arrays["x"].astype(jnp.float32) * factor)
            scales.append(scale.value[0])
        log_prob = gaussian_log_prob(arrays["noise"], arrays["spread"])
        action, squashed = squash(arrays["noise"] * 4, log_prob)
        found = {
            "two_hot": two_hot(arrays["x"], bins),
            "inverse": two_hot_inverse(arrays["logits"], bins)[:, None],
            "log_prob": log_prob[:, None],
            "action": action,
            "squashed": squashed[:, None],
            "log_std": log_std(arrays["spread"]),
        }
        for key, value in found.items():
            assert difference(value, golden[key]) < 1e-12, key
        np.testing.assert_allclose(scales, golden["scales"], rtol=1e-6)
        np.testing.assert_allclose(scale(arrays["x"]), golden["scaled"], rtol=1e-6)


@pytest.mark.parametrize(
    ("bins", "x", "lower", "share"),
    [
        (Bins(101, -6, 2), -1.0, 66, 0.33566),
        (Bins(101, -6, 2), 0.0, 75, 0.0),
        (Bins(101, -6, 2), 1.0, 83, 0.66434),
        (Bins(101, -10, 10), 0.0, 50, 0.0),
        (Bins(101, -10, 10), 1.0, 53, 0.465736),
    ],
)
def test_two_hot_by_hand(bins, x, lower, share):
    weights = two_hot(jnp.array([x]), bins)[0]
    expected = np.zeros(101)
    expected[lower : lower + 2] = 1 - share, share
    np.testing.assert_allclose(weights, expected, atol=2e-5)


def test_two_hot_is_undone_by_its_inverse():
    bins = Bins(101, -10, 10)
    x = jnp.array([-300.0, -1.5, -1e-3, 0.0, 0.2, 7.0, 9000.0])
    np.testing.assert_allclose(two_hot_inverse(jnp.log(two_hot(x, bins) + 1e-30), bins), x, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)


def test_get_action_draws_by_key_and_averages():
    model = load_pretrained(GOLDEN / "tdmpc2_state")
    model.config = dataclasses.replace(model.config, num_pi_trajs=4)
    latents, prefix = model.encode_current({"state": jnp.ones((2, 5))}), 0.5 * jnp.ones((2, 1, 2))

    @quick_jit
    def run(key):
        draws = jax.random.normal(key, (2, 4, 3, 2))
        by_hand = model.policy_rollout(model.predict(latents, prefix[:, 0]), draws).mean(axis=1)
        return model.get_action(key, latents, 3, prefix), by_hand

    first, by_hand = run(jax.random.key(0))
    np.testing.assert_allclose(first, by_hand, atol=1e-6)
    assert jnp.any(first != run(jax.random.key(1))[0])


def test_a_new_model_values_everything_at_the_middle_bin():
    @quick_jit
    def make():
        model, latents, actions = TDMPC2(config, rngs=nnx.Rngs(0)), jnp.ones((3, 8)), jnp.ones((3, 2))
        return model, model.rewards(latents, actions), model.values(latents, actions, target=True)

    config = dataclasses.replace(TINY, bins=Bins(5, -2, 4))
    model, rewards, values = make()
    np.testing.assert_allclose(rewards, np.expm1(1.0), rtol=1e-5)
    np.testing.assert_allclose(values, np.full((2, 3), np.expm1(1.0)), rtol=1e-5)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, nnx.state(model.qs), nnx.state(model.target_qs)))
    assert isinstance(model, WorldModel)


def test_parameter_count_of_the_reference_settings():
    config = TDMPC2Config(action_dim=2, encoding=(("state", 128),), extra_dims=(("state", 14),), bins=Bins(101, -6, 2))
    model = nnx.eval_shape(lambda: TDMPC2(config, rngs=nnx.Rngs(0)))
    heads = 130 * 384 + 384 + 768 + 384 * 384 + 384 + 768
    encoder = 14 * 256 + 256 + 512 + 256 * 128 + 128 + 256
    values = 11 * (heads + 384 * 101 + 101)
    dynamics = heads + 384 * 128 + 128 + 256
    policy = heads - 2 * 384 + 384 * 4 + 4
    counted = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert counted == encoder + values + dynamics + policy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_q": 1}, "num_q must be at least 2 for a spread of values, got 1"),
        ({"simnorm_dim": 3}, r"must add up to a multiple of simnorm_dim \(3\), got 8"),
        ({"extra_dims": ()}, r"\['state'\] are missing"),
        ({"encoding": ()}, "must name at least one source"),
        ({"discount": 1.5}, r"discount must lie in \[0, 1\], got 1.5"),
        ({"encoding": (("pixels", 8),), "image_size": 30}, "image_size is too small for the convolutions, got 30"),
        ({"mlp_dim": 0}, "mlp_dim must be an integer of at least 1, got 0"),
    ],
)
def test_bad_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_bad_observations():
    model = drawn(TDMPC2, TINY)
    with pytest.raises(ValueError, match="obs has no 'state'; it has proprio"):
        model.encode({"proprio": jnp.ones((1, 5))})
    with pytest.raises(ValueError, match=r"obs\['state'\] must have 5 entries, got shape \(1, 4\)"):
        model.encode({"state": jnp.ones((1, 4))})
    with pytest.raises(ValueError, match=r"obs\['state'\] must have 2 axes, or 3 with time, got shape \(1, 2, 3, 5\)"):
        model.encode_current({"state": jnp.ones((1, 2, 3, 5))})
    frames = drawn(TDMPC2, dataclasses.replace(TINY, encoding=(("pixels", 8),), image_size=48))
    with pytest.raises(ValueError, match=r"must be RGB frames of side 48, got shape \(1, 50, 48, 3\)"):
        frames.encode({"pixels": jnp.ones((1, 50, 48, 3))})


def test_bins_are_checked():
    with pytest.raises(ValueError, match=r"Bins.low must be below high \(2.0\), got 2.0"):
        Bins(5, 2.0, 2.0)
    with pytest.raises(ValueError, match="Bins.count must be at least 2, got 1"):
        Bins(1)
