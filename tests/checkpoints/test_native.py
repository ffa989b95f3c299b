"""Checkpoints of swmjax: what is saved comes back, on other devices too, and a killed save costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx

import swmjax
from swmjax.checkpoints import (
    CheckpointError,
    import_checkpoint,
    load_checkpoint,
    load_pretrained,
    native,
    resolve_checkpoint,
)
from swmjax.checkpoints.native import save_pretrained
from swmjax.models import cast_model
from swmjax.models.probes import MLPProbe, attach_probe

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "native_tdmpc2_0_1"
FAMILIES = ["lewm_mini_hf4", "tdmpc2_state", "gcrl_gcbc", "gcrl_iql_value", "gcrl_hilp_value"]


def assert_same(found: nnx.Module, wanted: nnx.Module) -> None:
    assert found.config == wanted.config
    (graph, ours), (expected_graph, theirs) = nnx.split(found), nnx.split(wanted)
    assert graph == expected_graph
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load_pretrained(GOLDEN / "tdmpc2_state")


def names(folder: Path) -> set[str]:
    return {entry.name.split("-")[0] for entry in folder.iterdir()}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_comes_back(tmp_path: Path, name: str) -> None:
    loaded = load_checkpoint(GOLDEN / name)
    assert save_pretrained(loaded, "run", root=tmp_path).wait() == tmp_path / "run"
    again = load_checkpoint("run", root=tmp_path)
    assert_same(again.model, loaded.model)
    assert again.source == loaded.source
    assert again.unused.keys() == loaded.unused.keys()
    assert names(tmp_path / "run") == {"config.json", "arrays"}


def test_names_are_those_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    save_pretrained(tiny, "group/run")
    assert resolve_checkpoint("group/run").config == tmp_path / "checkpoints" / "group" / "run" / "config.json"
    assert_same(load_pretrained("group/run"), tiny)


def test_the_stamp(tmp_path: Path, tiny: Any) -> None:
    save_pretrained(cast_model(tiny, jnp.bfloat16), tmp_path / "run")
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    stamp = document["swmjax"]
    assert (stamp["format"], stamp["version"], stamp["family"]) == (1, swmjax.__version__, "TDMPC2")
    assert (stamp["dtype"], stamp["other_dtypes"]) == ("bfloat16", {})
    assert stamp["orbax"] == version("orbax-checkpoint")
    assert document["model"]["_target_"] == "swmjax.models.TDMPC2Config"
    assert document["source"] == {"config": None, "transformers": None, "dtype": None, "other_dtypes": {}}


def test_dtypes(tmp_path: Path, tiny: Any) -> None:
    mixed = cast_model(tiny, jnp.bfloat16)
    mixed.scale.value.set_value(mixed.scale.value[...].astype(jnp.float32))
    save_pretrained(mixed, tmp_path / "run")
    assert_same(load_pretrained(tmp_path / "run"), mixed)
    wide = load_pretrained(tmp_path / "run", dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(wide))} == {jnp.dtype("float32")}
    with jax.enable_x64(True):
        save_pretrained(cast_model(tiny, jnp.float64), tmp_path / "wide")
        assert load_pretrained(tmp_path / "wide").scale.value[...].dtype == jnp.float64
    with pytest.raises(ValueError, match="float64, which needs jax_enable_x64; or load with another dtype"):
        load_pretrained(tmp_path / "wide")
    assert_same(load_pretrained(tmp_path / "wide", dtype=jnp.float32), tiny)


def test_probes(tmp_path: Path, tiny: Any) -> None:
    probe = MLPProbe(16, 4, 2, rngs=nnx.Rngs(1))
    save_pretrained(attach_probe(tiny, "position", probe), tmp_path / "run")
    empty = MLPProbe(16, 4, 2, rngs=nnx.Rngs(2))
    assert_same(load_pretrained(tmp_path / "run", probes={"position": empty}), attach_probe(tiny, "position", probe))
    with pytest.raises(CheckpointError, match="_probes.position.0.bias: is not an array of this model"):
        load_pretrained(tmp_path / "run")


def test_options_of_loading(tmp_path: Path) -> None:
    save_pretrained(load_pretrained(GOLDEN / "lewm_mini_hf5"), tmp_path / "run")
    assert load_pretrained(tmp_path / "run", remat=True).config.remat
    assert not load_pretrained(tmp_path / "run").config.remat
    with pytest.raises(CheckpointError, match=r"encoder.layers.2.attention.k_proj.bias: is missing; expected shape"):
        load_pretrained(tmp_path / "run", extra_args={"encoder.num_hidden_layers": 3})


def test_a_save_replaces_only_its_own(tmp_path: Path, tiny: Any) -> None:
    folder = tmp_path / "run"
    save_pretrained(tiny, folder)
    (folder / "action_stats.json").write_text("{}")
    with pytest.raises(FileExistsError, match="is a checkpoint already; take another name"):
        save_pretrained(tiny, folder)
    other = cast_model(tiny, jnp.bfloat16)
    save_pretrained(other, folder, overwrite=True)
    assert_same(load_pretrained(folder), other)
    assert names(folder) == {"config.json", "arrays", "action_stats.json"}
    assert len(list(folder.glob("arrays-*"))) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_it_did_not_save_is_never_replaced(tmp_path: Path, tiny: Any, overwrite: bool) -> None:
    folder = shutil.copytree(GOLDEN / "tdmpc2_state", tmp_path / "run")
    before = sorted(folder.iterdir())
    with pytest.raises(FileExistsError, match="holds something that swmjax did not save"):
        save_pretrained(tiny, folder, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is a file"):
        save_pretrained(tiny, folder / "weights.pt", overwrite=overwrite)
    assert sorted(folder.iterdir()) == before


def test_what_cannot_be_saved(tmp_path: Path, tiny: Any) -> None:
    strange = nnx.clone(tiny)
    strange.count = nnx.Param(jnp.arange(2))
    with pytest.raises(ValueError, match="count: is int32; allowed are floating-point arrays"):
        save_pretrained(strange, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_nothing(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    save_pretrained(tiny, tmp_path / "old")
    before = sorted((tmp_path / "old").rglob("*"))
    monkeypatch.setattr(native.os, "replace", full)
    other = cast_model(tiny, jnp.bfloat16)
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(other, tmp_path / "new")
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(other, tmp_path / "old", overwrite=True, in_background=True).wait()
    assert not (tmp_path / "new").exists()
    assert sorted((tmp_path / "old").rglob("*")) == before
    assert_same(load_pretrained(tmp_path / "old"), tiny)


def test_saving_in_the_background(tmp_path: Path, tiny: Any) -> None:
    model = load_pretrained(GOLDEN / "tdmpc2_state")
    saving = save_pretrained(model, tmp_path / "run", in_background=True)
    # What happens to the model meanwhile does not matter.
    for leaf in jax.tree.leaves(nnx.state(model)):
        leaf.delete()
    assert_same(load_pretrained(saving.wait()), tiny)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda d: d["swmjax"].update(format=2, version="9.0"),
            r"is 2 \(written by swmjax 9.0\); this release reads 1",
        ),
        (lambda d: d["swmjax"].update(format="x"), "swmjax.format: is 'x'"),
        (lambda d: d["swmjax"].update(arrays="../../etc"), "swmjax.arrays: is '../../etc'"),
        (lambda d: d["swmjax"].update(arrays="arrays-no"), "no such folder; the checkpoint is damaged"),
        (lambda d: d["swmjax"].update(dtype=None), "swmjax.dtype: is None"),
        (
            lambda d: d["swmjax"].update(dtype="float16"),
            r"dynamics.layers?.*: expected float16, found float32|expected",
        ),
        (lambda d: d.pop("model"), "model: is missing"),
        (lambda d: d["model"].update(_target_="os.system"), "model._target_: 'os.system' is not known"),
        (lambda d: d["model"].update(nets=3), "model.nets: is not a known field; allowed are action_dim"),
        (lambda d: d["model"].update(num_q=1), "model: TDMPC2Config.num_q must be at least 2"),
        (lambda d: d["model"].update(num_q="x"), "model.num_q: is .x.; allowed is int"),
        (lambda d: d["model"].update(num_q=10**9), "model.num_q: is 1000000000; allowed are numbers up to 256"),
        (lambda d: d["model"].update(encoding=[["state", "8"]]), r"model.encoding\[0\]\[1\]: is .8.; allowed is int"),
        (lambda d: d["model"].update(num_q=4), r"qs.3.0.bias: is missing; expected shape|is missing"),
        (lambda d: d["model"].update(mlp_dim=25), r"expected shape \(25,\), found \(24,\)"),
    ],
)
def test_a_checkpoint_that_is_not_what_it_says(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    folder = shutil.copytree(TINY, tmp_path / "run")
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=problem) as caught:
        load_pretrained(folder)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(folder)) for line in lines)
    assert len(lines) <= 11


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "more"])
def test_damaged_arrays(tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(TINY, tmp_path / "run")
    file = max(folder.rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 16
    {
        "bit": lambda: file.write_bytes(data),
        "cut": lambda: file.write_bytes(data[:-1]),
        "gone": file.unlink,
        "more": lambda: (file.parent / "more").write_bytes(b""),
    }[damage]()
    with pytest.raises(CheckpointError, match="is damaged, its files have the checksum") as caught:
        load_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("native_*") if path.is_dir()))
def test_checkpoints_of_earlier_releases_load(name: str) -> None:
    model = load_pretrained(GOLDEN / name)
    origin = "tdmpc2_state" if "tdmpc2" in name else "gcrl_gcbc_deep"
    assert_same(model, load_pretrained(GOLDEN / origin))


DEVICES = """
import sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from flax import nnx
from swmjax.checkpoints import load_pretrained, save_pretrained

assert len(jax.devices()) == 8
mesh = Mesh(np.array(jax.devices()), ("model",))

def split(name, shape):
    return NamedSharding(mesh, P("model", *[None] * (len(shape) - 1)) if shape and shape[0] % 8 == 0 else P())

for source in sys.argv[1:3]:
    wanted = jax.tree.leaves(nnx.state(load_pretrained(source)))
    for sharding in (NamedSharding(mesh, P()), split):
        model = load_pretrained(source, sharding=sharding)
        found = jax.tree.leaves(nnx.state(model))
        assert all(len(leaf.sharding.device_set) == 8 for leaf in found)
        assert any(not leaf.sharding.is_fully_replicated for leaf in found) == (sharding is split)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
save_pretrained(model, sys.argv[3])
"""


def test_another_number_of_devices(tmp_path: Path, tiny: Any) -> None:
    save_pretrained(tiny, tmp_path / "run")
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DEVICES, tmp_path / "run", GOLDEN / "tdmpc2_state", tmp_path / "sharded"]
    done = subprocess.run(command, capture_output=True, text=True, env=flags, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(load_pretrained(tmp_path / "sharded"), tiny)


@pytest.mark.parametrize(
    ("writer", "problem"),
    [
        ("99.1.0", r"was written by orbax-checkpoint 99.1.0; try pip install 'orbax-checkpoint==99.1.0': .*new field"),
        (None, r"by an orbax-checkpoint that swmjax 0.1.0 did not name; try pip install --upgrade orbax-checkpoint"),
        (version("orbax-checkpoint"), "although that wrote it: .*new field"),
    ],
)
def test_files_that_this_orbax_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str | None, problem: str
) -> None:
    def newer(*_: object) -> None:
        raise KeyError("new field")

    folder = shutil.copytree(TINY, tmp_path / "run")
    document = json.loads((folder / "config.json").read_text())
    document["swmjax"]["orbax"] = writer
    (folder / "config.json").write_text(json.dumps(document))
    monkeypatch.setattr(orbax.checkpoint.PyTreeCheckpointer, "metadata", newer)
    with pytest.raises(CheckpointError, match=problem) as caught:
        load_pretrained(folder)
    assert f"cannot be read by orbax-checkpoint {version('orbax-checkpoint')}" in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_diverged_model_is_saved_and_refused_when_it_loads(tmp_path: Path, tiny: Any) -> None:
    diverged = cast_model(tiny, jnp.bfloat16)
    diverged.scale.value.set_value(diverged.scale.value[...] * jnp.nan)
    save_pretrained(diverged, tmp_path / "run")
    problem = (
        r"run: 1 of its tensors have entries that are NaN or infinite: scale.value \(1 of 1\); such a model cannot"
    )
    with pytest.raises(CheckpointError, match=problem):
        load_pretrained(tmp_path / "run")
    with pytest.warns(UserWarning, match=problem):
        model = load_pretrained(tmp_path / "run", allow_nonfinite=True)
    assert bool(jnp.isnan(model.scale.value[...]).all())


def test_an_import_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = shutil.copytree(GOLDEN / "lewm_mini_hf5", tmp_path / "torch")
    (source / "action_stats.json").write_text('{"action_mean": [0.0]}')
    done = import_checkpoint(source, tmp_path / "new")
    replace, fails = os.replace, ""

    def full(old: Any, new: Any) -> None:
        if Path(new).name == fails:
            raise OSError(28, "No space left on device")
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)
    for name in ("action_stats.json", "unused.pt", "config.json"):
        fails = name
        with pytest.raises(OSError, match="No space left"):
            done.save()
        assert not (tmp_path / "new").exists()
    fails = ""
    assert done.save() == tmp_path / "new"
    assert names(tmp_path / "new") == {"config.json", "arrays", "action_stats.json"}
