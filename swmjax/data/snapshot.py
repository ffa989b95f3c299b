"""Images of a dataset, decoded once and mapped from the disk: for data that is read often and fits there."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError, check_name
from swmjax.data.formats.base import Reader
from swmjax.data.threads import each, take
from swmjax.runs import files
from swmjax.runs.paths import home

_ABOUT = "snapshot.json"
"""The file of a snapshot that says what it is of, and the digests of its parts; written last."""
_PROGRESS = "progress.json"
"""The same of one that is being made."""
_CHECKED = "checked.json"
"""The file that says of which state of the others the digests were compared."""
_PART = 64 * 2**20
"""Bytes that are decoded, and digested, at once; a kill while a snapshot is made costs so much of it."""
Progress = Callable[[int], None]
"""Told how many rows are decoded."""


def decoded(
    reader: Reader,
    folder: str | Path | None = None,
    columns: Sequence[str] | None = None,
    progress: Progress = lambda rows: None,
) -> Snapshot:
    """A dataset whose images come from a snapshot, which is made unless there is one of this state of the dataset.

    An interrupt, or a kill, while it is made costs a second's work; the next call goes on. A snapshot appears when it
    is whole, and takes the place of one of an earlier state of the dataset then.

    Args:
        reader: The dataset.
        folder: Where the snapshot is, or will be; under `$STABLEWM_HOME/snapshots` if None.
        columns: Names of the images that are decoded; all if None.
        progress: Told how many rows are decoded, while it is made.

    Raises:
        UserError: There is no such column of images, no room on the disk, a damaged snapshot, something else in its
            place, or another process that makes it.
        OSError: As the file system says it.
    """
    images = [name for name, column in reader.columns.items() if column.kind == "image"]
    names = images if columns is None else list(dict.fromkeys(columns))
    for name in names:
        check_name(f"column of images of {reader.path}", name, images)
    if not names:
        raise UserError(f"{reader.path}: has no images to be decoded")
    place = _place(reader) if folder is None else Path(folder)
    about = _about(place)
    if about is None and place.exists() and any(place.iterdir()):
        raise UserError(f"{place}: holds something else than a snapshot")
    mark = reader.fingerprint()
    if about is None or about["fingerprint"] != mark or not set(names) <= set(about["digests"]):
        _make(reader, place, mark, names, progress)
    return Snapshot(reader, place)


class Snapshot(Reader):
    """A dataset whose images come from a snapshot; all else comes from the dataset. See `decoded`.

    Its digests are compared when it is opened, unless it is in the state in which they were before.

    Args:
        reader: The dataset.
        folder: Where the snapshot is.

    Raises:
        UserError: There is none, it is one of another state of the dataset, or it is damaged.
    """

    def __init__(self, reader: Reader, folder: str | Path):
        self.path, self.columns, self.lengths = reader.path, reader.columns, reader.lengths
        self.reader, self.folder = reader, Path(folder)
        about = _about(self.folder)
        if about is None:
            raise UserError(f"{self.folder}: there is no snapshot")
        if about["fingerprint"] != reader.fingerprint():
            raise UserError(f"{self.folder}: is a snapshot of {about['dataset']} in another state; make it anew")
        self._files = {name: f"{number}.bin" for number, name in enumerate(about["digests"])}
        self._maps: dict[str, np.ndarray] = {}
        state = {name: _state(self.folder / file) for name, file in self._files.items()}
        checked = self.folder / _CHECKED
        if not checked.exists() or json.loads(checked.read_text()) != state:
            for name, digests in about["digests"].items():
                self._check(name, digests, _rows_of(about["part"], self, name))
            with files.replacing(checked) as written:
                written.write_text(json.dumps(state))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def fingerprint(self) -> str:
        """That of the dataset."""
        return self.reader.fingerprint()

    @property
    def episode_columns(self) -> tuple[str, ...]:
        """Names of the values that belong to whole episodes."""
        return self.reader.episode_columns

    def episode_data(self, episodes: Sequence[int] | None = None) -> dict[str, list[Any]]:
        """Values of whole episodes."""
        return self.reader.episode_data(episodes)

    def read(
        self,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " R"],
        out: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        mapped = [name for name in columns if name in self._files]
        found = self.empty(mapped, len(rows), out)
        self.locate(rows)
        for name, array in found.items():
            take(self._map(name), rows, array)
        others = [name for name in columns if name not in self._files]
        found |= self.reader.read(others, rows, out) if others else {}
        return {name: found[name] for name in columns}

    def _map(self, name: str) -> np.ndarray:
        if name not in self._maps:
            path, shape = self.folder / self._files[name], (self.rows, *self.columns[name].shape)
            if not path.exists() or path.stat().st_size != math.prod(shape):
                raise UserError(f"{path}: is missing or damaged; delete {self.folder} to have the snapshot made anew")
            self._maps[name] = np.memmap(path, np.uint8, "r", shape=shape) if self.rows else np.empty(shape, np.uint8)
        return self._maps[name]

    def _check(self, name: str, digests: Sequence[str], step: int) -> None:
        rows = self._map(name)

        def check(number: int) -> None:
            part = rows[number * step : (number + 1) * step]
            if _digest(part) != digests[number]:
                path = self.folder / self._files[name]
                raise UserError(f"{path}: is damaged; delete {self.folder} to have the snapshot made anew")

        if len(digests) != -(-self.rows // step):
            raise UserError(f"{self.folder / _ABOUT}: is damaged; delete {self.folder} to have the snapshot made anew")
        each(check, len(digests))


def _place(reader: Reader) -> Path:
    name = reader.path.rstrip("/").rpartition("/")[2].partition(".")[0] or "dataset"
    return home() / "snapshots" / f"{name}-{hashlib.sha256(reader.path.encode()).hexdigest()[:12]}"


def _make(reader: Reader, folder: Path, mark: str, names: Sequence[str], progress: Progress) -> None:
    making = folder.with_name(f".{folder.name}.making")
    files.remove_leftovers(folder)
    with files.disk_errors(folder):
        making.mkdir(parents=True, exist_ok=True)
        with files.holding(making):
            digests = _begun(making, mark, names)
            _check_room(reader, making, names)
            _decode(reader, making, mark, digests, progress)
            os.replace(making / _PROGRESS, making / _ABOUT)
            old = files.hidden(folder)
            if folder.exists():
                os.rename(folder, old)
            os.rename(making, folder)
            shutil.rmtree(old, ignore_errors=True)


def _begun(making: Path, mark: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Digests of the parts that are there, by name; of none if they are of another state of the dataset."""
    about = _about(making, _PROGRESS) or _about(making)
    if (
        about is not None
        and about["fingerprint"] == mark
        and list(about["digests"]) == list(names)
        and about["part"] == _PART
    ):
        return about["digests"]
    for file in making.iterdir():
        file.unlink()
    return {name: [] for name in names}


def _check_room(reader: Reader, making: Path, names: Sequence[str]) -> None:
    size = sum(reader.rows * math.prod(reader.columns[name].shape) for name in names)
    there = sum(file.stat().st_size for file in making.iterdir())
    free = shutil.disk_usage(making).free
    if size - there > free:
        raise UserError(
            f"{making.parent}: the images of {reader.path} take {size / 1e9:,.1f} GB decoded, and {free / 1e9:,.1f} GB "
            "are free there"
        )


def _decode(reader: Reader, making: Path, mark: str, digests: dict[str, list[str]], progress: Progress) -> None:
    about = {"dataset": reader.path, "fingerprint": mark, "part": _PART, "digests": digests}
    for number, name in enumerate(digests):
        step = _rows_of(_PART, reader, name)
        buffer = np.empty((step, *reader.columns[name].shape), np.uint8)
        with (making / f"{number}.bin").open("ab") as file:
            file.truncate(min(len(digests[name]) * step, reader.rows) * buffer[0].nbytes)
            while (first := len(digests[name]) * step) < reader.rows:
                part = buffer[: reader.rows - first]
                reader.read([name], first + np.arange(len(part)), {name: part})
                file.write(part.data)
                file.flush()
                os.fsync(file.fileno())
                digests[name].append(_digest(part))
                _save(making / _PROGRESS, about)
                progress(first + len(part))
    _save(making / _PROGRESS, about)


def _save(path: Path, about: Mapping[str, Any]) -> None:
    with files.replacing(path) as written:
        written.write_text(json.dumps(about))


def _rows_of(part: int, reader: Reader, name: str) -> int:
    """Rows of a part."""
    return max(1, part // max(1, math.prod(reader.columns[name].shape)))


def _about(folder: Path, name: str = _ABOUT) -> dict[str, Any] | None:
    """What a snapshot is of; None if there is none."""
    try:
        found = json.loads((folder / name).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"dataset", "fingerprint", "part", "digests"} <= set(found) else None


def _state(path: Path) -> list[int] | None:
    """Size and time of a file; None where there is none."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None


def _digest(part: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()
