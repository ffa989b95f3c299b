"""Load a checkpoint, whatever its format, into a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints import native
from swmjax.checkpoints.abstract import Shardings
from swmjax.checkpoints.errors import within
from swmjax.checkpoints.names import resolve_checkpoint
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.read import TorchCheckpoint, fill
from swmjax.checkpoints.torch.source import Loaded
from swmjax.models.probes import attach_probe, get_probe


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
    wanted = np.dtype(jnp.float32 if dtype is None else dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise UserError(f"dtype must be a floating-point type, got {wanted}")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise UserError("dtype float64 needs jax_enable_x64; allowed without it are float32, float16 and bfloat16")
    files = resolve_checkpoint(name, root)
    if files.weights is not None:
        checkpoint = TorchCheckpoint.read(files, extra_args)
        return checkpoint.load(wanted, remat=remat, probes=probes, sharding=sharding)
    given = {**(extra_args or {}), **({"remat": True} if remat else {})}
    kept = None if dtype is None else wanted
    return native.restore(files.config, dtype=kept, probes=probes, sharding=sharding, extra_args=given)


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
    with within(Path(path)):
        return attach_probe(model, key, fill(probe, tensors, KeyRules(), dtype))
