"""Load a reference checkpoint into a model of swmjax."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints import native
from swmjax.checkpoints.abstract import Shardings, abstract_model, place
from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.names import CheckpointFiles, read_config, resolve_checkpoint
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.families import build_config, complete, family_of
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import match_tensors, tensor_specs
from swmjax.checkpoints.torch.source import Loaded, override, source_of, unused_of
from swmjax.models.probes import attach_probe, get_probe

_MODEL = re.compile(r"(?:(?:module|_orig_mod)\.)*model\.")


def load_pretrained(
    name: str | Path,
    *,
    dtype: Any = None,
    root: Path | None = None,
    remat: bool = False,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    extra_args: Mapping[str, Any] | None = None,
) -> Any:
    """Load a world model: what `save_pretrained` wrote, or a folder with `config.json` and torch weights.

    Args:
        name: a `.pt` file, a folder or `user/repo` on the hub; see `resolve_checkpoint`.
        dtype: the dtype of every parameter, whatever the file has; float64 needs x64 mode. None for what
            `save_pretrained` saved, and for float32 from torch weights.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        remat: gradients through rollouts recompute instead of store, so that gradient solvers need less memory.
        probes: probes that were attached when the file was written, by key; their values are replaced.
        sharding: where arrays go: one sharding for all, or a function of dotted name and shape; None for the
            default device.
        extra_args: values of `config.json` to replace, by dotted key.

    Returns:
        The model that the configuration describes, in evaluation mode; its arrays are copies, independent of the file.

    Raises:
        CheckpointError: the checkpoint cannot be used; one line per problem, each begins with the file.
        UserError: `dtype` is not a floating-point type, or float64 without x64 mode, or the model
            has no `remat`.

    Source: reference, `wm/utils.py`.
    """
    return load_checkpoint(
        name, dtype=dtype, root=root, remat=remat, probes=probes, sharding=sharding, extra_args=extra_args
    ).model


def load_checkpoint(
    name: str | Path,
    *,
    dtype: Any = None,
    root: Path | None = None,
    remat: bool = False,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    extra_args: Mapping[str, Any] | None = None,
) -> Loaded:
    """As `load_pretrained`, with what an export needs to write a torch checkpoint back as it was."""
    return load_files(
        resolve_checkpoint(name, root),
        dtype=dtype,
        remat=remat,
        probes=probes,
        sharding=sharding,
        extra_args=extra_args,
    )


def load_files(
    files: CheckpointFiles,
    *,
    dtype: Any = None,
    remat: bool = False,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    extra_args: Mapping[str, Any] | None = None,
) -> Loaded:
    """As `load_checkpoint`, from files that were found already."""
    wanted = np.dtype(jnp.float32 if dtype is None else dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise UserError(f"dtype must be a floating-point type, got {wanted}")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise UserError("dtype float64 needs jax_enable_x64; allowed without it are float32, float16 and bfloat16")
    raw = read_config(files.config)
    if files.weights is None:
        given = {**(extra_args or {}), **({"remat": True} if remat else {})}
        kept = None if dtype is None else wanted
        return native.restore(files.config.parent, raw, dtype=kept, probes=probes, sharding=sharding, extra_args=given)
    try:
        raw = override(raw, extra_args)
        config = build_config(raw)
    except CheckpointError as error:
        raise CheckpointError(_prefixed(files.config, error)) from None
    if remat and not hasattr(config, "remat"):
        raise UserError(f"remat: {type(config).__name__} has no such option")
    tensors = model_part(read_state_dict(files.weights))
    config = complete(config, tensors)
    try:
        model = build_model(replace(config, remat=True) if remat else config, tensors, wanted, probes, sharding)
    except CheckpointError as error:
        raise CheckpointError(_prefixed(files.weights, error)) from None
    family = family_of(config)
    return Loaded(model, source_of(raw, config, tensors, family), unused_of(config, tensors, family))


def model_part(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The tensors of the model, where a training module with losses and teachers has it as `model`."""
    return {name: array for name, array in tensors.items() if _MODEL.match(name)} or tensors


def build_model(
    config: Any,
    tensors: Mapping[str, np.ndarray],
    dtype: Any,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
) -> Any:
    """Build the model of a configuration and fill it with tensors.

    Args:
        config: as `build_config` makes it.
        tensors: a torch state dict.
        dtype: the dtype of every parameter.
        probes: probes to attach before, by key.
        sharding: where arrays go.

    Raises:
        CheckpointError: the tensors are not those of this model; one line per problem.
    """
    config = complete(config, tensors)
    return fill(abstract_model(config, probes), tensors, family_of(config).rules(config), dtype, sharding)


def fill(
    model: nnx.Module,
    tensors: Mapping[str, np.ndarray],
    rules: KeyRules,
    dtype: Any,
    sharding: Shardings = None,
) -> Any:
    """A module with the values of a torch state dict.

    Args:
        model: the module; only its structure and shapes matter.
        tensors: a torch state dict.
        rules: how the file names its tensors.
        dtype: the dtype of every parameter.
        sharding: where arrays go.

    Raises:
        CheckpointError: the tensors are not those of this module; one line per problem.
    """
    graph, state = nnx.split(model)
    variables = dict(nnx.to_flat_state(state))
    arrays = match_tensors(tensors, tensor_specs(variables), rules)
    copies = {path: np.array(array, dtype, order="C") for path, array in arrays.items()}
    places = {path: place(sharding, ".".join(map(str, path)), array.shape) for path, array in copies.items()}
    values = jax.device_put(copies, places)
    filled = [(path, variable.replace(values[path])) for path, variable in variables.items()]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def load_probe(model: Any, key: str, path: str | Path) -> Any:
    """Fill an attached probe from a file of its own.

    Args:
        model: a model with a probe of that name.
        key: the name.
        path: a `.pt` file with the probe's state dict; a pickled module is refused.

    Returns:
        A new model; the given one stays as it is.

    Raises:
        CheckpointError: the file cannot be used; one line per problem, each begins with the file.
        UserError: the model has no such probe.

    Source: reference, `wm/probes.py`.
    """
    probe = get_probe(model, key)
    if probe is None:
        raise UserError(f"the model has no probe {key!r}; attach one with attach_probe before filling it")
    tensors = read_state_dict(path)
    dtype = next(leaf.dtype for leaf in jax.tree.leaves(nnx.state(probe)))
    try:
        return attach_probe(model, key, fill(probe, tensors, KeyRules(), dtype))
    except CheckpointError as error:
        raise CheckpointError(_prefixed(Path(path), error)) from None


def _prefixed(file: Path, error: CheckpointError) -> str:
    return "\n".join(f"{file}: {line}" for line in str(error).splitlines())
