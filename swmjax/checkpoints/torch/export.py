"""Write a model as a torch checkpoint that the reference loads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints.names import checkpoint_path
from swmjax.checkpoints.torch.families import build_config, family_of
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import TensorSpec, spell_tensors, tensor_specs
from swmjax.checkpoints.torch.source import Loaded
from swmjax.checkpoints.torch.writer import write_state_dict
from swmjax.runs.files import check_writable, disk_errors, hidden, remove_leftovers

_DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def export_pretrained(
    model: nnx.Module | Loaded,
    dest: str | Path,
    *,
    root: Path | None = None,
    transformers: Literal[4, 5] | None = None,
) -> Path:
    """Write `config.json` and `weights.pt` that the reference's `load_pretrained` loads strictly.

    Args:
        model: a model of `swmjax.models`, or what `load_checkpoint` gave: then the file has the configuration, the
            names and the dtypes that the model came with, and the tensors that only training uses.
        dest: the folder to write, relative to `root` unless it is absolute or starts with `.` or `~`.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        transformers: the version of transformers that is to read the file, which names an encoder's tensors; None for
            the one that it came from, or 5.

    Returns:
        The folder. It appears at once, with both files in it.

    Raises:
        UserError: a model that has no torch form.
        FileExistsError: something is there already.

    Source: reference, `wm/utils.py`.
    """
    loaded = model if isinstance(model, Loaded) else Loaded(model)
    folder = checkpoint_path(dest, root)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists already; allowed is a folder that does not exist yet")
    check_writable(folder.parent)
    config, tensors = torch_checkpoint(loaded, transformers)
    check_writable(folder.parent, sum(array.nbytes for array in tensors.values()))
    made = _make_parents(folder.parent)
    remove_leftovers(folder)
    temporary = hidden(folder)
    try:
        with disk_errors(folder):
            temporary.mkdir()
            write_torch_checkpoint(temporary, config, tensors)
            os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise
    return folder


def write_torch_checkpoint(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write both files into a folder and have the disk hold them."""
    write_state_dict(folder / "weights.pt", tensors)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def torch_checkpoint(
    loaded: Loaded, transformers: Literal[4, 5] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `export_pretrained` writes: the configuration, and the tensors by name.

    Args:
        loaded: a model and where it came from.
        transformers: as for `export_pretrained`.

    Raises:
        UserError: a model that has no torch form.
    """
    model, source = loaded.model, loaded.source
    config: Any = getattr(model, "config", None)
    family = family_of(config)
    if family is None:
        raise UserError(f"a {type(model).__name__} has no torch form; allowed are models that the reference has")
    config = replace(config, remat=False) if hasattr(config, "remat") else config
    rules = family.rules(config)
    as_it_came = source.config is not None and build_config(source.config) == config
    described = dict(source.config or {}) if as_it_came else family.describe(config)
    canonical, specs = _canonical(model)
    version = transformers or source.transformers or 5
    tensors = {
        name: array.astype(_dtype(source.other_dtypes.get(name, source.dtype), array.dtype))
        for name, array in spell_tensors(canonical, rules, version).items()
    }
    buffers = _buffers(family, config, rules, specs, version)
    # A description made anew has no place for what the configuration does not know, such as a decoder.
    kept = {name: array for name, array in loaded.unused.items() if as_it_came or name in buffers}
    return described, tensors | buffers | kept


def _canonical(model: nnx.Module) -> tuple[dict[str, np.ndarray], dict[str, TensorSpec]]:
    variables = dict(nnx.to_flat_state(nnx.state(model)))
    specs = tensor_specs(variables)
    return {name: spec.restore(np.asarray(variables[spec.path].get_value())) for name, spec in specs.items()}, specs


def _buffers(
    family: Family, config: Any, rules: KeyRules, specs: Mapping[str, TensorSpec], version: Literal[4, 5]
) -> dict[str, np.ndarray]:
    batches = {
        rules.spelled(name.removesuffix("running_var") + "num_batches_tracked", version): np.zeros((), np.int64)
        for name in specs
        if name.endswith(".running_var")
    }
    return batches | dict(family.buffers(config))


def _dtype(name: str | None, found: np.dtype[Any]) -> np.dtype[Any]:
    return found if name is None else _DTYPES.get(name) or np.dtype(name)


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns those that were made, the innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing
