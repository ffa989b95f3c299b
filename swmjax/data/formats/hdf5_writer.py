"""Writes datasets in the reference's HDF5 layout, group by group."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats import groups
from swmjax.data.formats import hdf5_layout as layout
from swmjax.data.formats.base import SEED, Column, Mode
from swmjax.data.formats.episodes import Columns
from swmjax.data.formats.writing import GroupWriter
from swmjax.runs.files import check_writable, holding, remove_leftovers, replacing

_CHUNK = 64 * 2**10
"""Bytes of a chunk at most, unless a row takes more; the reference has a chunk a row, which is slow for small rows."""
_SLAB = 64 * 2**20


class HDF5Writer(GroupWriter):
    """Write episodes into an HDF5 dataset.

    Columns keep their names and dtypes; images are stored as they are, texts as UTF-8. Groups behind the first wait in
    a hidden folder beside the file, where readers and writers of this library find them, and are joined to it when the
    block ends; this takes the time and the room of a copy. The reference sees them then. What a process that was killed
    has left there is joined by the next writer.

    Args:
        path: The dataset, a file whose name ends in `.h5` or `.hdf5`.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.

    Raises:
        UserError: The path or the mode is none, or there is no dataset of this layout to append to.
        FileExistsError: There is something already, and the mode is `error`; or it is no dataset.
        MissingExtraError: h5py is not installed; the message says how to install it.

    Source: reference, `data/formats/hdf5.py`.
    """

    layout = "HDF5"

    def __init__(self, path: str | Path, mode: Mode = "error"):
        self._h5py = layout.import_h5py()
        self._mark = ""
        self._parts: list[Path] = []
        self._known: str | None = None
        self._longest: dict[str, int] = {}
        super().__init__(path, mode)
        self._waiting: list[Columns] = []

    def _check_path(self) -> None:
        if self.path.suffix not in layout.SUFFIXES or not self.path.stem:
            raise UserError(f"{self.path}: the name of an HDF5 dataset must end in {' or '.join(layout.SUFFIXES)}")

    def _is_there(self) -> bool:
        return self.path.exists()

    def _is_dataset(self) -> bool:
        return self.path.is_file() and self._h5py.is_hdf5(self.path)

    def _check_name(self, name: str) -> None:
        if not name or "/" in name or "\0" in name or name in (".", layout.LENGTHS, layout.OFFSETS):
            raise UserError(f"{self.path}: no column of an HDF5 dataset can be called {name!r}")

    def _read(self) -> None:
        with layout.opened(str(self.path)) as file:
            self._schema = layout.columns_in(file, str(self.path))
            lengths = [layout.lengths_in(file, str(self.path), self._schema)]
            self._mark = layout.mark_of(file, str(self.path), lengths[0])
            self._known = file.attrs.get(layout.RECORD)
            fixed = [name for name in (*self._schema, *layout.BOOKS) if file[name].maxshape[0] is not None]
            if fixed:
                raise UserError(f"{self.path}: {fixed[0]} cannot grow, so nothing is appended")
            seeds = [self._seeds(file, lengths[0])]
            kinds = {name: self._h5py.check_string_dtype(file[name].dtype) for name in self._schema}
            self._longest = {name: kind.length for name, kind in kinds.items() if kind is not None and kind.length}
        for first, part in layout.parts_of(self.path, self._mark):
            with layout.opened(str(part)) as file:
                if first != sum(map(len, lengths)) or layout.columns_in(file, str(part)) != self._schema:
                    raise UserError(f"{part}: does not follow {self.path}, to which something else has been added")
                lengths.append(layout.lengths_in(file, str(part), self._schema))
                self._known = file.attrs.get(layout.RECORD, self._known)
                seeds.append(self._seeds(file, lengths[-1]))
            self._parts.append(part)
        self.episodes = sum(map(len, lengths))
        if SEED in self._schema and self._schema[SEED] == Column("number", (), np.dtype(np.int64)):
            self.seeds = np.concatenate(seeds)

    def _seeds(self, file: Any, lengths: np.ndarray) -> np.ndarray:
        if SEED not in self._schema or not lengths.sum():
            return np.zeros(0, np.int64)
        return file[SEED][:][(np.cumsum(lengths) - lengths)[lengths > 0]]

    def _begin(self, block: contextlib.ExitStack) -> None:
        check_writable(self.path.parent)
        if not self._new:
            self._hold(block)
            self._check_unchanged()
            self._remove_stale()
        remove_leftovers(self.path)

    def _hold(self, block: contextlib.ExitStack) -> None:
        """HDF5 locks the file itself, also for readers; so it is the folder of groups that is held."""
        folder = layout.parts_folder(self.path)
        folder.mkdir(exist_ok=True)
        try:
            block.enter_context(holding(folder))
        except UserError as error:
            raise UserError(f"{self.path}: another process is writing to it; wait until it ends, or stop it") from error
        block.callback(self._remove_folder, folder)

    @staticmethod
    def _remove_folder(folder: Path) -> None:
        with contextlib.suppress(OSError):  # it holds groups, or another process made it
            folder.rmdir()

    def _check_unchanged(self) -> None:
        if self._replaces:
            return
        with layout.opened(str(self.path)) as file:
            lengths = layout.lengths_in(file, str(self.path), {})
            mark = layout.mark_of(file, str(self.path), lengths)
        if (mark, [part for _, part in layout.parts_of(self.path, mark)]) != (self._mark, self._parts):
            raise UserError(f"{self.path}: another process has just written to it; look at it and try again")

    def _remove_stale(self) -> None:
        """Remove what processes that died have left among the groups, or have joined already."""
        folder = layout.parts_folder(self.path)
        for entry in folder.iterdir():
            if entry not in self._parts and not self._replaces:
                with contextlib.suppress(OSError):  # no file, so none of ours
                    entry.unlink()

    def _add(self, columns: Columns) -> int:
        for name, column in columns.items():
            if self._schema[name].kind == "text" and any("\0" in text for text in column):
                raise UserError(f"{self.path}: a text of {name} holds the character NUL, which HDF5 cannot store")
            longest = self._longest.get(name)
            if longest is not None and any(len(text.encode()) > longest for text in column):
                raise UserError(f"{self.path}: the texts of {name} have at most {longest} bytes, and one is longer")
        self._waiting.append(columns)
        return sum(column.nbytes for column in columns.values())

    def _commit_group(self) -> None:
        if len(self._parts) >= groups.MOST:
            self._join()
        if self._new or self._replaces:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            target, self._mark = self.path, secrets.token_hex(8)
        else:
            target = layout.part(self.path, self._mark, self.committed)
        with (
            replacing(target, new=self._new) as temporary,
            self._h5py.File(temporary, "w", libver="latest") as file,
        ):
            self._fill(file)
            self._say(file, self._mark)
        if self._new:
            assert self._block is not None
            self._hold(self._block)
        if self._new or self._replaces:
            self._replaces = False
            self._remove_stale()
        else:
            self._parts.append(target)
        self._waiting = []

    def _fill(self, file: Any) -> None:
        lengths = np.array([len(next(iter(columns.values()))) for columns in self._waiting], np.int64)
        for name, column in self._schema.items():
            text = column.kind == "text"
            file.create_dataset(
                name,
                data=self._joined(name, column),
                maxshape=(None, *column.shape),
                dtype=self._h5py.string_dtype() if text else column.dtype,
                chunks=(max(1, min(1024, _CHUNK // max(1, _row_bytes(column)))), *(max(1, n) for n in column.shape)),
            )
        for name, numbers in (
            (layout.LENGTHS, lengths.astype(np.int32)),
            (layout.OFFSETS, np.cumsum(lengths) - lengths),
        ):
            file.create_dataset(name, data=numbers, maxshape=(None,), chunks=(1024,))

    def _say(self, file: Any, mark: str) -> None:
        file.attrs[layout.MARK] = mark
        record = self._record if self._record is not None else self._known
        if record is not None:
            file.attrs[layout.RECORD] = record

    def _joined(self, name: str, column: Column) -> np.ndarray:
        parts = [columns[name] for columns in self._waiting]
        if column.kind == "text":
            return np.concatenate([np.asarray(part, object) for part in parts])
        return np.concatenate(parts).astype(column.dtype, copy=False)

    def _discard(self) -> None:
        self._waiting = []

    def _finish(self) -> None:
        if self._parts:
            self._join()

    def _join(self) -> None:
        """Have the file hold the groups beside it."""
        mark = secrets.token_hex(8)
        with replacing(self.path) as temporary:
            shutil.copyfile(self.path, temporary)
            with self._reopened(temporary) as file:
                for part in self._parts:
                    with layout.opened(str(part)) as group:
                        self._extend(file, group)
                self._say(file, mark)
        self._mark, self._parts = mark, []
        self._remove_stale()

    def _reopened(self, copy: Path) -> Any:
        try:
            return self._h5py.File(copy, "r+", libver="latest")
        except (OSError, ValueError, RuntimeError) as error:
            raise layout.unreadable(self.path, error) from error

    def _extend(self, file: Any, group: Any) -> None:
        rows = int(np.sum(file[layout.LENGTHS][:], dtype=np.int64))
        lengths = group[layout.LENGTHS][:].astype(np.int64)
        count = int(lengths.sum())
        for name, column in self._schema.items():
            target, source = file[name], group[name]
            target.resize(rows + count, axis=0)
            slab = max(1, _SLAB // max(1, _row_bytes(column)))
            for begin in range(0, count, slab):
                end = min(begin + slab, count)
                data = source[begin:end]
                target[rows + begin : rows + end] = data.astype(target.dtype) if name in self._longest else data
        offsets = rows + np.cumsum(lengths) - lengths
        for name, numbers in ((layout.OFFSETS, offsets), (layout.LENGTHS, lengths)):
            known = len(file[name])
            file[name].resize(known + len(numbers), axis=0)
            file[name][known:] = numbers


def _row_bytes(column: Column) -> int:
    return int(np.prod(column.shape, dtype=np.int64)) * (16 if column.kind == "text" else column.dtype.itemsize)
