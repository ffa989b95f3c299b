"""Which datasets there are, and what is in them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError, check_name
from swmjax.data.formats import Format, Reader, detect_format
from swmjax.data.formats.lance_layout import KINDS, SUFFIX
from swmjax.data.load import located, open_dataset
from swmjax.data.names import datasets_root, find_dataset, is_address
from swmjax.runs.files import check_writable, hidden, holding

_VARIATION = ("variation.", "variation_")
"""What names of factors begin with, as they are and as Lance has them."""


def is_image(x: Any) -> bool:
    """Whether something is a picture: a uint8 array of NumPy, [H, W, 1, 3 or 4]."""
    return type(x) is np.ndarray and x.ndim == 3 and x.shape[2] in (1, 3, 4) and x.dtype == np.uint8


@dataclass(frozen=True)
class Entry:
    """A dataset on this machine.

    Attributes:
        name: By which it is loaded.
        path: Where it is.
        format: What it is.
        size: Of all its files, in bytes.
    """

    name: str
    path: Path
    format: type[Format]
    size: int


def entries(cache_dir: str | Path | None = None) -> list[Entry]:
    """Datasets in the folder of datasets, by name.

    Args:
        cache_dir: Takes the place of `$STABLEWM_HOME`.
    """
    root = datasets_root(cache_dir)
    if not root.is_dir():
        return []
    found: list[tuple[Path, type[Format]]] = []
    for path in sorted(root.iterdir()):
        beside = path.name.endswith(tuple(f"_{kind}{SUFFIX}" for kind in KINDS))
        kind = None if path.name.startswith(".") or beside else detect_format(path)
        if kind is not None:
            found.append((path, kind))
    stems = [path.name.removesuffix(kind.suffix) for path, kind in found]
    names = [stem if stems.count(stem) == 1 else path.name for stem, (path, _) in zip(stems, found, strict=True)]
    return [
        Entry(name, path, kind, sum(_size(part) for part in kind.parts(path)))
        for name, (path, kind) in zip(names, found, strict=True)
    ]


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def list_datasets(cache_dir: str | Path | None = None) -> list[str]:
    """Names of the datasets in the folder of datasets.

    Args:
        cache_dir: Takes the place of `$STABLEWM_HOME`.
    """
    return [entry.name for entry in entries(cache_dir)]


def dataset_size(path: str | Path, kind: type[Format]) -> int | None:
    """Bytes of all files of a dataset; None of one that is elsewhere."""
    return None if is_address(path) else sum(_size(part) for part in kind.parts(Path(path)))


def dataset_info(name: str | Path, cache_dir: str | Path | None = None) -> dict[str, Any]:
    """What is in a dataset.

    Args:
        name: As for `load_dataset`.
        cache_dir: Takes the place of `$STABLEWM_HOME`.

    Returns:
        `name`, `num_episodes`, `num_steps`, `columns`; `obs_shape`, `action_shape` and `goal_shape`, those of a row of
        `pixels`, `action` and `goal`, None where there is no such column; and `variation` with `has_variation` and the
        `names` of factors.

    Raises:
        UserError: There is no such dataset, or it is damaged.
    """
    reader = open_dataset(name, cache_dir)
    shapes = {name: column.shape for name, column in reader.columns.items()}
    names = factors(reader)
    return {
        "name": str(name),
        "num_episodes": len(reader.lengths),
        "num_steps": reader.rows,
        "columns": list(reader.columns),
        "obs_shape": shapes.get("pixels"),
        "action_shape": shapes.get("action"),
        "goal_shape": shapes.get("goal"),
        "variation": {"has_variation": bool(names), "names": names},
    }


def factors(reader: Reader) -> list[str]:
    """Names of the factors of variation that have columns."""
    return [name[len(_VARIATION[0]) :] for name in reader.columns if name.startswith(_VARIATION)]


def delete_dataset(name: str | Path, cache_dir: str | Path | None = None) -> list[Path]:
    """Remove a dataset from this machine.

    Args:
        name: As for `load_dataset`; what is elsewhere is not touched.
        cache_dir: Takes the place of `$STABLEWM_HOME`.

    Returns:
        What was removed.

    Raises:
        UserError: There is no such dataset, or another process writes to it.
        OSError: As the file system says it.
    """
    if is_address(name) or find_dataset(name, cache_dir) is None:
        check_name("dataset", str(name), list_datasets(cache_dir))
    kind, path = located(name, cache_dir)
    parts = kind.parts(Path(path))
    if not parts:
        raise UserError(f"{path}: there is no such dataset")
    check_writable(Path(path).parent)
    with holding(parts[0]):
        for part in parts:
            # Out of the way at once, so that a process that dies on the way leaves no half of a dataset.
            aside = hidden(part)
            os.rename(part, aside)
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    return parts
