"""Datasets by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs_mjx.checks import UserError
from swmjax.data.formats import FORMATS, Format, Reader, detect_format, get_format
from swmjax.data.names import resolve_dataset
from swmjax.data.snapshot import decoded
from swmjax.data.windows import Transform, Windows


def load_dataset(
    name: str | Path,
    cache_dir: str | Path | None = None,
    format: str | None = None,
    *,
    num_steps: int = 1,
    frameskip: int = 1,
    transform: Transform | None = None,
    keys_to_load: Sequence[str] | None = None,
    keys_to_cache: Sequence[str] | None = None,
    keys_to_merge: Mapping[str, Sequence[str] | str] | None = None,
    snapshot: bool | str | Path = False,
    **options: Any,
) -> Windows:
    """Windows of a dataset.

    Args:
        name: A path: absolute, or relative to `$STABLEWM_HOME/datasets` or else to the working directory; an address,
            such as `s3://bucket/set.lance`; or a repository on the Hugging Face hub, `user/repo`, which is downloaded
            once.
        cache_dir: Takes the place of `$STABLEWM_HOME`.
        format: Of the dataset; what it looks like if None.
        num_steps: Steps of a window.
        frameskip: Rows from one step to the next.
        transform: Changes the columns of one window.
        keys_to_load: Names of the columns that windows hold; all if None.
        keys_to_cache: Names of columns that are read once and kept in memory.
        keys_to_merge: New columns by name, each of the columns that it joins; see `Windows`.
        snapshot: Whether images come from a decoded snapshot on the disk, which is made if it is not there; or the
            folder where it is to be. See `decoded`.
        **options: Of the format's reader.

    Raises:
        UserError: There is no such dataset, it is damaged or in no known format, or an argument does not fit it.
        MissingExtraError: A package is not installed; the message says how to install it.

    Source: reference, `data/utils.py`.
    """
    reader = open_dataset(name, cache_dir, format, **options)
    if snapshot is not False:
        images = [key for key in keys_to_load or reader.columns if reader.columns[key].kind == "image"]
        reader = decoded(reader, None if snapshot is True else snapshot, images)
    return Windows(reader, num_steps, frameskip, transform, keys_to_load, keys_to_cache, keys_to_merge)


def open_dataset(
    name: str | Path, cache_dir: str | Path | None = None, format: str | None = None, **options: Any
) -> Reader:
    """The reader of a dataset; see `load_dataset`."""
    kind, path = located(name, cache_dir, format)
    return kind.reader(path, **options)


def located(
    name: str | Path, cache_dir: str | Path | None = None, format: str | None = None
) -> tuple[type[Format], str | Path]:
    """The format of a dataset, and its path or address; see `load_dataset`."""
    given = None if format is None else get_format(format)
    path = resolve_dataset(name, cache_dir)
    found = given or detect_format(path)
    if found is None:
        raise UserError(f"{path}: is a dataset of none of the formats {', '.join(FORMATS)}; name one of them")
    return found, path
