"""LeWM on the recorded inputs of the reference, and the fast rollout against the plain one."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import drawn
from quick import quick_jit

from swmjax.checkpoints import load_pretrained
from swmjax.models import LeWM, LeWMConfig, WorldModel
from swmjax.models.blocks import EmbedderConfig, MLPConfig, ViTConfig
from swmjax.models.blocks.layers import Identity
from swmjax.models.lewm import PredictorConfig
from swmjax.models.lewm.predictor import Predictor

GOLDEN = Path(__file__).parents[1] / "golden"


def plain_rollout(model, latents, action_history, actions):
    """The reference's loop restated: every step predicts from a whole window and keeps the last output."""
    batch, count = actions.shape[:2]
    past = jnp.broadcast_to(action_history[:, None], (batch, count, *action_history.shape[1:]))
    blocks = jnp.concatenate([past, actions], axis=2)
    frames = jnp.broadcast_to(latents[:, None], (batch, count, *latents.shape[1:]))
    for step in range(latents.shape[1], blocks.shape[2] + 1):
        window = slice(max(0, step - model.config.predictor.num_frames), step)
        frames = jnp.concatenate([frames, model.predict(frames[:, :, window], blocks[:, :, window])[:, :, -1:]], axis=2)
    return frames


def assert_close(actual, expected, tolerance):
    """Largest error relative to the largest entry."""
    error = np.max(np.abs(np.asarray(actual, np.float64) - expected)) / np.max(np.abs(expected))
    assert error < tolerance, f"relative error {error:.2e}, allowed {tolerance:.0e}"


@pytest.mark.parametrize("name", [pytest.param("lewm_mini_hf4", marks=pytest.mark.slow), "lewm_mini_hf5"])
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-4), (True, 1e-5)])
def test_recorded_outputs(name, x64, tolerance):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        golden = dict(np.load(GOLDEN / f"{name}_io.npz"))
        pixels, goal, history, actions = (
            jnp.asarray(golden[key], dtype) for key in ("pixels", "goal", "action_history", "candidates")
        )

        @quick_jit
        def run(model):
            emb = model.encode(pixels)
            one = model.rollout(emb[:, -1:], history[:, :0], actions)
            three = model.rollout(emb, history, actions)
            return emb, model.encode(goal), model.embed_actions(jnp.ones((2, 3, 10), dtype)), one, three

        emb, goal_emb, act_emb, one, three = run(load_pretrained(GOLDEN / name, dtype=dtype))
        assert emb.dtype == one.dtype == dtype
        assert_close(emb, golden["emb"], tolerance)
        assert_close(act_emb, golden["act_emb_ones"], tolerance)
        for context, rollout in ((1, one), (3, three)):
            cost = jnp.sum(jnp.square(rollout[:, :, -1] - goal_emb[:, -1:]), axis=-1)
            assert_close(rollout, golden[f"rollout_context{context}"], tolerance)
            assert_close(cost, golden[f"cost_context{context}"], tolerance)


def small(num_frames, depth=2, hidden=12, projector=True):
    config = LeWMConfig(
        encoder=ViTConfig(28, 14, 8, 1, 2, 16),
        predictor=PredictorConfig(num_frames, 8, hidden, 8, depth, heads=2, mlp_dim=16, dim_head=6),
        action_encoder=EmbedderConfig(4, 8),
        projector=MLPConfig(8, 16, 8, "batch") if projector else None,
        pred_proj=MLPConfig(8, 16, 8, "batch") if projector else None,
    )
    # No weight is zero: closed gates would make every block the identity and the comparison empty.
    return drawn(LeWM, config)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("num_frames", [1, pytest.param(2, marks=SLOW), 3, pytest.param(4, marks=SLOW)])
def test_fast_rollout_equals_the_plain_one(num_frames):
    longest = 7
    keys = jax.random.split(jax.random.key(0), 3)
    latents = jax.random.normal(keys[0], (2, 3, 8))
    history = jax.random.normal(keys[1], (2, 2, 4))
    actions = jax.random.normal(keys[2], (2, 3, longest, 4))

    def both(model):
        plain, fast = {}, {}
        for context in (1, 2, 3):
            arguments = latents[:, -context:], history[:, 3 - context :]
            plain[context] = plain_rollout(model, *arguments, actions)
            horizons = (longest, *range(context, longest, 3))
            fast[context] = {h: model.rollout(*arguments, actions[:, :, :h]) for h in horizons}
        return plain, fast

    plain, fast = quick_jit(both)(small(num_frames))
    assert {h for by_horizon in fast.values() for h in by_horizon} == set(range(1, longest + 1))
    for context, by_horizon in fast.items():
        for horizon, rollout in by_horizon.items():
            assert rollout.shape == (2, 3, context + horizon, 8)
            np.testing.assert_allclose(rollout, plain[context][:, :, : context + horizon], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden", [8, 12])
def test_rollout_without_projectors_and_with_one_layer(hidden):
    model = small(num_frames=3, depth=1, hidden=hidden, projector=False)
    latents, history = jax.random.normal(jax.random.key(0), (1, 2, 8)), jnp.ones((1, 1, 4))
    actions = jax.random.normal(jax.random.key(1), (1, 2, 4, 4))

    @quick_jit
    def both(*arguments):
        return model.rollout(*arguments), plain_rollout(model, *arguments)

    np.testing.assert_allclose(*both(latents, history, actions), rtol=1e-4, atol=1e-5)


def test_rollout_gradients_equal_the_plain_ones_also_when_recomputed():
    with jax.enable_x64(True):
        model = small(num_frames=2, depth=1)
        latents, history = jax.random.normal(jax.random.key(0), (1, 2, 8)), jnp.ones((1, 1, 4))
        actions = jax.random.normal(jax.random.key(1), (1, 2, 4, 4))

        def gradient(rollout):
            cost = jax.grad(lambda a: jnp.sum(jnp.square(rollout(latents, history, a)[:, :, -1])))
            return quick_jit(cost)(actions)

        plain = gradient(lambda *arguments: plain_rollout(model, *arguments))
        assert jnp.max(jnp.abs(plain)) > 1e-3
        for remat in (False, True):
            model.config = dataclasses.replace(model.config, remat=remat)
            np.testing.assert_allclose(gradient(model.rollout), plain, rtol=1e-8, atol=1e-10)


def test_rollout_names_a_wrong_history():
    model = small(num_frames=2)
    with pytest.raises(ValueError, match="action_history must have 1 steps for a context of 2 frames, got 0"):
        model.rollout(jnp.zeros((1, 2, 8)), jnp.zeros((1, 0, 4)), jnp.zeros((1, 2, 3, 4)))


@pytest.mark.parametrize(("action_size", "expected"), [(10, 18_034_478), (25, 18_034_628)])
def test_parameter_count_of_the_released_model(action_size, expected):
    config = LeWMConfig(
        encoder=ViTConfig(224, 14, 192, 12, 3, 768),
        predictor=PredictorConfig(3, 192, 192, 192, 6, 16, 2048),
        action_encoder=EmbedderConfig(action_size, 192),
        projector=MLPConfig(192, 2048, 192, "batch"),
        pred_proj=MLPConfig(192, 2048, 192, "batch"),
    )
    model = nnx.eval_shape(lambda: LeWM(config, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == expected


def test_a_new_predictor_is_the_identity_up_to_its_final_norm():
    config = small(3, depth=1).config.predictor

    @quick_jit
    def both(x):
        transformer = Predictor(config, rngs=nnx.Rngs(0)).transformer
        return transformer(x, jnp.ones_like(x)), transformer.output_proj(transformer.norm(transformer.input_proj(x)))

    np.testing.assert_allclose(*both(jax.random.normal(jax.random.key(0), (2, 3, 8))), atol=1e-6)


def test_predictions_are_causal():
    model = small(num_frames=3)
    latents, actions = jax.random.normal(jax.random.key(0), (1, 3, 8)), jnp.ones((1, 3, 4))
    predict = quick_jit(model.predict)
    changed = predict(latents.at[:, 2].add(1.0), actions.at[:, 2].add(1.0))
    np.testing.assert_allclose(changed[:, :2], predict(latents, actions)[:, :2], atol=1e-6)


def test_lewm_is_a_world_model():
    assert isinstance(small(1), WorldModel)


def test_parts_must_fit_together():
    config = small(2).config
    with pytest.raises(ValueError, match=r"LeWMConfig: predictor.input_dim must be 6 .* got 8"):
        LeWMConfig(
            config.encoder, config.predictor, config.action_encoder, MLPConfig(8, 16, 6, "batch"), config.pred_proj
        )
    with pytest.raises(ValueError, match="PredictorConfig.depth must be an integer of at least 1, got 0"):
        PredictorConfig(3, 8, 8, 8, 0, 2, 16, 4)


def test_a_single_head_of_the_tokens_width_has_no_output_projection():
    config = dataclasses.replace(small(2, depth=1).config.predictor, heads=1, dim_head=12)
    attention = nnx.eval_shape(lambda: Predictor(config, rngs=nnx.Rngs(0))).transformer.layers[0].attn
    assert isinstance(attention.to_out[0], Identity)


def test_batch_statistics_need_two_rows():
    mlp = small(1).projector
    mlp.train()
    with pytest.raises(ValueError, match=r"at least 2 rows, got an input of shape \(1, 16\)"):
        mlp(jnp.ones((1, 8)))
