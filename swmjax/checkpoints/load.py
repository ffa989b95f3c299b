"""Load a checkpoint, whatever its format, into a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints.abstract import Shardings
from swmjax.checkpoints.errors import warn, within
from swmjax.checkpoints.names import resolve_checkpoint, root_of
from swmjax.checkpoints.own_models import OwnModel
from swmjax.checkpoints.restore import restore
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.read import TorchCheckpoint, fill
from swmjax.checkpoints.torch.source import Loaded
from swmjax.models.probes import attach_probe, get_probe


def load_pretrained(
    name: str | Path,
    cache_dir: str | Path | None = None,
    extra_args: Mapping[str, Any] | None = None,
    *,
    dtype: Any = None,
    root: Path | None = None,
    remat: bool = False,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    key: str | None = None,
    allow_nonfinite: bool = False,
    model_class: Callable[..., nnx.Module] | None = None,
    config_class: type | None = None,
    note: Callable[[str], None] = warn,
) -> Any:
    """Load a world model: what `save_pretrained` wrote, or a folder with `config.json` and torch weights.

    Args:
        name: a `.pt` file, a folder or `user/repo` on the hub; see `resolve_checkpoint`.
        cache_dir: takes the place of `$STABLEWM_HOME`.
        extra_args: values of `config.json` to set, by dotted key, for example `{"model.encoder.size": "small"}`; a key
            begins with `model.`, or at the top level of the file. None sets null, which takes a key away unless null
            means something of its own there.
        dtype: the dtype of every parameter, whatever the file has; float64 needs x64 mode. None for what
            `save_pretrained` saved, and for float32 from torch weights.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        remat: gradients through rollouts recompute instead of store, so that gradient solvers need less memory.
        probes: probes that were attached when the file was written, by key; their values are replaced.
        sharding: where arrays go: one sharding for all, or a function of dotted name and shape; None for the
            default device.
        key: the entry of a torch file that holds the state dict; as for `read_state_dict`.
        allow_nonfinite: take weights that are NaN or infinite instead of refusing the checkpoint.
        model_class: the class of a model of one's own, built as `model_class(config, rngs=...)`, or as
            `model_class(rngs=...)` from a checkpoint without a configuration; not needed for the models of
            `swmjax.models`, and for those that `register_model` was told. Nothing is imported by a name in a file.
        config_class: the class of its configuration; None for what the constructor says that `config` is.
        note: told where the state dict was found if not at the top level, and of weights that are not finite; a
            warning if not given.

    Returns:
        The model that the configuration describes, in evaluation mode; its arrays are copies, independent of the file.

    Raises:
        CheckpointError: the checkpoint cannot be used; one line per problem, each begins with the file.
        UserError: `dtype` is not a floating-point type, or float64 without x64 mode, or the model
            has no `remat`; both `root` and `cache_dir` are given.

    Source: reference, `wm/utils.py`.
    """
    return load_checkpoint(
        name,
        cache_dir,
        extra_args,
        dtype=dtype,
        root=root,
        remat=remat,
        probes=probes,
        sharding=sharding,
        key=key,
        allow_nonfinite=allow_nonfinite,
        model_class=model_class,
        config_class=config_class,
        note=note,
    ).model


def load_checkpoint(
    name: str | Path,
    cache_dir: str | Path | None = None,
    extra_args: Mapping[str, Any] | None = None,
    *,
    dtype: Any = None,
    root: Path | None = None,
    remat: bool = False,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    key: str | None = None,
    allow_nonfinite: bool = False,
    model_class: Callable[..., nnx.Module] | None = None,
    config_class: type | None = None,
    note: Callable[[str], None] = warn,
) -> Loaded:
    """As `load_pretrained`, with what an export needs to write a torch checkpoint back as it was."""
    wanted = np.dtype(jnp.float32 if dtype is None else dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise UserError(f"dtype must be a floating-point type, got {wanted}")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise UserError("dtype float64 needs jax_enable_x64; allowed without it are float32, float16 and bfloat16")
    files = resolve_checkpoint(name, root_of(root, cache_dir))
    if files.weights is not None:
        if model_class is not None:
            raise UserError(f"model_class: {files.weights} is a torch file; allowed is a checkpoint of swmjax")
        checkpoint = TorchCheckpoint.read(files, extra_args, key=key, note=note)
        return checkpoint.load(wanted, remat=remat, probes=probes, sharding=sharding, allow_nonfinite=allow_nonfinite)
    if key is not None:
        raise UserError(f"key: {files.config.parent} is a checkpoint of swmjax; allowed is a torch file")
    given = {name.removeprefix("model."): value for name, value in (extra_args or {}).items()}
    return restore(
        files.config,
        dtype=None if dtype is None else wanted,
        probes=probes,
        sharding=sharding,
        extra_args=given | ({"remat": True} if remat else {}),
        allow_nonfinite=allow_nonfinite,
        own=None if model_class is None else OwnModel.of(model_class, config_class),
        note=note,
    )


def load_probe(model: Any, key: str, path: str | Path, *, allow_nonfinite: bool = False) -> Any:
    """Fill an attached probe from a file of its own.

    Args:
        model: a model with a probe of that name.
        key: the name.
        path: a `.pt` file with the probe's state dict; a pickled module is refused.
        allow_nonfinite: take weights that are NaN or infinite.

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
    with within(Path(path)):
        return attach_probe(model, key, fill(probe, tensors, KeyRules(), dtype, allow_nonfinite=allow_nonfinite))
