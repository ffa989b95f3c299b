"""Writes datasets in the reference's layout of Lance tables with videos, group by group."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from envs_mjx.checks import UserError, check_choice, check_number
from swmjax.data.formats import lance_layout, mp4
from swmjax.data.formats import lance_video_layout as layout
from swmjax.data.formats.base import EPISODE, EPISODE_DATA, MODES, Episode, Mode, Writer
from swmjax.data.formats.episodes import check_columns, column_of, is_images
from swmjax.data.formats.groups import Group
from swmjax.data.formats.lance_commits import remove_uncommitted
from swmjax.data.formats.lance_video_reader import LanceVideoReader
from swmjax.data.formats.lance_writer import LanceWriter
from swmjax.data.formats.writing import disk_errors_of
from swmjax.runs.files import check_writable, exchange, hidden, holding, remove_leftovers

_STORAGE = "2.1"
"""Lance's file version that has large values as the reference's readers know them."""


class LanceVideoWriter(Writer):
    """Write episodes into Lance tables with videos, in a folder.

    Images are videos of their size; other columns, and values of whole episodes, are as `LanceWriter` writes them.

    Args:
        path: The dataset, a folder.
        mode: `error` for a dataset that must not exist yet, `append`, or `overwrite`.
        fps: Frames a second that videos are shown with.
        codec: Of FFmpeg, for the videos.

    Raises:
        UserError: The path or the mode is none, or there is no dataset of this layout to append to.
        FileExistsError: There is something already, and the mode is `error`; or it is no dataset, or more than one.
        MissingExtraError: pylance or PyAV is not installed; the message says how to install it.

    Source: reference, `data/formats/lance_video.py`.
    """

    def __init__(self, path: str | Path, mode: Mode = "error", fps: float = 10, codec: str = mp4.CODEC):
        check_choice("mode", mode, MODES, show=str)
        check_number("fps", fps, above=0, most=1000)
        mp4.check_codec(codec)
        self.path, self._fps, self._codec = Path(path), fps, codec
        if self.path.name in ("", "..") or self.path.suffix in (lance_layout.SUFFIX, ".h5", ".hdf5"):
            raise UserError(f"{self.path}: a lance_video dataset is a folder, whose name ends in nothing special")
        there = self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir()))
        if there and mode == "error":
            raise FileExistsError(f"{self.path} exists; append to it or overwrite it, or take another name")
        table = layout.steps_in(self.path) if there else None
        if there and (table is None or self._strangers(table)):
            raise FileExistsError(f"{self.path} is no lance_video dataset; it is not touched")
        self._aside = None if there and mode == "append" else hidden(self.path)
        self._replaces = there and mode == "overwrite"
        self._schema: dict[str, Any] = {}
        new = hidden(self.path) / f"{self.path.name}{lance_layout.SUFFIX}"
        self._table = new if table is None or self._aside is not None else table
        self._steps = _Steps(self._table, "append" if self._aside is None else "error", self._write_videos)
        if self._aside is None:
            shown = LanceVideoReader(self.path)
            self._schema = {name: column for name, column in shown.columns.items() if name not in shown.others}
        self._record: Mapping[str, Any] | None = None
        self._waiting: list[tuple[int, str, bytes]] = []
        self._block: contextlib.ExitStack | None = None

    @staticmethod
    def _strangers(table: Path) -> bool:
        """Whether something lies in the folder that is no part of the dataset."""
        own = {table.name, *(Path(lance_layout.beside(table, kind)).name for kind in ("videos", "episodes"))}
        return any(entry.name not in own for entry in table.parent.iterdir())

    @property
    def episodes(self) -> int:  # type: ignore[override]
        """Episodes in it, those that wait for their group included."""
        return self._steps.episodes

    @property
    def committed(self) -> int:  # type: ignore[override]
        """Episodes in it that no kill can take away."""
        return 0 if self._aside is not None else self._steps.committed

    @property
    def seeds(self) -> np.ndarray | None:  # type: ignore[override]
        """Seeds that its episodes began from, when the writer was made; None if it does not say them."""
        return self._steps.seeds

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of its columns."""
        return (*self._steps.columns, *self._schema)

    def __enter__(self) -> LanceVideoWriter:
        with contextlib.ExitStack() as block:
            check_writable(self.path.parent)
            remove_leftovers(self.path)
            if self._replaces or self._aside is None:
                block.enter_context(holding(self.path))
                check_writable(self.path)
            if self._aside is not None:
                shutil.rmtree(self._aside, ignore_errors=True)
                block.callback(self._remove_aside)
            self._enter_steps(block)
            if self._aside is None:
                self._remove_stale()
            self._block = block.pop_all()
        self._group = Group()
        return self

    def _enter_steps(self, block: contextlib.ExitStack) -> None:
        self._steps.__enter__()
        block.push(lambda *error: self._steps.__exit__(*error))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        with self._block:
            if kind is None:
                self._commit()
            else:
                self._steps.forget()

    def _remove_aside(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)

    def _remove_stale(self) -> None:
        """Remove videos whose steps a process that died did not commit."""
        path = lance_layout.beside(self._table, "videos")
        remove_uncommitted(Path(path))
        dataset = lance_layout.opened(path)
        behind = f"{EPISODE} >= {self._steps.episodes}"
        if dataset.count_rows(filter=behind):
            dataset.delete(behind)

    def remember(self, record: Mapping[str, Any]) -> None:
        """Have the table of the steps hold how the last episodes are made."""
        self._record = record
        self._steps.remember(record)

    def check(self, episode: Episode) -> None:
        """Raise unless an episode fits into the dataset."""
        self._split(episode)

    def _split(self, episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """An episode's images, by the names that they have on disk, and the rest of it; checked."""
        arrays = {name: np.asarray(column) for name, column in episode.items() if name != EPISODE_DATA}
        shown = {lance_layout.disk_name(name): mp4.rgb(array) for name, array in arrays.items() if is_images(array)}
        rest = {name: column for name, column in episode.items() if name not in arrays or not is_images(arrays[name])}
        if len(shown) + len(rest) != len(episode) or set(shown) & {lance_layout.disk_name(name) for name in rest}:
            raise UserError(f"the columns {', '.join(episode)} cannot be told apart")
        self._steps.check(rest)
        if self._steps.columns:
            check_columns(self.path, self._schema, shown)
        lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise UserError(
                f"the columns of an episode must have the same number of rows and at least one, got {lengths}"
            )
        return shown, rest

    def write_episode(self, episode: Episode) -> None:
        """Add an episode; `Writer` says what it holds."""
        if self._block is None:
            raise UserError("episodes are written within `with LanceVideoWriter(...) as writer`")
        shown, rest = self._split(episode)
        if not self._steps.columns:
            self._schema = {name: column_of(array) for name, array in shown.items()}
        files = {name: mp4.encode(frames, None, self._fps, self._codec) for name, frames in shown.items()}
        self._waiting += [(self.episodes, name, data) for name, data in files.items()]
        before = self._steps.committed
        with disk_errors_of(self.path):
            self._steps.write_episode(rest)
        if self._steps.committed > before:
            self._committed()
        elif self._group.add(sum(map(len, files.values()))):
            self._commit()

    def settle(self) -> None:
        """Commit what waits if the last commit was long ago."""
        if self._group.is_late():
            self._commit()

    def _commit(self) -> None:
        if self._steps.committed < self._steps.episodes:
            with disk_errors_of(self.path):
                self._steps.flush()
            self._committed()

    def _write_videos(self) -> None:
        """Commit the videos of what waits; its steps are about to be."""
        numbers, names, files = zip(*self._waiting, strict=True) if self._waiting else ((), (), ())
        columns = [pa.array(numbers, pa.int32()), pa.array(names, pa.string()), pa.array(files, pa.large_binary())]
        path = Path(lance_layout.beside(self._table, "videos"))
        path.parent.mkdir(parents=True, exist_ok=True)
        lance_layout.import_lance().write_dataset(
            pa.table(columns, schema=layout.SCHEMA),
            str(path),
            mode="append" if path.exists() else "create",
            data_storage_version=_STORAGE,
        )
        self._waiting = []

    def _committed(self) -> None:
        """After the steps were committed: the first time, the dataset appears."""
        if self._aside is not None:
            assert self._block is not None
            self._steps.__exit__(None, None, None)
            self._block.enter_context(holding(self._aside))
            if self._replaces:
                exchange(self._aside, self.path)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.rename(self._aside, self.path)
            self._table, self._aside = self.path / self._table.name, None
            self._steps = _Steps(self._table, "append", self._write_videos)
            if self._record is not None:
                self._steps.remember(self._record)
            self._steps.__enter__()
        self._group.commit()


class _Steps(LanceWriter):
    """Writes the table of the steps, and has something done before each of its commits."""

    def __init__(self, path: Path, mode: Mode, before: Callable[[], None]):
        super().__init__(path, mode)
        self._before = before

    def flush(self) -> None:
        """Commit what waits."""
        self._commit()

    def forget(self) -> None:
        """Leave what waits."""
        self._waiting = []

    def _commit(self) -> None:
        if self._waiting:
            self._before()
        super()._commit()
