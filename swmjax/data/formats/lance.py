"""Datasets in the reference's Lance layout; `lance_layout` says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_layout as layout
from swmjax.data.formats.base import Format, Mode, Version
from swmjax.data.formats.lance_episodes import EpisodeRows, EpisodeTable
from swmjax.data.formats.lance_reader import LanceReader
from swmjax.data.formats.lance_writer import LanceWriter
from swmjax.runs.files import disk_errors, holding


class Lance(Format):
    """One Lance dataset, a folder."""

    name = "lance"
    place = "end in .lance"
    suffix = layout.SUFFIX
    extra = "data"
    supports_episode_data = True
    supports_versions = True

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether the name ends in `.lance`, or a folder holds such a dataset and none of videos."""
        name = str(path).rstrip("/").rpartition("/")[2]
        if name.lower().endswith(layout.SUFFIX):
            # Where videos lie beside it, it is a part of a dataset of another format, and has no images.
            return len(name) > len(layout.SUFFIX) and not Path(layout.beside(path, "videos")).is_dir()
        tables = layout.tables_in(path)
        return bool(tables) and not any(Path(path).glob(f"*_videos{layout.SUFFIX}"))

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        """A table and those beside it; or the folder of them."""
        return layout.parts_of(path)

    @classmethod
    def reader(
        cls,
        path: str | Path,
        *,
        table_name: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        **options: Any,
    ) -> LanceReader:
        """A `LanceReader`."""
        cls.check_options(options)
        return LanceReader(path, table_name, storage_options)

    @classmethod
    def writer(cls, path: str | Path, mode: Mode = "error", **options: Any) -> LanceWriter:
        """A `LanceWriter`."""
        cls.check_options(options)
        return LanceWriter(path, mode)

    @classmethod
    def record(cls, path: Path) -> dict[str, Any] | None:
        """What the metadata of its schema say."""
        if not layout.is_dataset(path):
            return None
        found = (layout.opened(path).schema.metadata or {}).get(layout.RECORD)
        try:
            record = json.loads(found or b"null")
        except ValueError:
            return None
        return record if isinstance(record, dict) else None

    @classmethod
    def versions(cls, path: Path) -> list[Version]:
        """What a dataset was at each of its commits."""
        newest = _there(path)
        found = []
        for each in newest.versions():
            numbers = layout.numbers_of_episodes(layout.opened(newest.uri, each["version"]), path)
            episodes = len(np.unique(numbers))
            found.append(Version(each["version"], each["timestamp"], episodes, len(numbers)))
        return found

    @classmethod
    def restore(cls, path: Path, version: int) -> None:
        """Have a dataset be what it was at a commit, with what belonged to its episodes."""
        newest = _there(path)
        table = Path(newest.uri)
        with holding(table), disk_errors(table):
            numbers = sorted(each["version"] for each in newest.versions())
            if version not in numbers:
                raise UserError(f"{path}: there is no version {version}; there are {', '.join(map(str, numbers))}")
            old = layout.opened(table, version)
            count = len(np.unique(layout.numbers_of_episodes(old, table)))
            side = EpisodeTable(table, old, count)
            EpisodeRows(table, side).settle(side, count)
            old.restore()


def _there(path: Path) -> Any:
    table = Path(layout.table_of(path))
    if not layout.is_dataset(table):
        raise UserError(f"{table}: there is no Lance dataset")
    return layout.opened(table)
