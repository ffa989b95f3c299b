"""Load what `native` saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints.abstract import Shardings, abstract, abstract_model, place
from swmjax.checkpoints.codec import from_json, override
from swmjax.checkpoints.errors import CheckpointError, listed, shown, warn, within
from swmjax.checkpoints.finite import check_finite, count_nonfinite
from swmjax.checkpoints.names import read_config
from swmjax.checkpoints.native import FORMAT, ORBAX, STAMP, UNUSED, digest, dotted, is_native, named
from swmjax.checkpoints.own_models import OwnModel, registered
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.families import family_of
from swmjax.checkpoints.torch.source import Loaded, Source

_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_KEYS = ("threefry2x32", "rbg", "unsafe_rbg")


@dataclass(frozen=True)
class _Stamp:
    arrays: str
    dtype: str
    other_dtypes: Mapping[str, str]
    sha256: str
    version: str
    orbax: str | None
    own: str | None
    config: str | None
    keys: Mapping[str, str]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> _Stamp:
        if not is_native(raw):
            raise CheckpointError(f"{STAMP}: is missing; allowed is the config.json of a checkpoint of swmjax")
        stamp = raw[STAMP]
        layout = stamp.get("format")
        if type(layout) is not int or not 1 <= layout <= FORMAT:
            written = f" (written by swmjax {shown(stamp.get('version'))[1:-1]})" if type(layout) is int else ""
            raise CheckpointError(
                f"{STAMP}.format: is {shown(layout)}{written}; this release reads 1 to {FORMAT}, a newer one may help"
            )
        arrays, dtype, others = stamp.get("arrays"), stamp.get("dtype"), stamp.get("other_dtypes", {})
        if not isinstance(arrays, str) or not arrays.startswith("arrays-") or Path(arrays).name != arrays:
            raise CheckpointError(f"{STAMP}.arrays: is {shown(arrays)}; allowed is the name of a folder beside it")
        if not isinstance(dtype, str) or not isinstance(others, dict):
            raise CheckpointError(f"{STAMP}.dtype: is {shown(dtype)}; allowed is the name of a dtype")
        release, orbax, own = stamp.get("version"), stamp.get("orbax"), stamp.get("class")
        keys, config = stamp.get("keys"), stamp.get("config")
        return cls(
            arrays,
            dtype,
            others,
            str(stamp.get("sha256")),
            shown(release).strip("'"),
            orbax if isinstance(orbax, str) and _VERSION.fullmatch(orbax) else None,
            own if isinstance(own, str) else None,
            config if isinstance(config, str) else None,
            keys if isinstance(keys, dict) else {},
        )

    def unreadable(self, error: Exception) -> str:
        """Why Orbax cannot read files that are as they were written, and what to install."""
        here, reason = version(ORBAX), shown(str(error) or type(error).__name__, 200)
        if self.orbax == here:
            return f"cannot be read by {ORBAX} {here}, although that wrote it: {reason}"
        if self.orbax is None:
            by, install = f"an {ORBAX} that swmjax {self.version} did not name", f"--upgrade {ORBAX}"
        else:
            by, install = f"{ORBAX} {self.orbax}", f"'{ORBAX}=={self.orbax}'"
        return f"cannot be read by {ORBAX} {here}, and was written by {by}; try pip install {install}: {reason}"


def restore(
    file: Path,
    *,
    dtype: Any = None,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    extra_args: Mapping[str, Any] | None = None,
    allow_nonfinite: bool = False,
    own: OwnModel | None = None,
    note: Callable[[str], None] = warn,
) -> Loaded:
    """Load a checkpoint of swmjax.

    Args:
        file: its `config.json`.
        dtype: the dtype of every floating-point array; None for those that were saved.
        probes: probes that were attached when it was saved, by key.
        sharding: where the arrays go, whatever devices they were saved from.
        extra_args: fields of the configuration to replace, by dotted key.
        allow_nonfinite: take weights that are NaN or infinite.
        own: the class of a model that is none of `swmjax.models`; None for the registered one.
        note: told of weights that are not finite.

    Raises:
        CheckpointError: not what the configuration describes, not finite, damaged, or written by another Orbax; one
            line per problem.
    """
    raw, folder = read_config(file), file.parent
    with within(file):
        stamp = _Stamp.read(raw)
        model = _model(raw, stamp, own, extra_args, probes)
        graph, state = nnx.split(model)
        wanted, keys = _as_stored(named(state), stamp)
    kinds = {name: _dtype(name, stamp, dtype) for name in wanted}
    for kind in set(kinds.values()):
        if jax.dtypes.canonicalize_dtype(kind) != kind:
            raise UserError(f"{file}: the arrays are {kind}, which needs jax_enable_x64; or load with another dtype")
    arrays = _read(folder / stamp.arrays, stamp, wanted, kinds, sharding)
    with within(folder):
        counts = ((name, count_nonfinite(array), array.size) for name, array in arrays.items())
        check_finite(counts, allow_nonfinite, lambda text: note(f"{folder}: {text}"))
    arrays |= {name: jax.random.wrap_key_data(arrays[name], impl=kind) for name, kind in keys.items()}
    filled = [(path, variable.replace(arrays[dotted(path)])) for path, variable in nnx.to_flat_state(state)]
    unused = folder / stamp.arrays / UNUSED
    return Loaded(
        nnx.merge(graph, nnx.from_flat_state(filled)),
        _source(raw.get("source")),
        read_state_dict(unused) if unused.exists() else {},
    )


def _model(
    raw: Mapping[str, Any],
    stamp: _Stamp,
    own: OwnModel | None,
    extra_args: Mapping[str, Any] | None,
    probes: Mapping[str, nnx.Module] | None,
) -> nnx.Module:
    """The model that a `config.json` describes, with shapes in place of arrays."""
    described, name = raw.get("model"), shown(stamp.own)[1:-1]
    own = own or registered(stamp.own)
    if own is None and stamp.own is not None:
        raise CheckpointError(
            f"{STAMP}.class: is {name}, which is none of swmjax.models; give the class itself as model_class, or tell "
            "register_model of it (for a command, in a module that --allow-module imports): nothing is imported by a "
            "name in a file"
        )
    if own is not None and stamp.own is not None and described is None:
        make = own.model
        return abstract(lambda: make(rngs=nnx.Rngs(0)), probes)
    if not isinstance(described, dict):
        raise CheckpointError("model: is missing; allowed is a model's configuration")
    values = override(described, extra_args)
    if own is not None:
        if stamp.config == "dataclass" and own.config is None:
            raise CheckpointError(
                f"{STAMP}.class: the configuration of {name} is a {shown(values.get('_target_'))[1:-1]}; give that "
                "class as config_class"
            )
        make, config = own.model, values if stamp.config == "mapping" else from_json(values, own=own.config)
        return abstract(lambda: make(config, rngs=nnx.Rngs(0)), probes)
    config = from_json(values)
    family = family_of(config)
    if family is None:
        raise CheckpointError(f"model: is a {type(config).__name__}; allowed is that of a whole model")
    return abstract_model(family.model, config, probes)


def _as_stored(wanted: dict[str, Any], stamp: _Stamp) -> tuple[dict[str, Any], dict[str, str]]:
    """Shapes of arrays as they were written, keys as the numbers that they are made of; and the kinds of keys."""
    keys = {}
    for name, value in wanted.items():
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            keys[name] = stamp.keys.get(name, "threefry2x32")
            if keys[name] not in _KEYS:
                raise CheckpointError(f"{name}: is a key of kind {shown(keys[name])}; allowed are {', '.join(_KEYS)}")
    return {name: jax.eval_shape(jax.random.key_data, v) if name in keys else v for name, v in wanted.items()}, keys


def _dtype(name: str, stamp: _Stamp, wanted: Any) -> np.dtype[Any]:
    saved = np.dtype(stamp.other_dtypes.get(name, stamp.dtype))
    return np.dtype(wanted) if wanted is not None and jnp.issubdtype(saved, jnp.floating) else saved


def _source(value: Any) -> Source:
    """What a file says about its origin; one that says something else than this release writes has none."""
    kept = value if isinstance(value, dict) else {}
    config, version, dtype = kept.get("config"), kept.get("transformers"), kept.get("dtype")
    others, settings = kept.get("other_dtypes"), kept.get("settings")
    return Source(
        config if isinstance(config, dict) else None,
        version if version in (4, 5) else None,
        dtype if isinstance(dtype, str) else None,
        others if isinstance(others, dict) else {},
        settings if isinstance(settings, dict) else {},
    )


def _read(
    folder: Path, stamp: _Stamp, wanted: Mapping[str, Any], kinds: Mapping[str, np.dtype[Any]], sharding: Shardings
) -> dict[str, jax.Array]:
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; the checkpoint is damaged")
    if (found := digest(folder)) != stamp.sha256:
        raise CheckpointError(f"{folder}: is damaged, its files have the checksum {found} instead of {stamp.sha256}")
    checkpointer = ocp.PyTreeCheckpointer()
    try:
        tree = checkpointer.metadata(folder.absolute()).item_metadata.tree
        problems = _problems(tree, wanted, stamp)
        if not problems:
            arguments = {
                name: ocp.ArrayRestoreArgs(
                    sharding=place(sharding, name, tuple(value.shape)), dtype=kinds[name], global_shape=value.shape
                )
                for name, value in wanted.items()
            }
            return checkpointer.restore(folder.absolute(), restore_args=arguments)
    except Exception as error:  # tensorstore and Orbax raise whatever they cannot read leads them to
        # Their checksum says that the files are those that were written.
        raise CheckpointError(f"{folder}: {stamp.unreadable(error)}") from error
    finally:
        checkpointer.close()
    with within(folder):
        raise CheckpointError(listed(problems))


def _problems(found: Mapping[str, Any], wanted: Mapping[str, Any], stamp: _Stamp) -> list[str]:
    """One line for every array that is not what the configuration and the stamp say."""
    wrong = []
    for name, value in wanted.items():
        dtype = stamp.other_dtypes.get(name, stamp.dtype)
        if name not in found:
            wrong.append(f"{name}: is missing; expected shape {tuple(value.shape)}")
        elif tuple(found[name].shape) != tuple(value.shape):
            wrong.append(f"{name}: expected shape {tuple(value.shape)}, found {tuple(found[name].shape)}")
        elif np.dtype(found[name].dtype).name != dtype:
            wrong.append(f"{name}: expected {dtype}, found {np.dtype(found[name].dtype).name}")
    return wrong + [
        f"{shown(name)[1:-1]}: is not an array of this model; found shape {tuple(found[name].shape)}"
        for name in found
        if name not in wanted
    ]
