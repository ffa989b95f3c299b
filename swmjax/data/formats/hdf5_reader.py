"""Reads datasets in the reference's HDF5 layout, exactly the rows asked for."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data import threads
from swmjax.data.formats import hdf5_layout as layout
from swmjax.data.formats.base import Column, Reader
from swmjax.data.remote import is_address

_GAP = 4096
"""Bytes between two rows that are read with them, since a call costs more."""
_LARGE = 4096
"""Bytes of a row from which on it is worth a call of its own."""
_SHARE = 32
"""Once so small a part of a column was read row by row, finding out where all its rows lie costs less than going on."""


class HDF5Reader(Reader):
    """Read an HDF5 dataset, as it was when this was made.

    Rows that lie in the file as they are, neither compressed nor remote, are read past HDF5, which takes one thread at
    a time. Of chunks that are compressed, up to 256 MiB a column are kept.

    Args:
        path: The dataset, a path or an address; or the folder that holds it.
        storage_options: How an address is reached, as fsspec takes it.

    Raises:
        UserError: There is no such dataset, it is damaged, its columns are none that the layout has, or it leads to
            other files.
        MissingExtraError: h5py is not installed; the message says how to install it.

    Source: reference, `data/formats/hdf5.py`.
    """

    def __init__(self, path: str | Path, storage_options: Mapping[str, Any] | None = None):
        self.path = layout.file_of(path)
        self._options = None if storage_options is None else dict(storage_options)
        self._lock = threading.Lock()
        self._files: list[str] = []
        self._marks: list[str] = []
        self._begins: list[int] = []
        self._open: dict[int, _File] = {}
        self.lengths = np.zeros(0, np.int64)
        try:
            self._add(self.path, 0)
            for first, part in () if is_address(self.path) else layout.parts_of(Path(self.path), self._marks[0]):
                self._add(str(part), first)
        except BaseException:
            for each in self._open.values():
                each.close()
            raise

    def _add(self, path: str, first: int) -> None:
        """Open a file whose first episode has a number."""
        number, file = len(self._files), layout.opened(path, self._options)
        self._open[number] = _File(path, file)
        columns = layout.columns_in(file, path)
        lengths = layout.lengths_in(file, path, columns)
        if not columns:
            raise UserError(f"{path}: has no columns")
        if number and (first != len(self.lengths) or columns != self.columns):
            raise UserError(f"{path}: does not follow {self.path}, to which something else has been added")
        self.columns = columns
        self._files.append(path)
        self._marks.append(layout.mark_of(file, path, lengths))
        self._begins.append(self.rows)
        self.lengths = np.concatenate([self.lengths, lengths])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_open")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _open={})

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        made = self.empty(columns, len(rows), out)
        self.locate(rows)
        if len(self._files) == 1:
            for name, array in made.items():
                self._file(0).read(name, self.columns[name], rows, array)
            return made
        numbers = np.searchsorted(self._begins, rows, side="right") - 1
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            for name, array in made.items():
                part = np.empty((len(places), *array.shape[1:]), array.dtype)
                self._file(number).read(name, self.columns[name], rows[places] - self._begins[number], part)
                array[places] = part
        return made

    def _file(self, number: int) -> _File:
        with self._lock:
            if number not in self._open:
                path = self._files[number]
                if not is_address(path) and not Path(path).exists():
                    raise UserError(f"{self.path}: was written to meanwhile; open it again")
                file = layout.opened(path, self._options)
                if layout.mark_of(file, path, layout.lengths_in(file, path, {})) != self._marks[number]:
                    raise UserError(f"{self.path}: was written to meanwhile; open it again")
                self._open[number] = _File(path, file)
            return self._open[number]


class _File:
    """A file that is open."""

    def __init__(self, path: str, file: Any):
        self._path, self._file = path, file
        self._columns: dict[str, _Rows] = {}
        self._direct: _Direct | None = None
        if not is_address(path) and hasattr(os, "preadv") and not file.userblock_size:
            self._direct = _Direct(file)

    def close(self) -> None:
        """Give the file back; nothing can be read of it any more."""
        self._columns, self._direct = {}, None
        self._file.close()

    def read(self, name: str, column: Column, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        """Rows of a column, into an array [R, ...]."""
        if not len(rows):
            return
        if name not in self._columns:
            self._columns[name] = _Rows(f"{self._path}: {name}", self._file[name], column, self._direct)
        try:
            self._columns[name].read(rows, out)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            place = (
                f"row {rows[0]} of {name} " if len(rows) == 1 else f"{name} between rows {rows.min()} and {rows.max()} "
            )
            raise layout.unreadable(self._path, error, place) from error


class _Rows:
    """The rows of one column of a file."""

    def __init__(self, place: str, dataset: Any, column: Column, direct: _Direct | None):
        self._place, self._dataset, self._column = place, dataset, column
        self._size = int(np.prod(column.shape, dtype=np.int64)) * column.dtype.itemsize
        filters = dataset.id.get_create_plist().get_nfilters()
        plain = column.kind != "text" and not filters and dataset.dtype.isnative and self._size > 0
        plain = plain and (dataset.chunks is None or dataset.chunks[1:] == dataset.shape[1:])
        self._direct = direct if plain else None
        self._chunk = 1 if dataset.chunks is None else dataset.chunks[0]
        self._addresses: np.ndarray | None = None
        self._read = 0
        self._lock = threading.Lock()

    def read(self, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        if self._column.kind == "text":
            self._read_texts(rows, out)
            return
        addresses = self._addresses_of(rows)
        if addresses is not None:
            assert self._direct is not None
            self._direct.read(addresses, self._size, out, lambda i: f"{self._place}: row {rows[i]}")
            return
        increasing = bool((np.diff(rows) > 0).all())
        unique, places = (rows, None) if increasing else np.unique(rows, return_inverse=True)
        target = out if increasing and out.flags.c_contiguous else np.empty((len(unique), *out.shape[1:]), out.dtype)
        self._read_increasing(unique, target)
        if target is not out:
            out[...] = target if places is None else target[places]

    def _read_increasing(self, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        ends = [*(np.flatnonzero((np.diff(rows) - 1) * self._size > _GAP) + 1).tolist(), len(rows)]
        begin = 0
        for end in ends:
            first, last = int(rows[begin]), int(rows[end - 1])
            if last - first == end - begin - 1:
                self._read_range(first, out[begin:end])
            else:
                between = np.empty((last - first + 1, *out.shape[1:]), out.dtype)
                self._read_range(first, between)
                out[begin:end] = between[rows[begin:end] - first]
            begin = end

    def _read_range(self, first: int, out: np.ndarray) -> None:
        h5s = layout.import_h5py().h5s
        start = (first, *(0 for _ in out.shape[1:]))
        stored = self._dataset.id.get_space()
        stored.select_hyperslab(start, out.shape)
        self._dataset.id.read(h5s.create_simple(out.shape), stored, out)

    def _read_texts(self, rows: Int64[np.ndarray, " R"], out: np.ndarray) -> None:
        unique, places = np.unique(rows, return_inverse=True)
        found = np.empty(len(unique), object)
        ends = [*(np.flatnonzero(np.diff(unique) > 64) + 1).tolist(), len(unique)]
        begin = 0
        for end in ends:
            first, last = int(unique[begin]), int(unique[end - 1])
            found[begin:end] = self._dataset[first : last + 1][unique[begin:end] - first]
            begin = end
        out[...] = np.array([one.decode() if isinstance(one, bytes) else one for one in found], object)[places]

    def _addresses_of(self, rows: Int64[np.ndarray, " R"]) -> np.ndarray | None:
        """Where rows lie in the file; None if HDF5 is to be asked for them."""
        if self._direct is None:
            return None
        with self._lock:
            if self._addresses is None:
                self._read += len(rows)
                if self._read * _SHARE < len(self._dataset) and self._chunk == 1 and self._dataset.chunks is not None:
                    return None
                self._addresses = self._find()
                if self._addresses is None:
                    self._direct = None
                    return None
        return self._addresses[rows // self._chunk] + rows % self._chunk * self._size

    def _find(self) -> np.ndarray | None:
        """Where chunks begin; None if some do not lie in the file."""
        dataset, count = self._dataset, len(self._dataset)
        if dataset.chunks is None:
            begin = dataset.id.get_offset()
            return None if begin is None else begin + np.arange(count) * self._size
        addresses = np.full(-(-count // self._chunk), -1, np.int64)

        def keep(chunk: Any) -> None:
            addresses[chunk.chunk_offset[0] // self._chunk] = chunk.byte_offset

        dataset.id.chunk_iter(keep)
        return None if (addresses < 0).any() else addresses


class _Direct:
    """A file that is read past HDF5."""

    def __init__(self, file: Any):
        # Not by its name, which may be that of another file by now.
        self._file = os.dup(file.id.get_vfd_handle())
        weakref.finalize(self, os.close, self._file)
        self._map = np.frombuffer(mmap.mmap(self._file, 0, access=mmap.ACCESS_READ), np.uint8)

    def read(self, addresses: Int64[np.ndarray, " R"], size: int, out: np.ndarray, place: Any) -> None:
        """Rows of so many bytes, into an array [R, ...]; `place` says of a number of a row where it is."""
        outside = np.flatnonzero(addresses + size > len(self._map))
        if len(outside):
            raise UserError(f"{place(outside[0])} lies behind the end of the file, which is damaged")
        if size < _LARGE:
            rows = self._map[addresses[:, None] + np.arange(size)]
            out[...] = rows.reshape(out.shape) != 0 if out.dtype == bool else rows.view(out.dtype).reshape(out.shape)
            return

        def read(i: int) -> None:
            target = out[i]
            buffer: Any = target if target.flags.c_contiguous else np.empty(target.shape, target.dtype)
            if os.preadv(self._file, [buffer.reshape(-1).view(np.uint8)], int(addresses[i])) != size:
                raise UserError(f"{place(i)} cannot be read; the file is damaged")
            if buffer is not target:
                target[...] = buffer

        threads.each(read, len(addresses))
