"""`swmjax import` and `swmjax export`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import reference_python
from typer.testing import CliRunner, Result

from swmjax.checkpoints import build_config, load_pretrained, read_state_dict
from swmjax.checkpoints.torch import verification
from swmjax.checkpoints.torch.writer import write_state_dict
from swmjax.cli.app import app

GOLDEN = Path(__file__).parents[1] / "golden"
LEWM = GOLDEN / "lewm_mini_hf4"
CONFIG = json.loads((LEWM / "config.json").read_text())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of checkpoints, not there yet."""
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    monkeypatch.delenv("SWMJAX_REFERENCE_PYTHON", raising=False)
    return tmp_path / "checkpoints"


def run_folder(home: Path, config: Any = CONFIG, **tensors: np.ndarray) -> Path:
    """A checkpoint of the reference named `run`."""
    folder = home / "run"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors:
        write_state_dict(folder / "weights.pt", tensors)
    else:
        shutil.copyfile(LEWM / "weights.pt", folder / "weights.pt")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_there_and_back(home: Path) -> None:
    (run_folder(home) / "action_stats.json").write_text("{}")
    done = run("import", "run")
    assert done.exit_code == 0, done.output
    for cell in ("LeWM in ", "encoder (ViT)", "36,576", "kept for export", "78,640", f"Imported as {home / 'run-jax'}"):
        assert cell in done.stdout
    assert (home / "run-jax" / "action_stats.json").read_text() == "{}"
    back = run("export", "run-jax", "back")
    assert back.exit_code == 0, back.output
    assert back.stdout == f"Exported 91 tensors to {home / 'back'}\n"
    found, wanted = (read_state_dict(folder / "weights.pt") for folder in (home / "back", LEWM))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
    assert json.loads((home / "back" / "config.json").read_text()) == CONFIG
    named = json.loads(run("export", "run-jax", "other", "--transformers", 5, "--json").stdout)
    assert named == {"source": "run-jax", "destination": str(home / "other"), "tensors": 91}
    assert "encoder.layers.0.attention.q_proj.weight" in read_state_dict(home / "other" / "weights.pt")
    assert "run-jax" in run("checkpoints").stdout


def test_json_and_a_dry_run(home: Path) -> None:
    run_folder(home)
    before = files(home)
    done = run("import", "run", "new", "--dry-run", "--json")
    told = json.loads(done.stdout)
    modules = told.pop("modules")
    assert told == {
        "source": str(home / "run" / "weights.pt"),
        "destination": str(home / "new"),
        "written": False,
        "family": "LeWM",
        "parameters": 78_638,
        "differences": None,
        "entry": "",
        "settings": {},
    }
    assert modules[0] == {
        "module": "encoder",
        "tensors": 38,
        "parameters": 36_576,
        "dtypes": ["float32"],
        "becomes": "encoder (ViT)",
    }
    assert files(home) == before
    assert (
        f"nothing was written; without --dry-run it would be {home / 'run-jax'}"
        in run("import", "run", "--dry-run").stderr
    )


def set_targets(prefix: str, *, root: str, predictor: str = "Predictor", **fields: Any) -> dict[str, Any]:
    """The configuration with other class paths, and with more fields at the root."""
    config = json.loads(json.dumps(CONFIG))
    config["_target_"] = root
    for name, kind in (
        ("predictor", predictor),
        ("action_encoder", "Embedder"),
        ("projector", "MLP"),
        ("pred_proj", "MLP"),
    ):
        config[name]["_target_"] = f"{prefix}.{kind}"
    return config | fields


def set_norms(**norm: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIG))
    for name in ("projector", "pred_proj"):
        config[name]["norm_fn"] = norm
    return config


MODULE = "stable_worldmodel.wm.lewm.module"
FORMS: dict[str, dict[str, Any]] = {
    "nested targets": CONFIG,
    "_recursive_ and _convert_": {**CONFIG, "_recursive_": True, "_convert_": "all"},
    "_partial_ of a class": set_norms(_target_="torch.nn.BatchNorm1d", _partial_=True),
    "get_class": set_norms(_target_="hydra.utils.get_class", path="torch.nn.BatchNorm1d"),
    "alias of the class": set_targets(MODULE, root="stable_worldmodel.wm.LeWM"),
    "older class path": set_targets(MODULE, root="stable_worldmodel.wm.lewm.lewm.LeWM"),
    "the le-wm repository": set_targets(
        "module", root="jepa.JEPA", predictor="ARPredictor", embed_dim=32, history_size=3
    ),
    "settings with a model": {"seed": 1, "trainer": {"max_epochs": 3}, "wm": {"history_size": 3}, "model": CONFIG},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_configuration(home: Path, form: str) -> None:
    run_folder(home, FORMS[form])
    done = run("import", "run", "--json")
    assert done.exit_code == 0, done.output
    assert load_pretrained("run-jax").config == build_config(CONFIG)
    assert run("export", "run-jax", "back").exit_code == 0
    assert build_config(json.loads((home / "back" / "config.json").read_text())) == build_config(CONFIG)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model._orig_mod."])
def test_prefixes_of_training(home: Path, prefix: str) -> None:
    tensors = {prefix + name: array for name, array in read_state_dict(LEWM / "weights.pt").items()}
    run_folder(home, **tensors)
    done = run("import", "run", "--json")
    assert done.exit_code == 0, done.output
    assert {row["module"].removeprefix(prefix) for row in json.loads(done.stdout)["modules"]} == {
        "encoder",
        "predictor",
        "action_encoder",
        "projector",
        "pred_proj",
    }


def test_a_training_module_around_the_model(home: Path) -> None:
    tensors = {f"model.{name}": array for name, array in read_state_dict(LEWM / "weights.pt").items()}
    tensors["sigreg.t"] = tensors["idm.net.0.weight"] = np.ones(3, np.float32)
    run_folder(home, **tensors)
    assert run("import", "run").exit_code == 0
    assert run("export", "run-jax", "back").exit_code == 0
    assert "sigreg.t" not in read_state_dict(home / "back" / "weights.pt")


def test_a_checkpoint_file_of_lightning(home: Path) -> None:
    folder = run_folder(home)
    (folder / "weights.pt").rename(folder / "last.ckpt")
    done = run("import", "run/last.ckpt")
    assert done.exit_code == 0, done.output
    assert (home / "run-last-jax" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing"], "no such folder"),
        (["run", "run"], "holds something that swmjax did not save"),
        (["run", "run/weights.pt"], "is a file; allowed is a folder"),
        (["native"], "is a checkpoint of swmjax already; load it as it is"),
        (["old_object.ckpt"], "is a pickled object of an older release"),
        (["pickled"], "global 'torch.nn.modules.linear Linear' is not allowed"),
        (["other"], "_target_: 'my.Model' is not known"),
        (["run", "new", "--verify"], "name a Python that has stable_worldmodel"),
        (["run", "new", "--verify", "--reference-python", "/no/python"], "no such interpreter"),
        (["run", "new", "--reference-python", "/no/python"], "--reference-python is for --verify"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(home: Path, arguments: list[str], problem: str) -> None:
    run_folder(home)
    (home / "old_object.ckpt").write_bytes(b"\x80\x02}.")
    shutil.copytree(GOLDEN / "native_tdmpc2_0_1", home / "native")
    for name, config, weights in (
        ("pickled", CONFIG, GOLDEN / "torch_archives" / "module_object.bad.pt"),
        ("other", {"_target_": "my.Model"}, LEWM / "weights.pt"),
    ):
        (home / name).mkdir()
        (home / name / "config.json").write_text(json.dumps(config))
        shutil.copyfile(weights, home / name / "weights.pt")
    before = files(home)
    done = run("import", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert files(home) == before


def test_a_configuration_that_does_not_fit_names_ten_tensors(home: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["encoder"]["intermediate_size"] = 7
    config["predictor"]["mlp_dim"] = 9
    config["action_encoder"]["smoothed_dim"] = 11
    run_folder(home, config)
    done = run("import", "run")
    lines = done.stderr.splitlines()
    assert done.exit_code == 2
    assert len(lines) == 11
    assert all("expected shape" in line for line in lines[:10])
    assert "more problems of this kind" in lines[10]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing", "new"], "no such folder"),
        (["run", "run"], "exists already; allowed is a folder that does not exist yet"),
        (["run", "run/config.json"], "exists already"),
    ],
)
def test_mistakes_of_an_export(home: Path, arguments: list[str], problem: str) -> None:
    run_folder(home)
    before = files(home)
    done = run("export", *arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert problem in done.stderr
    assert files(home) == before


def test_a_difference_from_the_reference_stops_the_import(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder(home)
    monkeypatch.setenv("SWMJAX_REFERENCE_PYTHON", "/bin/sh")
    monkeypatch.setattr(verification, "verify", lambda *_: verification.Verification({"latents": 1e-7, "rollout": 0.5}))
    done = run("import", "run", "--verify")
    assert done.exit_code == 1
    assert "differs from the reference by 5.00e-01; nothing was written" in done.stderr
    assert not (home / "run-jax").exists()
    monkeypatch.setattr(verification, "verify", lambda *_: verification.Verification({"latents": 1e-7}))
    done = run("import", "run", "--verify", "--json")
    assert json.loads(done.stdout)["differences"] == {"latents": 1e-7}
    assert (home / "run-jax" / "config.json").exists()


@pytest.fixture
def python() -> str:
    """The reference's interpreter; to be asked for before `home`, which hides it."""
    return reference_python()


@pytest.mark.reference
def test_verifying_with_the_reference(python: str, home: Path) -> None:
    run_folder(home)
    done = run("import", "run", "--verify", "--reference-python", python)
    assert done.exit_code == 0, done.output
    assert "Max relative difference" in done.stdout
