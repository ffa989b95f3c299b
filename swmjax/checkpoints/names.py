"""Where checkpoints lie, and which files a name means."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envs_mjx.checks import MissingExtraError, UserError
from swmjax.checkpoints import hub
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.runs.paths import home

WEIGHTS = (".pt", ".ckpt")
"""Suffixes of torch files that may be named; in a folder only `.pt` is looked for."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint: in torch format two, in that of swmjax the configuration leads to the rest."""

    config: Path
    weights: Path | None


@dataclass(frozen=True)
class CheckpointRow:
    """One line of a listing: `run` is the folder ("" at the root), `size` is in bytes, `modified` in UTC.

    The `file` of a checkpoint of swmjax is its `config.json`, with the folder before it where a run has several, and
    the size that of all its files.
    """

    run: str
    file: str
    size: int
    modified: datetime


def checkpoints_root() -> Path:
    """The folder that relative checkpoint names start from.

    Returns:
        `$STABLEWM_HOME/checkpoints`, or `~/.stable_worldmodel/checkpoints`; it may not exist.
    """
    return home() / "checkpoints"


def root_of(root: Path | None, cache_dir: str | Path | None) -> Path | None:
    """The folder of checkpoints that was asked for, or None.

    Args:
        root: the folder.
        cache_dir: the folder above it, which takes the place of `$STABLEWM_HOME`.

    Raises:
        UserError: both are given.
    """
    if cache_dir is None:
        return root
    if root is not None:
        raise UserError("root and cache_dir both say where checkpoints lie; give one of them")
    return home(cache_dir) / "checkpoints"


def checkpoint_path(name: str | Path, root: Path | None = None) -> Path:
    """The path that a name means.

    Args:
        name: relative to `root`, unless it is absolute or starts with `.` or `~`.
        root: the folder of checkpoints; None for `checkpoints_root()`.

    Raises:
        CheckpointError: the name is empty.
    """
    text = str(name)
    if not text.strip():
        raise CheckpointError("the checkpoint name is empty; allowed is a .pt file, a folder or user/repo")
    if _as_it_is(text):
        return Path(text).expanduser()
    return (checkpoints_root() if root is None else root) / text


def _as_it_is(text: str) -> bool:
    return text.startswith((".", "~")) or Path(text).is_absolute()


def resolve_checkpoint(name: str | Path, root: Path | None = None, *, download: bool = True) -> CheckpointFiles:
    """Find the files that a checkpoint name means.

    Args:
        name: a `.pt` file (or Lightning's `.ckpt`) with a `config.json` beside it, or a folder with a `config.json`
            and exactly one `.pt` file, or one that `save_pretrained` wrote (also with the `filename` that it was given
            behind it), or `user/repo` on the hub. Relative to `root`, unless it is absolute or starts with `.` or `~`.
        root: the folder of checkpoints; None for `checkpoints_root()`.
        download: get a repository that is not here yet, into `models--user--repo` below `root`.

    Returns:
        The configuration and the torch weights; both exist. No weights for a checkpoint of swmjax.

    Raises:
        CheckpointError: nothing of that name, no or several `.pt` files, no `config.json`.

    Source: reference, `wm/utils.py`.
    """
    text = str(name)
    root = checkpoints_root() if root is None else root
    path = checkpoint_path(name, root)
    as_it_is = _as_it_is(text)
    hint = f"; to take the one in the current folder, write ./{text}" if not as_it_is and Path(text).exists() else ""
    if path.suffix in WEIGHTS and not path.is_dir():
        if not path.is_file():
            # A checkpoint of swmjax answers to the file that it was saved as.
            for folder in (path.with_suffix(""), *([path.parent] if path.name == "weights.pt" else [])):
                if _is_native(folder):
                    return CheckpointFiles(folder / "config.json", None)
            raise CheckpointError(f"{path}: no such file{_nearest(path)}{hint}")
        if path.name.endswith("_object.ckpt"):
            raise CheckpointError(
                f"{path}: is a pickled object of an older release, which only executing it could read; there, save "
                "its state_dict() with torch.save as weights.pt, and its settings as config.json"
            )
        return _with_config(path.parent, path)
    if not path.is_dir() and not as_it_is and text.count("/") == 1:
        path = root / f"models--{text.replace('/', '--')}"
        if download and not ((path / "config.json").is_file() and any(path.glob("*.pt"))):
            try:
                hub.download(text, path)
            except (CheckpointError, MissingExtraError) as error:
                local = f"there is no folder {root / text}{_nearest(root / text)}{hint}"
                raise type(error)(f"{error}; {local}") from None
    if not path.is_dir():
        kind = "not a .pt file or a folder" if path.exists() else "no such folder"
        raise CheckpointError(f"{path}: {kind}{_nearest(path)}{hint}")
    weights = sorted(path.glob("*.pt"))
    if not weights and _is_native(path):
        return CheckpointFiles(path / "config.json", None)
    if not weights:
        inside = sorted(folder.name for folder in path.iterdir() if _is_native(folder))
        if inside:
            raise CheckpointError(f"{path}: {len(inside)} checkpoints in it ({_some(inside)}); name the one to load")
        raise CheckpointError(f"{path}: no .pt file in it; allowed is exactly one, or a checkpoint of swmjax")
    if len(weights) > 1:
        names = _some([file.name for file in weights])
        raise CheckpointError(f"{path}: {len(weights)} .pt files in it ({names}); name the one to load")
    return _with_config(path, weights[0])


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _is_native(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("arrays-*/"))


def _with_config(folder: Path, weights: Path) -> CheckpointFiles:
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{config}: no such file; {weights.name} needs a config.json beside it")
    return CheckpointFiles(config, weights)


def _nearest(path: Path) -> str:
    """Names beside a missing path that look like it, as the end of a message."""
    folder = path.parent
    if not folder.is_dir():
        return f" (nor its folder {folder})"
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() or entry.suffix == ".pt"]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's `config.json`.

    Args:
        path: the file.

    Returns:
        The JSON object.

    Raises:
        CheckpointError: unreadable, not JSON, or not an object.
    """
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is not UTF-8 text; allowed is a JSON object") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: is not JSON: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path}: is nested too deeply; allowed is a plain JSON object") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds a {type(config).__name__}; allowed is a JSON object")
    return config


def list_checkpoints(pattern: str | None = None, root: Path | None = None) -> list[CheckpointRow]:
    """List the `.pt` files and checkpoints of swmjax at the root and one level down, oldest first within a folder.

    Args:
        pattern: a regular expression to be found in the folder's name or in the file's name without suffix.
        root: the folder of checkpoints; None for `checkpoints_root()`.

    Returns:
        Files at the root first, then folder by folder in alphabetical order; empty when there is no root.

    Raises:
        UserError: the pattern is not a regular expression.

    Source: reference, `cli.py`.
    """
    try:
        wanted = re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"{shown(pattern)} is not a regular expression: {error}") from None
    root = checkpoints_root() if root is None else root
    if not root.is_dir():
        return []
    rows = []
    for folder in (root, *sorted(entry for entry in root.iterdir() if entry.is_dir())):
        run = "" if folder == root else folder.name
        files = [file for file in folder.glob("*.pt") if file.is_file()]
        inside = [] if folder == root else folder.iterdir()
        files += [native / "config.json" for native in (folder, *inside) if _is_native(native)]
        for file in sorted(files, key=lambda file: (file.stat().st_mtime, file.name)):
            name = file.stem if file.parent == folder else file.parent.name
            if wanted.search(run) or wanted.search(name):
                stat = file.stat()
                modified = datetime.fromtimestamp(stat.st_mtime, tz=UTC)
                size = stat.st_size
                if file.suffix == ".json":
                    size += sum(part.stat().st_size for part in file.parent.glob("arrays-*/**/*") if part.is_file())
                rows.append(CheckpointRow(run, file.relative_to(folder).as_posix(), size, modified))
    return rows
