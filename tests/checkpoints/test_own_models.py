"""Models of users: saved with the name of their class as text, loaded into a class that was given, never imported."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from omegaconf import OmegaConf

from swmjax.checkpoints import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    load_pretrained,
    own_models,
    register_model,
    save_pretrained,
)
from swmjax.models import TDMPC2Config
from swmjax.models.probes import MLPProbe
from swmjax.policies import AutoActionableModel, AutoCostModel

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Layer:
    width: int
    bias: bool = True


@dataclass(frozen=True)
class NetConfig:
    layers: tuple[Layer, ...]
    names: list[str] = dataclasses.field(default_factory=list)
    scale: float | None = None
    extra: dict[str, int] = dataclasses.field(default_factory=dict)


class Net(nnx.Module):
    """With all that a module may hold: parameters, statistics, and the keys of a dropout."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.linears = nnx.List([nnx.Linear(2, layer.width, rngs=rngs) for layer in config.layers])
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


CONFIG = NetConfig((Layer(3), Layer(4, bias=False)), ["a"], None, {"b": 2})


def net() -> Net:
    """One whose dropout has been used."""
    made = Net(CONFIG, rngs=nnx.Rngs(3))
    made.dropout(jnp.ones(2))
    return made


def values(model: Any) -> dict[str, np.ndarray]:
    """Arrays by name, keys as numbers."""
    found = {".".join(map(str, path)): variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(model))}
    is_key = {name: jnp.issubdtype(array.dtype, jax.dtypes.prng_key) for name, array in found.items()}
    return {name: np.asarray(jax.random.key_data(v) if is_key[name] else v) for name, v in found.items()}


def assert_same(found: Any, wanted: Any) -> None:
    ours, theirs = values(found), values(wanted)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        np.testing.assert_array_equal(ours[name], array)


def test_a_module_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_models, "_REGISTERED", {})
    model = net()
    assert values(model)["dropout.rngs.count"] == 1
    save_pretrained(model=model, run_name="run", cache_dir=str(tmp_path))
    folder = tmp_path / "checkpoints" / "run"
    document = json.loads((folder / "config.json").read_text())
    assert document["swmjax"]["class"] == f"{__name__}.Net"
    assert document["model"]["_target_"] == f"{__name__}.NetConfig"
    with pytest.raises(CheckpointError, match=r"class: is .*\.Net, which is none of swmjax.models; give") as caught:
        load_pretrained("run", cache_dir=tmp_path)
    assert "\n" not in str(caught.value)

    def build(config: Any, rngs: nnx.Rngs) -> Net:
        return Net(config, rngs=rngs)

    for options in ({"model_class": Net}, {"model_class": build, "config_class": NetConfig}):
        again = load_pretrained("run", cache_dir=tmp_path, **options)
        assert again.config == CONFIG
        assert type(again) is Net
        assert_same(again, model)
    with pytest.raises(CheckpointError, match="the configuration of .*Net is a .*NetConfig; give that class as config"):
        load_pretrained("run", cache_dir=tmp_path, model_class=build)
    assert register_model(Net) is Net
    assert_same(load_checkpoint("run", tmp_path).model, model)
    # The array of another dtype stays what it is.
    half = load_pretrained("run", tmp_path, dtype=jnp.bfloat16)
    assert half.linears[0].kernel[...].dtype == jnp.bfloat16
    assert half.dropout.rngs.count[...].dtype == jnp.uint32
    with pytest.raises(CheckpointError, match=r"linears.0.kernel: expected shape \(2, 5\), found \(2, 3\)"):
        load_pretrained("run", tmp_path, extra_args={"model.layers": [{"_target_": "Layer", "width": 5}]})
    with pytest.raises(CheckpointError, match=r"model.size: is not a known field; allowed are layers, names"):
        load_pretrained("run", tmp_path, extra_args={"model.size": 3})
    for auto in (AutoCostModel, AutoActionableModel):
        with pytest.raises(CheckpointError, match=r"run: a Net (predicts no costs|has no policy)"):
            auto("run", tmp_path)
    with pytest.raises(ValueError, match="config_class: is .*; allowed is a dataclass"):
        register_model(Net, dict)
    with pytest.raises(ValueError, match=r"model_class: .*tdmpc2_state/weights.pt is a torch file; allowed is a check"):
        load_pretrained(GOLDEN / "tdmpc2_state", model_class=Net)


def test_nothing_is_imported_by_a_name_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    save_pretrained(net(), tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    text = config.read_text().replace(__name__, "planted")
    config.write_text(text)
    with pytest.raises(CheckpointError, match=r"is planted.Net, which is none of swmjax.models"):
        load_pretrained(tmp_path / "run")
    assert load_pretrained(tmp_path / "run", model_class=Net).config == CONFIG
    config.write_text(text.replace("NetConfig", "Evil"))
    with pytest.raises(CheckpointError, match=r"model._target_: 'planted.Evil' is not known; allowed are NetConfig, "):
        load_pretrained(tmp_path / "run", model_class=Net)
    assert "planted" not in sys.modules


def test_a_configuration_beside_the_module(tmp_path: Path) -> None:
    class Bare(nnx.Module):
        def __init__(self, config: Any = None, *, rngs: nnx.Rngs):
            self.linear = nnx.Linear(2, 3, rngs=rngs)

    bare = Bare(rngs=nnx.Rngs(0))
    settings = OmegaConf.create({"wm": {"dim": 3}, "model": {"_target_": "my.Bare", "dim": "${wm.dim}"}})
    save_pretrained(bare, "mapped", settings, "model", root=tmp_path)
    seen: list[Any] = []

    def build(config: Any, rngs: nnx.Rngs) -> Bare:
        seen.append(config)
        return Bare(config, rngs=rngs)

    assert_same(load_pretrained("mapped", root=tmp_path, model_class=build), bare)
    assert seen == [{"_target_": "my.Bare", "dim": 3}]
    save_pretrained(bare, "given", config=Layer(7), root=tmp_path)
    load_pretrained("given", root=tmp_path, model_class=build, config_class=Layer)
    assert seen[-1] == Layer(7)
    secret = OmegaConf.create({"token": "${oc.env:HOME}", "model": {"token": "${token}"}})
    for key in (None, "model"):
        with pytest.raises(ValueError, match=r"config: '\$\{oc.env:HOME\}' is never evaluated; give the value itself"):
            save_pretrained(bare, "secret", secret, key, root=tmp_path)
    for wrong, problem in (
        ({"a": object()}, "not JSON serializable"),
        (3, "is a int; allowed is a dataclass or a map"),
    ):
        with pytest.raises(ValueError, match=f"config: .*{problem}"):
            save_pretrained(bare, "wrong", config=wrong, root=tmp_path)
    with pytest.raises(ValueError, match=r"config.scale: is a ndarray; allowed are numbers"):
        save_pretrained(bare, "wrong", config=NetConfig((), scale=np.ones(2)), root=tmp_path)
    with pytest.raises(ValueError, match="config: is not the one that this Net has; leave it out"):
        save_pretrained(net(), "wrong", config=Layer(2), root=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "mapped"]


def test_weights_alone(tmp_path: Path) -> None:
    probe = MLPProbe(2, 2, 2, rngs=nnx.Rngs(0))
    with pytest.warns(UserWarning, match="a MLPProbe has no `config` and none was given: its weights alone are saved"):
        save_pretrained(probe, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"class: is swmjax.models.probes.MLPProbe, .* give the class itself"):
        load_pretrained(tmp_path / "run")
    again = load_pretrained(tmp_path / "run", model_class=lambda rngs: MLPProbe(2, 2, 2, rngs=rngs))
    assert_same(again, probe)


def test_several_files_of_one_run(tmp_path: Path) -> None:
    model = load_pretrained(GOLDEN / "tdmpc2_state")
    save_pretrained(model, run_name="run", cache_dir=tmp_path)
    doubled = nnx.clone(model)
    doubled.scale.value.set_value(model.scale.value[...] * 2)
    save_pretrained(doubled, "run", filename="weights_epoch_2.pt", cache_dir=tmp_path)
    for name, wanted in (("run", model), ("run/weights.pt", model), ("run/weights_epoch_2.pt", doubled)):
        assert_same(load_pretrained(name, tmp_path), wanted)
    rows = [(row.run, row.file) for row in list_checkpoints(root=tmp_path / "checkpoints")]
    assert rows == [("run", "config.json"), ("run", "weights_epoch_2/config.json")]
    save_pretrained(model, "several", filename="last", cache_dir=tmp_path)
    with pytest.raises(CheckpointError, match=r"several: 1 checkpoints in it \(last\); name the one to load"):
        load_pretrained("several", tmp_path)
    with pytest.raises(FileExistsError, match="is a checkpoint already"):
        save_pretrained(doubled, "run", filename="weights_epoch_2.pt", cache_dir=tmp_path)
    for wrong in ({"filename": "a/b.pt"}, {"filename": ""}, {"run_name": "run"}, {"root": tmp_path}):
        with pytest.raises(ValueError, match="filename: is|name or run_name|root and cache_dir both"):
            save_pretrained(doubled, "other", cache_dir=tmp_path, **wrong)
    with pytest.raises(ValueError, match="takes name or run_name"):
        save_pretrained(doubled)


def test_the_reference_configuration_of_a_model(tmp_path: Path) -> None:
    raw = json.loads((GOLDEN / "tdmpc2_state" / "config.json").read_text())
    model = load_pretrained(GOLDEN / "tdmpc2_state")
    assert isinstance(model.config, TDMPC2Config)
    save_pretrained(model, tmp_path / "run", OmegaConf.create({"model": raw, "seed": 1}), config_key="model")
    assert load_checkpoint(tmp_path / "run").source.config == raw
    save_pretrained(model, tmp_path / "same", config=model.config)
    other = raw | {"cfg": raw["cfg"] | {"action_dim": 3}}
    for wrong, problem in (
        (other, "describes another model than this TDMPC2"),
        ({"seed": 1}, "_target_: is missing"),
        (dataclasses.replace(model.config, num_q=4), "is not the configuration of this TDMPC2"),
    ):
        with pytest.raises(ValueError, match=f"^config: {problem}"):
            save_pretrained(model, tmp_path / "wrong", config=wrong)
    assert not (tmp_path / "wrong").exists()
