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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import swmjax
from envs_mjx.checks import UserError
from swmjax.checkpoints.describe import describe, picked
from swmjax.checkpoints.names import checkpoint_path, root_of
from swmjax.checkpoints.torch.source import Loaded
from swmjax.checkpoints.torch.writer import write_state_dict
from swmjax.runs.files import check_writable, disk_errors, replacing

FORMAT = 1
"""Version of the layout; a release reads this one and all before it."""
STAMP = "swmjax"
"""Key of the version stamp; `config.json` of a torch checkpoint has none."""
UNUSED = "unused.pt"
"""Tensors of a torch checkpoint that inference does not use, beside the arrays."""
ORBAX = "orbax-checkpoint"
"""The package that writes and reads the arrays."""


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
    name: str | Path | None = None,
    config: Any = None,
    config_key: str | None = None,
    filename: str = "weights.pt",
    cache_dir: str | Path | None = None,
    *,
    run_name: str | Path | None = None,
    root: Path | None = None,
    overwrite: bool = False,
    in_background: bool = False,
) -> Saving:
    """Save a model so that `load_pretrained(name)` loads it.

    Args:
        model: a model of `swmjax.models`, with its configuration as `config`; or what `load_checkpoint` gave, so that
            an export later can write the torch checkpoint back as it was; or a module of one's own, whose checkpoint
            names its class as text (see `register_model`).
        name: a folder, relative to `root` unless it is absolute or starts with `.` or `~`.
        config: the configuration, where the model does not have it: a dataclass, or a mapping. For a model of
            `swmjax.models` the reference's `config.json` of it, which an export writes back. A model of one's own that
            has none is saved as weights alone, with a warning.
        config_key: the part of `config` to take, if it has such a part.
        filename: another name than `weights.pt` makes one of several checkpoints in the folder, which
            `load_pretrained(f"{name}/{filename}")` loads.
        cache_dir: takes the place of `$STABLEWM_HOME`.
        run_name: another name for `name`, as the reference calls it.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        overwrite: replace a checkpoint of swmjax there; other files in the folder stay.
        in_background: return once the arrays are copied; `wait()` of the result waits for the file.

    Returns:
        The save: done, or on its way. One process at a time may save to a folder.

    Raises:
        UserError: a configuration that is not the model's or cannot be written, an array that is no floating-point
            number in a model of `swmjax.models`, no name or two.
        FileExistsError: something is there that may not be replaced.

    Source: reference, `wm/utils.py`.
    """
    given = [one for one in (name, run_name) if one is not None]
    if len(given) != 1:
        raise UserError("save_pretrained takes name or run_name, and they mean the same; give one of them")
    folder = checkpoint_path(given[0], root_of(root, cache_dir))
    if filename != "weights.pt":
        if not filename or Path(filename).name != filename:
            raise UserError(f"filename: is {filename!r}; allowed is the name of a file, without a folder")
        folder /= filename.removesuffix(".pt")
    loaded = model if isinstance(model, Loaded) else Loaded(model)
    return save(loaded, folder, picked(config, config_key), overwrite=overwrite, in_background=in_background)


def save(
    loaded: Loaded,
    folder: Path,
    config: Any = None,
    *,
    beside: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
    in_background: bool = False,
) -> Saving:
    """What every save goes through: afterwards the folder has the new checkpoint, or what it had before.

    Args:
        loaded: the model and where it came from.
        folder: the folder.
        config: as for `save_pretrained`, after `config_key`.
        beside: further files of the checkpoint, by name.
        overwrite: as for `save_pretrained`.
        in_background: as for `save_pretrained`.
    """
    check_free(folder, overwrite)
    arrays, keys = stored(named(nnx.state(loaded.model)))
    if not arrays:
        raise UserError(f"a {type(loaded.model).__name__} has no arrays to save")
    about = describe(loaded, config)
    if about.own is None:
        for path, array in arrays.items():
            if path in keys or not jnp.issubdtype(array.dtype, jnp.floating):
                raise UserError(f"{path}: is {array.dtype}; allowed are floating-point arrays")
    dtypes = {path: array.dtype.name for path, array in arrays.items()}
    usual = Counter(dtypes.values()).most_common(1)[0][0]
    stamp = {
        "format": FORMAT,
        "version": swmjax.__version__,
        "orbax": version(ORBAX),
        "family": type(loaded.model).__name__,
        "dtype": usual,
        "other_dtypes": {path: dtype for path, dtype in dtypes.items() if dtype != usual},
        "arrays": f"arrays-{secrets.token_hex(4)}",
        "sha256": None,
    }
    if about.own is not None:
        stamp |= {"class": about.own, "config": about.kind, "keys": keys}
    document = {STAMP: stamp, "model": about.config, "source": about.source}
    if in_background:
        # Copies: a step of training may donate the model's buffers meanwhile.
        arrays = {path: np.array(array) for path, array in arrays.items()}
    return Saving(folder).start(lambda: _write(folder, document, arrays, loaded.unused, beside or {}), in_background)


def stored(arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays as they are written, keys as the numbers that they are made of; and the kinds of keys, by name."""
    keys = {
        name: str(jax.random.key_impl(array))
        for name, array in arrays.items()
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    }
    return {name: jax.random.key_data(array) if name in keys else array for name, array in arrays.items()}, keys


def named(state: Any) -> dict[str, Any]:
    """Arrays, or shapes, by dotted name."""
    return {dotted(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def dotted(path: tuple[Any, ...]) -> str:
    """The name of an array."""
    return ".".join(map(str, path))


def is_native(config: Mapping[str, Any]) -> bool:
    """Whether this is the `config.json` of a checkpoint of swmjax."""
    return isinstance(config.get(STAMP), dict)


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


def _write(
    folder: Path,
    document: dict[str, Any],
    arrays: dict[str, Any],
    unused: Mapping[str, np.ndarray],
    beside: Mapping[str, bytes],
) -> None:
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
            write_state_dict(data / UNUSED, unused)
        document[STAMP]["sha256"] = digest(data)
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for path in (new, *data.rglob("*"), data):
            _sync(path)
        for name, content in beside.items():
            with replacing(folder / name) as file:
                file.write_bytes(content)
        os.replace(new, folder / "config.json")
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        new.unlink(missing_ok=True)
        for part in folder.glob(f"{data.name}*"):
            shutil.rmtree(part, ignore_errors=True)
        if made:
            for name in beside:
                (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    _sync(folder)
    for path in folder.glob("arrays-*"):
        if path != data:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".config-arrays-*.json"):
        path.unlink(missing_ok=True)


def digest(folder: Path) -> str:
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
