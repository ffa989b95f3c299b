"""Export: what comes from the reference goes back to it unchanged, and what swmjax made is built there."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import CONFIGS, Recorded, drawn
from reference import reference_python

from swmjax.checkpoints import (
    CheckpointError,
    Loaded,
    build_config,
    export_pretrained,
    load_checkpoint,
    load_pretrained,
    read_config,
    read_state_dict,
    save_pretrained,
)
from swmjax.checkpoints.torch import backbones
from swmjax.checkpoints.torch import export as module
from swmjax.checkpoints.torch.families import family_of, gcrl
from swmjax.checkpoints.torch.verification import verify
from swmjax.checkpoints.torch.writer import write_state_dict
from swmjax.models import DummyConfig, DummyWorldModel, MLPProbe, PreJEPA
from swmjax.models.blocks.resnet import ResNetConfig

GOLDEN = Path(__file__).parents[2] / "golden"
CAME = [
    "lewm_mini_hf4",
    "lewm_mini_hf5",
    "tdmpc2_pixels",
    "tdmpc2_state",
    "gcrl_gcbc",
    "gcrl_gcbc_deep",
    "gcrl_iql_value",
    "gcrl_ivl_policy",
    "gcrl_hilp_value",
]
MADE = ["pldm", "prejepa", "prejepa_noprop", "prejepa_registers"]


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return read_state_dict(folder / "weights.pt")


@pytest.fixture
def named_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small recorded backbones under names of `create_backbone`."""
    for name in MADE:
        if name != "pldm":
            monkeypatch.setitem(backbones.DINOV2, f"small/{name}", CONFIGS[name].encoder)


@pytest.mark.parametrize("name", CAME)
def test_import_and_export_give_the_same_state_dict(tmp_path: Path, name: str) -> None:
    loaded = load_checkpoint(GOLDEN / name)
    folder = export_pretrained(loaded, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.pt"]
    assert_same(weights(folder), weights(GOLDEN / name))
    described = read_config(folder / "config.json")
    assert build_config(described) == loaded.model.config
    if loaded.source.config is not None:
        assert described == read_config(GOLDEN / name / "config.json")
    save_pretrained(loaded, tmp_path / "native")
    again = export_pretrained(load_checkpoint(tmp_path / "native"), tmp_path / "again")
    for file in ("config.json", "weights.pt"):
        assert (again / file).read_bytes() == (folder / file).read_bytes()


def test_dtypes_counters_and_a_decoder_come_back(tmp_path: Path, named_backbones: None) -> None:
    recorded, folder = Recorded("prejepa"), tmp_path / "run"
    first = export_pretrained(recorded.model, tmp_path / "first")
    tensors = weights(first)
    folder.mkdir()
    config = read_config(first / "config.json")
    config["decoder"] = {"_target_": "my.Decoder"}
    (folder / "config.json").write_text(json.dumps({"model": config, "trainer": {}}))
    given = {name: array.astype(jnp.bfloat16) if "patch_embed" in name else array for name, array in tensors.items()}
    given |= {"decoder.net.weight": np.ones((2, 2), np.float16), "predictor.transformer.layers.1.0.bias": np.ones(3)}
    write_state_dict(folder / "weights.pt", {f"model.{name}": array for name, array in given.items()})
    loaded = load_checkpoint(folder)
    assert sorted(loaded.unused) == ["decoder.net.weight", "predictor.transformer.layers.1.0.bias"]
    save_pretrained(loaded, tmp_path / "native")
    for origin in (loaded, load_checkpoint(tmp_path / "native")):
        out = export_pretrained(origin, tmp_path / f"out{len(list(tmp_path.iterdir()))}")
        assert_same(weights(out), given)
        assert read_config(out / "config.json") == config
    # A model of one's own has no decoder, and its masks are those of the reference.
    own = weights(export_pretrained(loaded.model, tmp_path / "own"))
    assert {name: array.shape for name, array in own.items()} == {k: v.shape for k, v in tensors.items()}
    mask = "predictor.transformer.layers.1.0.bias"
    np.testing.assert_array_equal(own[mask], tensors[mask])


def test_the_layouts_of_both_versions_of_transformers(tmp_path: Path) -> None:
    old = load_checkpoint(GOLDEN / "lewm_mini_hf4")
    assert_same(
        weights(export_pretrained(old, tmp_path / "5", transformers=5)),
        weights(export_pretrained(old.model, tmp_path / "own")),
    )
    new = load_checkpoint(tmp_path / "5")
    assert_same(weights(export_pretrained(new, tmp_path / "4", transformers=4)), weights(GOLDEN / "lewm_mini_hf4"))


def test_fused_rows_of_version_4_are_put_together_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIGS["prejepa"], encoder=CONFIGS["dinov2_swiglu"])
    monkeypatch.setitem(backbones.DINOV2, "small/swiglu", config.encoder)
    model = drawn(PreJEPA, config)
    folder = export_pretrained(model, tmp_path / "4", transformers=4)
    assert "backbone.encoder.layer.1.mlp.weights_in.weight" in weights(folder)
    found = load_pretrained(folder)
    for ours, theirs in zip(*(jax.tree.leaves(nnx.state(m)) for m in (found, model)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", MADE)
def test_models_of_swmjax_come_back(tmp_path: Path, name: str, named_backbones: None) -> None:
    model = Recorded(name).model
    folder = export_pretrained(model, tmp_path / "out")
    found = load_pretrained(folder)
    assert found.config == model.config
    for ours, theirs in zip(*(jax.tree.leaves(nnx.state(m)) for m in (found, model)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_changes_of_the_configuration_are_described(tmp_path: Path) -> None:
    loaded = load_checkpoint(GOLDEN / "tdmpc2_state", extra_args={"cfg.wm.uncertainty_penalty": 0.25})
    folder = export_pretrained(loaded, tmp_path / "out")
    assert read_config(folder / "config.json")["cfg"]["wm"]["uncertainty_penalty"] == 0.25
    save_pretrained(loaded, tmp_path / "run")
    again = load_checkpoint(tmp_path / "run", extra_args={"discount": 0.5})
    described = read_config(export_pretrained(again, tmp_path / "again") / "config.json")
    assert (described["cfg"]["wm"]["discount"], described["cfg"]["wm"]["uncertainty_penalty"]) == (0.5, 0.25)


def test_remat_leaves_no_trace(tmp_path: Path) -> None:
    loaded = load_checkpoint(GOLDEN / "lewm_mini_hf5", remat=True)
    described = read_config(export_pretrained(loaded, tmp_path / "out") / "config.json")
    assert described == read_config(GOLDEN / "lewm_mini_hf5" / "config.json")
    described = read_config(export_pretrained(loaded.model, tmp_path / "own") / "config.json")
    assert build_config(described) == replace(loaded.model.config, remat=False)


def test_names_start_at_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    folder = export_pretrained(load_pretrained(GOLDEN / "tdmpc2_state"), "group/run")
    assert folder == tmp_path / "checkpoints" / "group" / "run"
    load_pretrained("group/run")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    model = load_pretrained(GOLDEN / "tdmpc2_state")
    folder = shutil.copytree(GOLDEN / "tdmpc2_state", tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for taken in (folder, folder / "weights.pt"):
        with pytest.raises(FileExistsError, match="exists already; allowed is a folder that does not exist yet"):
            export_pretrained(model, taken)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (tmp_path / "empty").mkdir()
    load_pretrained(export_pretrained(model, tmp_path / "empty"))


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained(GOLDEN / "tdmpc2_state")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        export_pretrained(model, tmp_path / "a" / "b" / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_torch_form(tmp_path: Path) -> None:
    for model in (DummyWorldModel(DummyConfig((8, 8, 3), 2), rngs=nnx.Rngs(0)), MLPProbe(2, 2, 2, rngs=nnx.Rngs(0))):
        with pytest.raises(ValueError, match="has no torch form; allowed are models that the reference has"):
            export_pretrained(model, tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"the reference has no name for DINOv2Config\(hidden_size=24.*allowed are dino"
    ):
        export_pretrained(Recorded("prejepa").model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_wrappers_of_training_are_read_back(tmp_path: Path) -> None:
    folder = export_pretrained(load_checkpoint(GOLDEN / "gcrl_iql_value"), tmp_path / "out")
    config = read_config(folder / "config.json")
    assert config["encoder"]["_target_"] == "stable_pretraining.backbone.utils.EvalOnly"
    assert build_config(config).value_wrapper == "teacher"
    config["critic_predictor"] = config["critic_predictor"]["student"]
    with pytest.raises(CheckpointError, match="critic_predictor: is wrapped as none; allowed is teacher, as the value"):
        build_config(config)


@pytest.mark.reference
@pytest.mark.parametrize("name", CAME)
def test_the_reference_loads_what_came_from_it(name: str) -> None:
    assert verify(load_checkpoint(GOLDEN / name), reference_python()).worst < 1e-5


@pytest.mark.reference
@pytest.mark.parametrize("name", MADE)
def test_the_reference_builds_models_of_swmjax(name: str, named_backbones: None) -> None:
    assert verify(Loaded(Recorded(name).model), reference_python()).worst < 1e-5


@pytest.mark.reference
@pytest.mark.parametrize("kind", ["resnet", "swiglu"])
def test_the_reference_builds_other_backbones(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "resnet":
        config = load_pretrained(GOLDEN / "gcrl_gcbc_deep").config
        predictor = replace(config.action_predictor, num_patches=1)
        config = replace(config, encoder=ResNetConfig((8, 12), (1, 2), "basic", 4), action_predictor=predictor)
        monkeypatch.setitem(gcrl.BACKBONES, "microsoft/resnet-small", config.encoder)
    else:
        config = replace(CONFIGS["prejepa"], encoder=CONFIGS["dinov2_swiglu"])
        monkeypatch.setitem(backbones.DINOV2, "small/swiglu", config.encoder)
    model: Any = family_of(config).model(config, rngs=nnx.Rngs(0))
    model.eval()
    assert verify(Loaded(model), reference_python()).worst < 1e-5


def test_verifying_needs_the_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded = load_checkpoint(GOLDEN / "tdmpc2_state")
    monkeypatch.delenv("SWMJAX_REFERENCE_PYTHON", raising=False)
    with pytest.raises(ValueError, match="name a Python that has stable_worldmodel with --reference-python"):
        verify(loaded)
    with pytest.raises(ValueError, match="no such interpreter"):
        verify(loaded, tmp_path / "python")
    fake = tmp_path / "fake"
    fake.write_text(
        "#!/bin/sh\necho 'Traceback' >&2\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n"
    )
    os.chmod(fake, 0o755)
    with pytest.raises(CheckpointError, match="the reference failed: ModuleNotFoundError: No module named"):
        verify(loaded, fake)
