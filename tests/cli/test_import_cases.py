"""Checkpoints as people publish them: wrapped, compiled, diverged, with keys of a newer release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from checkpoints.torch.nested import write_nested
from flax import nnx
from models.recorded import drawn
from reference import reference_python
from typer.testing import CliRunner, Result

from swmjax.checkpoints import (
    CheckpointError,
    export_pretrained,
    load_checkpoint,
    load_pretrained,
    read_state_dict,
    verify,
)
from swmjax.checkpoints.torch import backbones
from swmjax.checkpoints.torch.families import prejepa
from swmjax.cli.app import app
from swmjax.policies import AutoCostModel

LEWM = Path(__file__).parents[1] / "golden" / "lewm_mini_hf5"
CONFIG = json.loads((LEWM / "config.json").read_text())
MODULES = ["encoder", "predictor", "action_encoder", "projector", "projector", "pred_proj", "pred_proj"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of checkpoints, with a run in it that has no weights yet."""
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    (tmp_path / "checkpoints" / "run").mkdir(parents=True)
    (tmp_path / "checkpoints" / "run" / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "checkpoints"


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return read_state_dict(LEWM / "weights.pt")


@pytest.fixture(scope="module")
def wanted() -> list[np.ndarray]:
    """The values of the model."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_pretrained(LEWM)))]


def assert_model(name: str, wanted: list[np.ndarray]) -> None:
    for found, expected in zip(jax.tree.leaves(nnx.state(load_pretrained(name))), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def imported(home: Path, content: Mapping[str, Any], *options: str) -> tuple[Result, dict[str, Any]]:
    write_nested(home / "run" / "weights.pt", content)
    done = run("import", "run", "--json", *options)
    return done, json.loads(done.stdout) if done.exit_code == 0 else {}


@pytest.mark.parametrize("entry", ["model_state_dict", "model.module"])
def test_a_state_dict_in_an_entry(home: Path, tensors: Any, wanted: Any, entry: str) -> None:
    content: Any = tensors
    for name in reversed(entry.split(".")):
        content = {name: content, "epoch": 3}
    done, told = imported(home, content)
    assert done.exit_code == 0, done.output
    assert done.stderr == f"note: {home / 'run' / 'weights.pt'}: the state dict was found under {entry!r}\n"
    assert told["entry"] == entry
    assert [row["module"] for row in told["modules"]] == MODULES
    assert_model("run-jax", wanted)


def test_two_state_dicts_need_a_key(home: Path, tensors: Any, wanted: Any) -> None:
    content = {"model": tensors, "ema": {name: np.zeros_like(array) for name, array in tensors.items()}}
    done, _ = imported(home, content)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "2 state dicts, under 'model' and 'ema'; choose one with --key model" in done.stderr
    assert not (home / "run-jax").exists()
    done, told = imported(home, content, "--key", "model")
    assert [row for row in told["modules"] if row["becomes"] == "left out"] == [
        {"module": "ema", "tensors": 91, "parameters": 78_640, "dtypes": ["float32", "int64"], "becomes": "left out"}
    ]
    assert_model("run-jax", wanted)
    with pytest.warns(UserWarning, match=r"weights.pt: the state dict was found under 'ema'"):
        zeros = load_pretrained("run", key="ema")
    assert not np.asarray(zeros.predictor.pos_embedding[...]).any()
    with pytest.raises(ValueError, match="run-jax is a checkpoint of swmjax; allowed is a torch file"):
        load_pretrained("run-jax", key="ema")


def test_wrappers_of_parts(home: Path, tensors: Any, wanted: Any) -> None:
    wrapper = "module._orig_mod."
    content = {
        name.replace("encoder.", f"encoder.{wrapper}", 1) if name.startswith("encoder.") else name: array
        for name, array in tensors.items()
    }
    deep = content.pop("predictor.transformer.layers.0.attn.norm.weight")
    content[f"predictor.{wrapper}transformer.layers.0.{wrapper}attn.norm.weight"] = deep
    done, told = imported(home, content)
    assert done.exit_code == 0, done.output
    encoder = told["modules"][0]
    assert (encoder["module"], encoder["becomes"]) == (f"encoder.{wrapper}"[:-1], "encoder (ViT)")
    assert {row["becomes"] for row in told["modules"] if "predictor" in row["module"]} == {"predictor (Predictor)"}
    assert sum(row["tensors"] for row in told["modules"]) == 91
    assert_model("run-jax", wanted)


def test_every_tensor_beside_the_model_has_a_row(home: Path, tensors: Any, wanted: Any) -> None:
    more = {"sigreg.A": 3, "callbacks_modules.probe.weight": 4, "ema.x": 1}
    content = {f"model.{name}": array for name, array in tensors.items()}
    content |= {name: np.zeros(size, np.float32) for name, size in more.items()}
    done, told = imported(home, {"state_dict": content, "optimizer_states": [{"exp_avg": np.ones(5, np.float32)}]})
    assert done.exit_code == 0, done.output
    left = {row["module"]: row["parameters"] for row in told["modules"] if row["becomes"] == "left out"}
    assert left == {"sigreg": 3, "callbacks_modules": 4, "ema": 1, "optimizer_states": 5}
    assert sum(row["tensors"] for row in told["modules"]) == 91 + 4
    assert "left out" in run("import", "run", "other", "--dry-run").stdout
    assert_model("run-jax", wanted)


def test_weights_that_are_not_finite(home: Path, tensors: Any) -> None:
    broken = tensors | {"encoder.embeddings.cls_token": np.full((1, 1, 32), np.nan, np.float32)}
    kernel = np.array(tensors["predictor.transformer.layers.1.attn.to_out.0.weight"])
    kernel[3, 4] = np.inf
    broken["predictor.transformer.layers.1.attn.to_out.0.weight"] = kernel
    done, _ = imported(home, broken)
    sentence = (
        f"{home / 'run' / 'weights.pt'}: 2 of its tensors have entries that are NaN or infinite: "
        "encoder.embeddings.cls_token (32 of 32), predictor.transformer.layers.1.attn.to_out.0.weight (1 of 1024); "
        "such a model cannot plan"
    )
    refusal = f"{sentence}; --allow-nonfinite (in Python allow_nonfinite=True) takes them as they are"
    assert (done.exit_code, done.stderr) == (2, f"error: {refusal}\n")
    assert sorted(entry.name for entry in home.iterdir()) == ["run"]
    with pytest.raises(CheckpointError) as caught:
        AutoCostModel("run")
    assert str(caught.value) == refusal
    used = run("eval", "swm/PushT-v1", "--model", "run", "--episodes", 1, "--no-video", "--output", home / "results")
    assert (used.exit_code, used.stderr.splitlines()[-1]) == (2, f"error: {refusal}")
    done, _ = imported(home, broken, "--allow-nonfinite")
    assert (done.exit_code, done.stderr) == (0, f"note: {sentence}\n")
    # What was imported all the same is still not taken for a model that can plan.
    with pytest.raises(CheckpointError, match=r"run-jax: 2 of its tensors .*: encoder.embeddings.cls_token \(32 of 32"):
        load_pretrained("run-jax")
    notes: list[str] = []
    model = load_pretrained("run-jax", allow_nonfinite=True, note=notes.append)
    assert bool(np.isnan(model.encoder.embeddings.cls_token[...]).all())
    assert len(notes) == 1
    assert "encoder.embeddings.cls_token (32 of 32)" in notes[0]
    assert run("export", "run-jax", "back", "--allow-nonfinite").exit_code == 0
    assert bool(np.isnan(read_state_dict(home / "back" / "weights.pt")["encoder.embeddings.cls_token"]).all())


def test_a_narrow_dtype_that_overflows_is_not_finite(home: Path, tensors: Any) -> None:
    large = np.array(tensors["predictor.pos_embedding"])
    large[0, 0, 0] = 1e30
    write_nested(home / "run" / "weights.pt", tensors | {"predictor.pos_embedding": large})
    with np.errstate(over="ignore"), pytest.raises(CheckpointError, match=r"predictor.pos_embedding \(1 of 96\)"):
        load_pretrained("run", dtype="float16")
    assert float(load_pretrained("run").predictor.pos_embedding[0, 0, 0]) == np.float32(1e30)


@pytest.fixture
def dino_wm(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[np.ndarray]]:
    """A small DINO-WM as the published one is, and its values."""
    config = prejepa.FAMILY.example()
    monkeypatch.setitem(backbones.DINOV2, "small/example", config.encoder)
    model = drawn(prejepa.FAMILY.model, config)
    folder = export_pretrained(model, "dino")
    rewrite(folder, pixel_token="patch", interpolate_pos_encoding=True)
    return folder, [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def rewrite(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_keys_of_a_published_configuration(home: Path, dino_wm: tuple[Path, list[np.ndarray]]) -> None:
    folder, wanted = dino_wm
    done = run("import", "dino", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"] == {}
    assert "settings" not in json.loads((home / "dino-jax" / "config.json").read_text())["source"]
    assert_model("dino-jax", wanted)
    predictor = json.loads((folder / "config.json").read_text())["predictor"]
    rewrite(folder, pixel_token="cls", predictor=predictor | {"depth": 3})
    refused = run("import", "dino", "other")
    assert refused.stderr == f"error: {folder / 'config.json'}: pixel_token: is 'cls'; allowed is 'patch'\n"
    changes = ("--set", "model.pixel_token=null", "--set", "model.predictor.depth=1")
    done = run("import", "dino", "other", *changes)
    assert done.exit_code == 0, done.output
    assert "config.json was read with model.pixel_token = null" in done.stdout
    assert "config.json was read with model.predictor.depth = 1" in done.stdout
    settings = {"model.pixel_token": None, "model.predictor.depth": 1}
    assert json.loads((home / "other" / "config.json").read_text())["source"]["settings"] == settings
    assert_model("other", wanted)
    # What was dropped does not come back with an export, and what was set stays.
    assert run("export", "other", "back").exit_code == 0
    exported = json.loads((home / "back" / "config.json").read_text())
    assert "pixel_token" not in exported
    assert exported["predictor"]["depth"] == 1
    assert load_pretrained("dino", extra_args=settings).config == load_pretrained("other").config
    assert load_pretrained("other", extra_args={"model.remat": True}).config.remat
    bad = run("import", "dino", "new", "--set", "model.pixel_token")
    assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
    assert "must read NAME=VALUE, for example model.pixel_token=null" in bad.stderr
    for typo in ("nothing.at.all=2", "model.pixl_token=null"):
        assert run("import", "dino", "new", *changes, "--set", typo).exit_code == 2
        # A file of this family may have keys of the training beside the model.
        bad = run("import", str(LEWM), "new", "--set", typo)
        assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
        assert "is no key that this model reads, so setting it changes nothing" in bad.stderr
    bad = run("import", "dino", "new", "--set", "model.x=${oc.env:HOME}")
    assert "an interpolation, which is never evaluated" in bad.stderr


@pytest.mark.reference
def test_a_key_that_the_installed_reference_does_not_know(dino_wm: tuple[Path, list[np.ndarray]]) -> None:
    folder, _ = dino_wm
    assert verify(load_checkpoint(folder, extra_args={"model.pixel_token": None}), reference_python()).worst < 1e-5
