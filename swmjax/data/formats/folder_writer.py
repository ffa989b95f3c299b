"""Writes datasets in the reference's folder layout, with pictures or videos, group by group."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import UserError
from swmjax.data.formats import folder_layout as layout
from swmjax.data.formats import groups
from swmjax.data.formats.base import SEED, Column, Mode
from swmjax.data.formats.episodes import Columns
from swmjax.data.formats.folder_reader import FolderReader
from swmjax.data.formats.writing import GroupWriter
from swmjax.data.jpeg import encode_jpegs
from swmjax.runs.files import check_writable, exchange, hidden, holding, remove_leftovers, replacing


class FolderWriter(GroupWriter):
    """Write episodes into a folder: pictures as JPEG, other columns as they are.

    Pictures are written at once, and belong to the dataset when their group is committed. Groups behind the first wait
    in a folder of the dataset that the reference does not look into, and are joined to the columns when the block ends.
    What a process that was killed has left there is joined by the next writer.

    Args:
        path: The dataset, a folder.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.

    Raises:
        UserError: The path or the mode is none, or there is no dataset of this layout to append to.
        FileExistsError: There is something already, and the mode is `error`; or it is no dataset, or more than one.

    Source: reference, `data/formats/folder.py`.
    """

    layout = "folder"

    def __init__(self, path: str | Path, mode: Mode = "error"):
        self._parts: list[Path] = []
        self._known: str | None = None
        self._shown: set[str] = set()
        super().__init__(path, mode)
        self._waiting: list[Columns] = []
        self._lengths: list[int] = []
        self._written: list[Path] = []

    def _check_path(self) -> None:
        if self.path.name in ("", "..") or self.path.suffix in (".lance", ".h5", ".hdf5"):
            raise UserError(f"{self.path}: a {self.layout} dataset is a folder, whose name ends in nothing special")

    def _is_there(self) -> bool:
        """An empty folder is nothing yet."""
        return self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir()))

    def _is_dataset(self) -> bool:
        return layout.is_dataset(self.path) and next(layout.strangers(self.path), None) is None

    def _check_name(self, name: str) -> None:
        layout.check_name(self.path, name, self.layout)

    def _read(self) -> None:
        reader = FolderReader(self.path)
        self._schema = dict(reader.columns)
        self._shown = {each.name for each in layout.folders_in(self.path)}
        self.episodes, own = len(reader.lengths), len(layout.lengths_in(self.path))
        self._parts = [part for _, part in layout.parts_of(self.path, own)]
        self._known = layout.record_in(self.path)
        seed = self._schema.get(SEED)
        if seed is not None and seed.kind == "number" and seed.shape == () and seed.dtype == np.int64:
            self.seeds = reader.read([SEED], reader.offsets[reader.lengths > 0])[SEED]
        self._state = (own, self._parts)

    def _begin(self, block: contextlib.ExitStack) -> None:
        check_writable(self.path.parent)
        remove_leftovers(self.path)
        if self._new:
            return
        block.enter_context(holding(self.path))
        check_writable(self.path)
        if not self._replaces:
            own = len(layout.lengths_in(self.path))
            if (own, [part for _, part in layout.parts_of(self.path, own)]) != self._state:
                raise UserError(f"{self.path}: another process has just written to it; look at it and try again")
            self._remove_stale()

    def _remove_stale(self) -> None:
        """Remove what processes that died have left: pictures of no episode, and groups that are joined already."""
        for folder in layout.folders_in(self.path):
            for file in list(layout.members_behind(folder, self.episodes)):
                file.unlink()
        parts = self.path / layout.PARTS
        for entry in list(parts.iterdir()) if parts.is_dir() else []:
            if entry not in self._parts:
                entry.unlink()
        self._remove_parts()

    def _remove_parts(self) -> None:
        with contextlib.suppress(OSError):  # it holds groups, or is not there
            (self.path / layout.PARTS).rmdir()

    @property
    def _place(self) -> Path:
        """Where pictures are written: in the dataset, or in what is to become it."""
        return hidden(self.path) if self._new or self._replaces else self.path

    def _add(self, columns: Columns) -> int:
        if not self._waiting and self._place != self.path:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place.mkdir(parents=True)
            self._shown = {name for name, column in self._schema.items() if column.kind == "image"}
        size = 0
        for name, column in columns.items():
            if self._schema[name].kind == "text" and any("\0" in text for text in column):
                raise UserError(f"{self.path}: a text of {name} holds the character NUL, which npz files do not keep")
        for name in sorted(self._shown):
            (self._place / name).mkdir(exist_ok=True)
            size += self._write_pictures(self._place / name / f"ep_{self.episodes}", columns[name])
        self._waiting.append({name: column for name, column in columns.items() if name not in self._shown})
        self._lengths.append(len(next(iter(columns.values()))))
        return size + sum(column.nbytes for column in self._waiting[-1].values())

    def _write_pictures(self, stem: Path, frames: UInt8[np.ndarray, "T H W C"]) -> int:
        """Write the frames of an episode; returns the bytes that they take."""
        files = encode_jpegs(frames)
        for step, data in enumerate(files):
            path = stem.with_name(f"{stem.name}_step_{step}.jpeg")
            self._written.append(path)
            path.write_bytes(data)
        return sum(map(len, files))

    def _commit_group(self) -> None:
        if len(self._parts) >= groups.MOST:
            self._join()
        columns = {name: self._whole(name, column) for name, column in self._schema.items() if name not in self._shown}
        lengths = np.array(self._lengths, np.int32)
        if self._new or self._replaces:
            self._create(columns, lengths)
        else:
            part = self.path / layout.PARTS / f"{self.committed:09d}.npz"
            part.parent.mkdir(exist_ok=True)
            with replacing(part) as temporary:
                layout.save_arrays(temporary, columns | {layout.LENGTHS: lengths} | self._said())
            self._parts.append(part)
        self._waiting, self._lengths, self._written = [], [], []

    def _create(self, columns: Columns, lengths: np.ndarray) -> None:
        new = self._place
        for name, column in columns.items():
            layout.save_arrays(new / f"{name}.npz", {layout.ARRAY: column})
        self._save_lengths(new, new, lengths)
        assert self._block is not None
        self._block.enter_context(holding(new))
        if self._replaces:
            exchange(new, self.path)
        else:
            os.rename(new, self.path)

    def _save_lengths(self, folder: Path, aside: Path, lengths: np.ndarray) -> None:
        """Say how long the episodes are; last of all, since it is what readers believe."""
        ends = np.cumsum(lengths, dtype=np.int64)
        for name, arrays in (
            (layout.OFFSETS, {layout.ARRAY: ends - lengths}),
            (layout.LENGTHS, {layout.ARRAY: lengths.astype(np.int32)} | self._said()),
        ):
            self._save(folder / f"{name}.npz", aside, arrays)

    def _save(self, path: Path, aside: Path, arrays: Columns) -> None:
        """Write a file of the dataset; what is half written lies elsewhere, where no reader takes it for a column."""
        with replacing(aside / f"new {path.name}") as temporary:
            layout.save_arrays(temporary, arrays)
        os.replace(aside / f"new {path.name}", path)

    def _said(self) -> Columns:
        record = self._record if self._record is not None else self._known
        return {} if record is None else {layout.RECORD: np.array(record)}

    def _whole(self, name: str, column: Column) -> np.ndarray:
        arrays = [columns[name] for columns in self._waiting]
        if column.kind == "text":
            return np.concatenate([np.asarray(array, object) for array in arrays])
        return np.concatenate(arrays).astype(column.dtype, copy=False)

    def _discard(self) -> None:
        for path in self._written:
            path.unlink(missing_ok=True)
        if self._new or self._replaces:
            shutil.rmtree(self._place, ignore_errors=True)
        self._remove_parts()
        self._waiting, self._lengths, self._written = [], [], []

    def _finish(self) -> None:
        if self._parts:
            self._join()

    def _join(self) -> None:
        """Have the columns hold the groups beside them."""
        own = layout.lengths_in(self.path)
        more = [layout.arrays_in(part, layout.LENGTHS)[layout.LENGTHS].astype(np.int64) for part in self._parts]
        rows = [int(lengths.sum()) for lengths in (own, *more)]
        tables = layout.Tables(self.path, self._parts, rows)
        aside = self.path / layout.PARTS
        for name in sorted(set(self._schema) - self._shown):
            self._save(self.path / f"{name}.npz", aside, {layout.ARRAY: tables.pop(name)})
        self._save_lengths(self.path, aside, np.concatenate([own, *more]))
        # From the newest on, so that at no moment one is missing between others.
        for part in reversed(self._parts):
            part.unlink()
        self._parts = []
        self._remove_parts()
