"""PreJEPA: the fast rollout against the plain one, gradients, sizes, and what its messages say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import CONFIGS, Recorded, drawn, prejepa
from quick import quick_jit

from swmjax.models import PreJEPA, PreJEPAConfig, WorldModel
from swmjax.models.blocks import DINOv2Config, LinearEmbedderConfig
from swmjax.models.prejepa import CausalPredictorConfig
from swmjax.models.prejepa import rollout as module


def small(depth=2, history_size=3, num_frames=3, remat=False):
    """A model with one patch more than a single one, and no weight near zero; only its predictor is used."""
    config = PreJEPAConfig(
        DINOv2Config(8, 1, 2, 2, 28, 14),
        CausalPredictorConfig(2, num_frames, 13, depth, heads=2, mlp_dim=16, dim_head=6),
        (("proprio", LinearEmbedderConfig(3, 2)), ("action", LinearEmbedderConfig(4, 3))),
        history_size,
        remat,
    )
    return drawn(PreJEPA, config)


def problem(horizon):
    keys = jax.random.split(jax.random.key(0), 4)
    latents = {
        "pixels": jax.random.normal(keys[0], (2, 4, 2, 8)),
        "proprio": jax.random.normal(keys[1], (2, 4, 2)),
    }
    return latents, jax.random.normal(keys[2], (2, 3, 4)), jax.random.normal(keys[3], (2, 3, horizon, 4))


def plain_rollout(model, latents, action_history, actions):
    """The reference's loop restated: every step predicts from a whole window and keeps the last output."""
    batch, count = actions.shape[:2]
    past = jnp.broadcast_to(action_history[:, None], (batch, count, *action_history.shape[1:]))
    blocks = jnp.concatenate([past, actions], axis=2)

    def of_all(name, latent):
        latent = latent if name == "pixels" else latent[:, :, None]
        return jnp.broadcast_to(latent[:, None], (batch, count, *latent.shape[1:]))

    frames = {name: of_all(name, latent) for name, latent in latents.items()}
    context = latents["pixels"].shape[1]
    patches = (*frames["pixels"].shape[:4], -1)
    frames["proprio"] = jnp.broadcast_to(frames["proprio"], (*patches[:4], frames["proprio"].shape[-1]))
    for step in range(context, blocks.shape[2] + 1):
        window = slice(max(0, step - model.config.history_size), step)
        predicted = model.predict({k: v[:, :, window] for k, v in frames.items()}, blocks[:, :, window])
        frames = {k: jnp.concatenate([v, predicted[k][:, :, -1:]], axis=2) for k, v in frames.items()}
    return {"pixels": frames["pixels"], "proprio": frames["proprio"][:, :, :, 0]}


@pytest.mark.parametrize(("history_size", "num_frames", "depth"), [(1, 1, 1), (2, 3, 2), (3, 3, 1)])
def test_fast_rollout_equals_the_plain_one(history_size, num_frames, depth):
    longest = 4
    latents, history, actions = problem(longest)
    cases = [(1, 1), (1, longest), (2, longest), (4, 2), (4, longest)]

    def both(model):
        plain, fast = [], []
        for context, horizon in cases:
            arguments = {k: v[:, -context:] for k, v in latents.items()}, history[:, 4 - context :]
            fast.append(model.rollout(*arguments, actions[:, :, :horizon]))
            if horizon == longest:
                plain.append(plain_rollout(model, *arguments, actions))
        return plain, fast

    plain, fast = quick_jit(both)(small(depth, history_size, num_frames))
    by_context = dict(zip((1, 2, 4), plain, strict=True))
    for (context, horizon), rolled in zip(cases, fast, strict=True):
        assert rolled["pixels"].shape == (2, 3, context + horizon, 2, 8)
        assert rolled["proprio"].shape == (2, 3, context + horizon, 2)
        for name, value in rolled.items():
            expected = by_context[context][name][:, :, : context + horizon]
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("remat", [False, True])
def test_results_do_not_depend_on_how_many_candidates_are_rolled_out_at_a_time(monkeypatch, remat):
    model, (latents, history, actions) = small(depth=1, history_size=2, remat=remat), problem(3)

    def gradient(group):
        monkeypatch.setattr(module, "_candidates_at_once", lambda: group)

        def cost(actions):
            rolled = model.rollout(latents, history, actions)["pixels"]
            return jnp.sum(jnp.square(rolled[:, :, -1])), rolled

        return quick_jit(jax.grad(cost, has_aux=True))(actions)

    slope, rolled = gradient(None)
    assert jnp.max(jnp.abs(slope)) > 1e-3
    # Three candidates: one by one, and two and then the third.
    for group in (1, 2):
        for found, expected in zip(gradient(group), (slope, rolled), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_gradients_equal_the_plain_ones_also_when_recomputed():
    with jax.enable_x64(True):
        latents, history, actions = problem(3)

        def gradient(rollout):
            def cost(actions):
                rolled = rollout(latents, history, actions)
                return jnp.sum(jnp.square(rolled["pixels"][:, :, -1])) + jnp.sum(rolled["proprio"][:, :, -1])

            return quick_jit(jax.grad(cost))(actions)

        model = small(depth=1, history_size=2)
        plain = gradient(lambda *arguments: plain_rollout(model, *arguments))
        assert jnp.max(jnp.abs(plain)) > 1e-3
        for remat in (False, True):
            np.testing.assert_allclose(
                gradient(small(depth=1, history_size=2, remat=remat).rollout), plain, rtol=1e-8, atol=1e-10
            )


def test_remat_stores_less():
    latents, history, actions = problem(5)

    def stored(remat):
        model = small(remat=remat)

        def last(actions):
            return model.rollout(latents, history, actions)["pixels"][:, :, -1]

        backward = jax.eval_shape(lambda actions: jax.vjp(last, actions)[1], actions)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    assert stored(True) < 0.7 * stored(False)


def test_encoding_carries_no_gradient_into_the_backbone():
    recorded = Recorded("prejepa")
    obs = recorded.group("obs/")
    gradient = jax.grad(lambda pixels: jnp.sum(recorded.model.encode({**obs, "pixels": pixels})["pixels"]))
    assert not jnp.any(quick_jit(gradient)(obs["pixels"]))


def test_a_bare_array_is_pixels_where_nothing_else_is_observed():
    recorded = Recorded("prejepa_noprop")
    pixels, encode = recorded["obs/pixels"], recorded.model.encode
    found = quick_jit(lambda pixels: [encode(pixels)["pixels"], encode({"pixels": pixels, "state": 1})["pixels"]])
    np.testing.assert_array_equal(*found(pixels))
    with pytest.raises(ValueError, match=r"observations of this model are pixels, proprio; missing: proprio"):
        Recorded("prejepa").model.encode(pixels)


def test_wrong_shapes_are_named():
    model = small()
    latents, history, actions = problem(2)
    with pytest.raises(ValueError, match="action_history must have 3 steps for a context of 4 frames, got 2"):
        model.rollout(latents, history[:, 1:], actions)
    with pytest.raises(ValueError, match="takes 2 patches a frame, but frames of 28 x 28 px have 4"):
        model.encode({"pixels": jnp.zeros((1, 1, 3, 28, 28)), "proprio": jnp.zeros((1, 1, 3))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history_size": 4}, r"history_size must be an integer from 1 to the predictor's num_frames \(3\), got 4"),
        ({"extra_encoders": (("proprio", LinearEmbedderConfig(3, 9)),)}, "with 'action' among them .* got proprio"),
        ({"extra_encoders": (("action", LinearEmbedderConfig(3, 9)),) * 2}, "must be distinct sources"),
        ({"extra_encoders": (("action", LinearEmbedderConfig(3, 8)),)}, "predictor.dim must be 32, .* got 33"),
    ],
)
def test_parts_must_fit_together(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS["prejepa"], **change)


def test_slots():
    config = prejepa(("action", 5), ("proprio", 3))
    assert [config.slot(s) for s in ("pixels", "action", "proprio")] == [slice(0, 24), slice(24, 28), slice(28, 33)]
    with pytest.raises(ValueError, match="no source 'state'; there are pixels, action, proprio"):
        config.slot("state")


@pytest.mark.parametrize(("sources", "expected"), [(("proprio", "action"), 20_195_320), (("action",), 19_695_740)])
def test_parameter_count_of_the_published_predictor(sources, expected):
    embedders = tuple((name, LinearEmbedderConfig(10, 10)) for name in sources)
    predictor = CausalPredictorConfig(256, 3, 384 + 10 * len(sources), 6, 16, 2048)
    model = nnx.eval_shape(lambda: PreJEPA(PreJEPAConfig(DINOv2Config(), predictor, embedders), rngs=nnx.Rngs(0)))

    def count(part):
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(part)))

    assert count(model.predictor) == expected
    assert count(model.backbone) == 22_056_576


def test_predictions_are_causal_from_frame_to_frame():
    model = small()
    latents, history, _ = problem(1)
    window = {k: v[:, :3] for k, v in latents.items()}
    changed = {k: v.at[:, 2].add(1.0) for k, v in window.items()}
    nudged = {**window, "pixels": window["pixels"].at[:, 0, 1].add(1.0)}

    @quick_jit
    def predict(latents):
        return model.predict(latents, history)["pixels"]

    before, after, first = (predict(w) for w in (window, changed, nudged))
    np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-6)
    assert jnp.max(jnp.abs(before[:, 2] - after[:, 2])) > 0.1
    # Within a frame every patch sees every other.
    assert jnp.max(jnp.abs(before[:, 0, 0] - first[:, 0, 0])) > 0.01


def test_prejepa_is_a_world_model():
    assert isinstance(small(), WorldModel)
