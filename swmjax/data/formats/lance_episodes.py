"""The table of what belongs to whole episodes, beside that of steps; `lance_layout` says how they belong together."""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from envs_mjx.checks import UserError
from swmjax.data.formats import lance_commits as commits
from swmjax.data.formats import lance_layout as layout
from swmjax.data.formats.base import EPISODE
from swmjax.data.remote import is_address


class EpisodeTable:
    """What belongs to the episodes of a dataset; nothing, if there is no such table.

    Args:
        steps: The path of the table of steps.
        dataset: That table.
        count: Episodes in it.
        storage_options: How an address is reached.

    Raises:
        UserError: There is such a table, and it is not that of these episodes.
    """

    def __init__(self, steps: str | Path, dataset: Any, count: int, storage_options: Mapping[str, str] | None = None):
        self.path = layout.beside(steps, "episodes")
        self._options = storage_options
        self._cached: dict[str, list[Any]] | None = None
        self._open = None if layout.mark_of(dataset) == layout.NO_EPISODES else self._belonging(steps, dataset, count)
        self.version = None if self._open is None else self._open.version
        self.schema = None if self._open is None else self._open.schema
        names = () if self.schema is None else self.schema.names
        self.columns = tuple(name for name in names if name != EPISODE)

    def _belonging(self, steps: str | Path, dataset: Any, count: int) -> Any:
        """The newest version that belongs to the steps."""
        newest = self._newest()
        if newest is None:
            return None
        mark, marks = layout.mark_of(dataset), set()
        for number in sorted((each["version"] for each in newest.versions()), reverse=True):
            version = newest if number == newest.version else layout.opened(self.path, number, self._options)
            marks.add(layout.mark_of(version))
            numbers = layout.numbers_of_episodes(version, self.path)
            if layout.mark_of(version) == mark and np.array_equal(numbers[:count], np.arange(count)):
                return version
        if mark is None and mark not in marks:
            return None  # a writer is about to replace steps that had no such table
        raise UserError(f"{self.path}: is not about the {count} episodes of {steps}; write the dataset anew")

    def _newest(self) -> Any:
        if is_address(self.path):
            try:
                return layout.opened(self.path, storage_options=self._options)
            except UserError as error:
                if "not found" in str(error):
                    return None
                raise
        return layout.opened(self.path) if Path(self.path).exists() else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _dataset(self) -> Any:
        if self._open is None:
            self._open = layout.opened(self.path, self.version, self._options)
        return self._open

    def values(self, episodes: Iterable[int]) -> dict[str, list[Any]]:
        """A value for each of some episodes, by name; what is large is read when it is asked for."""
        if self.schema is None:
            return {}
        wanted = list(episodes)
        large = [name for name in self.columns if _is_large(self.schema.field(name).type)]
        if self._cached is None:
            small = [name for name in self.columns if name not in large]
            self._cached = self._dataset.to_table(columns=small).to_pydict() if small else {}
        found: dict[str, list[Any]] = {name: [column[i] for i in wanted] for name, column in self._cached.items()}
        if large and wanted:
            unique, places = np.unique(wanted, return_inverse=True)
            read = self._dataset.take(unique.tolist(), columns=large)
            for name in large:
                values = [_value(each) for each in read.column(name)]
                found[name] = [values[i] for i in places.reshape(-1)]
        return {name: found.get(name, []) for name in self.columns}


def _is_large(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_large_binary(kind)


def _value(stored: Any) -> Any:
    """Bytes, or numbers as an array."""
    if pa.types.is_large_binary(stored.type):
        return stored.as_py()
    return np.array(stored.values.to_numpy(zero_copy_only=False))


class EpisodeRows:
    """Rows for the table of what belongs to episodes, and how they are committed before the steps of these episodes.

    Args:
        steps: The path of the table of steps.
        known: The table that is there, to append to; None for a new one, of whatever columns its first episode has.
    """

    def __init__(self, steps: Path, known: EpisodeTable | None):
        self.path = layout.side_table(steps)
        self._schema = None if known is None else (known.schema or pa.schema([]))
        self._rows: list[dict[str, Any]] = []
        self.mark: bytes | None = None
        """What a new table of steps is marked with."""

    def check(self, values: Mapping[str, Any]) -> pa.Schema:
        """The schema of what belongs to an episode, checked.

        Raises:
            UserError: It holds something that is not what the dataset holds.
        """
        fields = [pa.field(name, _arrow_type(name, values[name])) for name in sorted(values)]
        schema = pa.schema([pa.field(EPISODE, pa.int32()), *fields] if fields else [])
        if EPISODE in values:
            raise UserError(f"{EPISODE} is the writer's own name; data of whole episodes need another")
        if self._schema is None:
            return schema
        if set(schema.names) != set(self._schema.names):
            names, known = ([name for name in each.names if name != EPISODE] for each in (schema, self._schema))
            hint = "" if known else "; a dataset that has none must be written anew to have some"
            raise UserError(f"{self.path}: episodes have data of their own named {known}, got {names}{hint}")
        for field in schema:
            if field.type != (kind := self._schema.field(field.name).type):
                raise UserError(f"{self.path}: {field.name} of an episode is {kind}, got {field.type}")
        return self._schema

    def add(self, number: int, values: Mapping[str, Any]) -> None:
        """Have what belongs to an episode wait for the next group."""
        self._schema = self.check(values)
        if values:
            self._rows.append({EPISODE: number} | {name: _plain(value) for name, value in values.items()})

    def create(self) -> None:
        """A new table, which nothing refers to before there are steps with its mark."""
        if not self._rows:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        self.mark = uuid.uuid4().hex.encode()
        commits.create(self.path, self._marked(), self._group())

    def replace(self) -> None:
        """A version of the table that is there for steps that are about to replace all others."""
        if not self.path.exists():
            self.create()
        elif self._rows:
            self.mark = uuid.uuid4().hex.encode()
            commits.replace(self.path, self._marked(), self._group())
        else:
            self.mark = layout.NO_EPISODES

    def replaced(self, held: bool) -> None:
        """Remove what belonged to steps that are there no more."""
        if self.mark == layout.NO_EPISODES:
            shutil.rmtree(self.path, ignore_errors=True)
        elif self.path.exists():
            layout.opened(self.path).cleanup_old_versions(
                datetime.timedelta(0), delete_unverified=held, error_if_tagged_old_versions=False
            )
        self._rows = []

    def append(self) -> None:
        """The rows that wait, behind those that are there."""
        if self._rows:
            commits.append(layout.opened(self.path), self._group())
        self._rows = []

    def settle(self, known: EpisodeTable, episodes: int) -> None:
        """Have the newest version hold these episodes and no others, such as those whose steps were never committed."""
        if known.schema is None:
            return
        newest = layout.opened(self.path)
        if known.version != newest.version:
            layout.opened(self.path, known.version).restore()
            newest = layout.opened(self.path)
        if newest.count_rows() > episodes:
            newest.delete(f"{EPISODE} >= {episodes}")
        commits.remove_uncommitted(self.path)

    def _marked(self) -> pa.Schema:
        assert self._schema is not None
        assert self.mark is not None
        return self._schema.with_metadata({layout.MARK: self.mark})

    def _group(self) -> pa.Table:
        assert self._schema is not None
        return pa.Table.from_pylist(self._rows, schema=self._schema.remove_metadata())


def _arrow_type(name: str, value: Any) -> pa.DataType:
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, (bytes, bytearray)):
        return pa.large_binary()
    array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic, bool, int, float, Sequence)) else None
    if array is None or array.dtype.kind not in "biuf":
        raise UserError(f"{name} of an episode is {type(value).__name__}; allowed are texts, bytes, numbers and arrays")
    if array.ndim:
        return pa.list_(pa.float32())
    return {"b": pa.bool_(), "f": pa.float64()}.get(array.dtype.kind, pa.int64())


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bytes, bytearray)):
        return value
    array = np.asarray(value)
    return array.astype(np.float32).reshape(-1) if array.ndim else array.item()
