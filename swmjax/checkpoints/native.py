"""Checkpoints of swmjax: a folder with `config.json` and the arrays in Orbax's format.

`config.json` holds the version stamp, the model's configuration and the name of the folder of arrays, so that the one
`os.replace` of this file is the moment at which a new save takes the old one's place. Until then the old arrays lie
untouched; a save that was killed leaves at worst a folder that nothing refers to, which the next save removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import swmjax
from envs_mjx.checks import UserError
from swmjax.checkpoints.abstract import Shardings, abstract_model, place
from swmjax.checkpoints.codec import from_json, override, to_json
from swmjax.checkpoints.errors import CheckpointError, listed, shown, within
from swmjax.checkpoints.names import checkpoint_path, read_config
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.families import family_of
from swmjax.checkpoints.torch.source import Loaded, Source
from swmjax.checkpoints.torch.writer import write_state_dict
from swmjax.runs.files import check_writable, disk_errors

FORMAT = 1
"""Version of the layout; a release reads this one and all before it."""
STAMP = "swmjax"
"""Key of the version stamp; `config.json` of a torch checkpoint has none."""
_UNUSED = "unused.pt"


class Saving:
    """A save on its way; `wait` returns when the checkpoint is there, and raises what went wrong."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], None], in_background: bool) -> Saving:
        """Write, here or in a thread."""

        def named() -> None:
            with disk_errors(self.folder):
                write()

        if not in_background:
            named()
            return self
        self._thread = threading.Thread(target=self._run, args=(named,), name=f"save {self.folder.name}")
        self._thread.start()
        return self

    def wait(self) -> Path:
        """The folder, once everything is written."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self.folder

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._error = error


def save_pretrained(
    model: nnx.Module | Loaded,
    name: str | Path,
    *,
    root: Path | None = None,
    overwrite: bool = False,
    in_background: bool = False,
) -> Saving:
    """Save a model so that `load_pretrained(name)` loads it.

    Args:
        model: a model of `swmjax.models`, with its configuration as `config`; or what `load_checkpoint` gave, so that
            an export later can write the torch checkpoint back as it was.
        name: a folder, relative to `root` unless it is absolute or starts with `.` or `~`.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        overwrite: replace a checkpoint of swmjax there; other files in the folder stay.
        in_background: return once the arrays are copied; `wait()` of the result waits for the file.

    Returns:
        The save: done, or on its way. One process at a time may save to a folder.

    Raises:
        UserError: a model that has no configuration or an array that is no floating-point number.
        FileExistsError: something is there that may not be replaced.
    """
    folder = checkpoint_path(name, root)
    check_free(folder, overwrite)
    loaded = model if isinstance(model, Loaded) else Loaded(model)
    model = loaded.model
    arrays = _named(nnx.state(model))
    for path, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{path}: is {array.dtype}; allowed are floating-point arrays")
    config = getattr(model, "config", None)
    if config is None:
        raise UserError(f"a {type(model).__name__} has no `config`; allowed are the models of swmjax.models")
    dtypes = {path: array.dtype.name for path, array in arrays.items()}
    usual = Counter(dtypes.values()).most_common(1)[0][0]
    document = {
        STAMP: {
            "format": FORMAT,
            "version": swmjax.__version__,
            "family": type(model).__name__,
            "dtype": usual,
            "other_dtypes": {path: dtype for path, dtype in dtypes.items() if dtype != usual},
            "arrays": f"arrays-{secrets.token_hex(4)}",
            "sha256": None,
        },
        "model": to_json(config),
        "source": vars(loaded.source),
    }
    if in_background:
        # Copies: a step of training may donate the model's buffers meanwhile.
        arrays = {path: np.array(array) for path, array in arrays.items()}
    return Saving(folder).start(lambda: _write(folder, document, arrays, loaded.unused), in_background)


def is_native(config: Mapping[str, Any]) -> bool:
    """Whether this is the `config.json` of a checkpoint of swmjax."""
    return isinstance(config.get(STAMP), dict)


@dataclass(frozen=True)
class _Stamp:
    arrays: str
    dtype: str
    other_dtypes: Mapping[str, str]
    sha256: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> _Stamp:
        if not is_native(raw):
            raise CheckpointError(f"{STAMP}: is missing; allowed is the config.json of a checkpoint of swmjax")
        stamp = raw[STAMP]
        version = stamp.get("format")
        if type(version) is not int or not 1 <= version <= FORMAT:
            written = f" (written by swmjax {shown(stamp.get('version'))[1:-1]})" if type(version) is int else ""
            raise CheckpointError(
                f"{STAMP}.format: is {shown(version)}{written}; this release reads 1 to {FORMAT}, a newer one may help"
            )
        arrays, dtype, others = stamp.get("arrays"), stamp.get("dtype"), stamp.get("other_dtypes", {})
        if not isinstance(arrays, str) or not arrays.startswith("arrays-") or Path(arrays).name != arrays:
            raise CheckpointError(f"{STAMP}.arrays: is {shown(arrays)}; allowed is the name of a folder beside it")
        if not isinstance(dtype, str) or not isinstance(others, dict):
            raise CheckpointError(f"{STAMP}.dtype: is {shown(dtype)}; allowed is the name of a dtype")
        return cls(arrays, dtype, others, str(stamp.get("sha256")))


def restore(
    file: Path,
    *,
    dtype: Any = None,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
    extra_args: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load a checkpoint of swmjax.

    Args:
        file: its `config.json`.
        dtype: the dtype of every array; None for those that were saved.
        probes: probes that were attached when it was saved, by key.
        sharding: where the arrays go, whatever devices they were saved from.
        extra_args: fields of the configuration to replace, by dotted key.

    Raises:
        CheckpointError: not what the configuration describes, or damaged; one line per problem.
    """
    raw, folder = read_config(file), file.parent
    with within(file):
        stamp = _Stamp.read(raw)
        if not isinstance(raw.get("model"), dict):
            raise CheckpointError("model: is missing; allowed is a model's configuration")
        config = from_json(override(raw["model"], extra_args))
        family = family_of(config)
        if family is None:
            raise CheckpointError(f"model: is a {type(config).__name__}; allowed is that of a whole model")
    graph, state = nnx.split(abstract_model(family.model, config, probes))
    wanted = _named(state)
    kinds = {name: np.dtype(dtype or stamp.other_dtypes.get(name, stamp.dtype)) for name in wanted}
    for kind in set(kinds.values()):
        if jax.dtypes.canonicalize_dtype(kind) != kind:
            raise UserError(f"{file}: the arrays are {kind}, which needs jax_enable_x64; or load with another dtype")
    arrays = _read(folder / stamp.arrays, stamp, wanted, kinds, sharding)
    filled = [(path, variable.replace(arrays[_dotted(path)])) for path, variable in nnx.to_flat_state(state)]
    unused = folder / stamp.arrays / _UNUSED
    return Loaded(
        nnx.merge(graph, nnx.from_flat_state(filled)),
        _source(raw.get("source")),
        read_state_dict(unused) if unused.exists() else {},
    )


def _source(value: Any) -> Source:
    """What a file says about its origin; one that says something else than this release writes has none."""
    kept = value if isinstance(value, dict) else {}
    config, version, dtype = kept.get("config"), kept.get("transformers"), kept.get("dtype")
    others = kept.get("other_dtypes")
    return Source(
        config if isinstance(config, dict) else None,
        version if version in (4, 5) else None,
        dtype if isinstance(dtype, str) else None,
        others if isinstance(others, dict) else {},
    )


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _named(state: Any) -> dict[str, Any]:
    """Arrays, or shapes, by dotted name."""
    return {_dotted(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def _read(
    folder: Path, stamp: _Stamp, wanted: Mapping[str, Any], kinds: Mapping[str, np.dtype[Any]], sharding: Shardings
) -> dict[str, jax.Array]:
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; the checkpoint is damaged")
    if (found := _digest(folder)) != stamp.sha256:
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
    except Exception as error:  # tensorstore and Orbax raise whatever a damaged file leads them to
        raise CheckpointError(f"{folder}: is damaged, {shown(str(error), 200)}") from error
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


def check_free(folder: Path, overwrite: bool) -> None:
    """FileExistsError unless a checkpoint may be saved to this folder, OSError unless it can be."""
    check_writable(folder.parent)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; allowed is a folder that does not exist yet")
    config = folder / "config.json"
    if not config.exists() and not list(folder.glob("*.pt")):
        return
    try:
        native = is_native(json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        native = False
    if not native:
        raise FileExistsError(f"{folder}: holds something that swmjax did not save; take another name")
    if not overwrite:
        raise FileExistsError(f"{folder}: is a checkpoint already; take another name, or allow to overwrite it")


def _write(folder: Path, document: dict[str, Any], arrays: dict[str, Any], unused: Mapping[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp

    check_writable(folder, sum(array.nbytes for array in arrays.values()))
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / document[STAMP]["arrays"]
    new = folder / f".config-{data.name}.json"
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(data.absolute(), arrays)
        if unused:
            write_state_dict(data / _UNUSED, unused)
        document[STAMP]["sha256"] = _digest(data)
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for path in (new, *data.rglob("*"), data):
            _sync(path)
        os.replace(new, folder / "config.json")
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        new.unlink(missing_ok=True)
        for part in folder.glob(f"{data.name}*"):
            shutil.rmtree(part, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    _sync(folder)
    for path in folder.glob("arrays-*"):
        if path != data:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".config-arrays-*.json"):
        path.unlink(missing_ok=True)


def _digest(folder: Path) -> str:
    """Checksum of the names and bytes of all files in a folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def _sync(path: Path) -> None:
    """Have the disk hold what was written, so that the order of writes survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
