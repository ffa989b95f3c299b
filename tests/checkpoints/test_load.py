"""Whole checkpoints: both key layouts give the reference's embeddings, and bad ones are refused line by line."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints.torch.test_configurations import PREJEPA
from flax import nnx
from models.recorded import CONFIGS, Recorded
from quick import quick_jit

from swmjax.checkpoints import CheckpointError, load_pretrained, read_state_dict
from swmjax.checkpoints.torch import backbones, read
from swmjax.checkpoints.torch.state_dict import StateDict
from swmjax.models import PreJEPA

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["lewm_mini_hf4", "lewm_mini_hf5"])
def test_outputs_are_those_of_the_reference(name: str) -> None:
    model = load_pretrained(GOLDEN / name)
    with np.load(GOLDEN / f"{name}_io.npz") as file:
        recorded = {key: jnp.asarray(value) for key, value in file.items()}

    @quick_jit
    def run(model, pixels, history, candidates):
        latents = model.encode(pixels)
        return latents, model.rollout(latents, history, candidates)

    latents, rolled = run(model, *(recorded[name] for name in ("pixels", "action_history", "candidates")))
    for found, expected in ((latents, recorded["emb"]), (rolled, recorded["rollout_context3"])):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(jnp.abs(expected).max()))


def test_every_tensor_arrives_once() -> None:
    tensors = read_state_dict(GOLDEN / "lewm_mini_hf4" / "weights.pt")
    used = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    leaves = jax.tree.leaves(nnx.state(load_pretrained(GOLDEN / "lewm_mini_hf4")))
    assert len(leaves) == len(used)
    assert sorted(float(np.sum(np.asarray(leaf), dtype=np.float64)) for leaf in leaves) == pytest.approx(
        sorted(float(np.sum(array, dtype=np.float64)) for array in used.values()), abs=1e-6
    )


def test_dtype_is_what_was_asked_for() -> None:
    for dtype in (jnp.bfloat16, jnp.float16, "float32"):
        leaves = jax.tree.leaves(nnx.state(load_pretrained(GOLDEN / "lewm_mini_hf5", dtype=dtype)))
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}
    with jax.enable_x64(True):
        leaves = jax.tree.leaves(nnx.state(load_pretrained(GOLDEN / "lewm_mini_hf5", dtype=jnp.float64)))
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float64")}
    with pytest.raises(ValueError, match="float64 needs jax_enable_x64"):
        load_pretrained(GOLDEN / "lewm_mini_hf5", dtype=jnp.float64)
    with pytest.raises(ValueError, match="must be a floating-point type, got int32"):
        load_pretrained(GOLDEN / "lewm_mini_hf5", dtype=jnp.int32)


def test_names_start_at_the_given_root() -> None:
    assert load_pretrained("lewm_mini_hf4", root=GOLDEN).config.encoder.image_size == 56


def test_the_model_does_not_hang_on_the_file(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN / "lewm_mini_hf4", tmp_path / "run")
    model = load_pretrained(folder)
    before = np.array(model.predictor.pos_embedding[...])
    weights = folder / "weights.pt"
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.write(b"\0" * weights.stat().st_size)
    np.testing.assert_array_equal(model.predictor.pos_embedding[...], before)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "encoder.image_size",
            224,
            "encoder.embeddings.position_embeddings: expected shape (1, 257, 32), found (1, 17, 32)",
        ),
        (
            "encoder.num_hidden_layers",
            1,
            "encoder.encoder.layer.1.attention.attention.query.bias: is not a tensor of this model; found shape (32,)",
        ),
        (
            "encoder.num_hidden_layers",
            3,
            "encoder.encoder.layer.2.attention.attention.query.bias: is missing; expected shape (32,)",
        ),
        (
            "action_encoder.input_dim",
            4,
            "action_encoder.patch_embed.weight: expected shape (10, 4, 1), found (10, 10, 1)",
        ),
        ("projector.norm_fn", None, "projector.net.1.running_mean: is not a tensor of this model; found shape (48,)"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights(tmp_path: Path, path: str, value: object, line: str) -> None:
    folder = shutil.copytree(GOLDEN / "lewm_mini_hf4", tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    part, name = path.split(".")
    config[part][name] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(folder)
    lines = str(caught.value).splitlines()
    assert f"{folder / 'weights.pt'}: {line}" in lines
    assert all(line.startswith(f"{folder / 'weights.pt'}: ") for line in lines)
    assert len(lines) <= 11


def test_an_unknown_target_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"_target_": "my.Model"}')
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: _target_: 'my.Model' is not known; allowed are ")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.pop("predictor.pos_embedding"), "predictor.pos_embedding: is missing; expected shape (1, 3, 32)"),
        (lambda t: t.update(probe=np.ones(2)), "probe: is not a tensor of this model; found shape (2,)"),
    ],
)
def test_one_wrong_tensor_is_one_line(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, np.ndarray]], object], line: str
) -> None:
    tensors = read_state_dict(GOLDEN / "lewm_mini_hf5" / "weights.pt")
    change(tensors)
    monkeypatch.setattr(read, "read_archive", lambda path, key: StateDict(tensors))
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(GOLDEN / "lewm_mini_hf5")
    assert str(caught.value) == f"{GOLDEN / 'lewm_mini_hf5' / 'weights.pt'}: {line}"


def test_a_prejepa_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted, recorded = CONFIGS["prejepa"], Recorded("prejepa")
    monkeypatch.setitem(backbones.DINOV2, "dinov2_small", wanted.encoder)
    config = copy.deepcopy(PREJEPA)
    config["predictor"] |= vars(wanted.predictor)
    for name, embedder in wanted.extra_encoders:
        config["extra_encoders"]["modules"][name] |= vars(embedder)
    tensors = {k.removeprefix("weights/"): v for k, v in recorded.values.items() if k.startswith("weights/")}
    tensors |= {
        "predictor.transformer.layers.1.0.bias": np.ones((1, 1, 12, 12), np.float32),
        "decoder.net.weight": np.ones((2, 2), np.float32),
    }
    monkeypatch.setattr(read, "read_archive", lambda path, key: StateDict(tensors))
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_pretrained(tmp_path, remat=True)
    assert isinstance(model, PreJEPA)
    assert model.config == replace(wanted, remat=True)
    for ours, theirs in zip(*(jax.tree.leaves(nnx.state(m)) for m in (model, recorded.model)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    del tensors["backbone.encoder.layer.1.attention.q_proj.bias"]
    with pytest.raises(CheckpointError, match=r"backbone\.encoder\.layer\.1\.attention\.q_proj\.bias: is missing"):
        load_pretrained(tmp_path)
