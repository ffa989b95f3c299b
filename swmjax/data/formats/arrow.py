"""The reference's first layout, which can be read: Arrow shards of Hugging Face `datasets`, with images beside them.

`state.json` lists the shards; a column of images holds paths such as `img/<episode>/<step>_<column>.jpeg`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.formats.base import EPISODE, Column, Format, Reader
from swmjax.data.jpeg import decode_jpegs, jpeg_shape
from swmjax.data.threads import each

_STATE = "state.json"
_JPEG, _PNG = (".jpeg", ".jpg"), ".png"
_BYTE = np.dtype(np.uint8)


class ArrowReader(Reader):
    """Read a dataset of Arrow shards.

    Args:
        path: The folder of the shards, or the one that holds it as `records`.

    Raises:
        UserError: There is no such dataset, it is damaged, or it is none of episodes.

    Source: the reference's releases of 2025, `data.py`.
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        self._folder = Path(path)
        self._open: pa.Table | None = None
        table = self._table
        if EPISODE not in table.column_names:
            raise UserError(f"{path}: has no column {EPISODE}, so it is no dataset of episodes")
        numbers = table.column(EPISODE).to_numpy()
        # Episodes that were recorded side by side may be stored so.
        self._order = np.argsort(numbers, kind="stable")
        self.numbers, self.lengths = (array.astype(np.int64) for array in np.unique(numbers, return_counts=True))
        self.columns = {name: self._column(name) for name in table.column_names} if len(numbers) else {}
        if not self.columns:
            raise UserError(f"{path}: has no rows")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _table(self) -> pa.Table:
        if self._open is None:
            shards = _shards(self._folder)
            try:
                tables = [pa.ipc.open_stream(pa.memory_map(str(shard))).read_all() for shard in shards]
                self._open = pa.concat_tables(tables, promote_options="default")
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{self.path}: cannot be read, {' '.join(str(error).split())[:200]}") from error
        return self._open

    def _column(self, name: str) -> Column:
        kind, first = self._table.schema.field(name).type, self._table.column(name)[int(self._order[0])].as_py()
        if isinstance(first, str) and first.endswith((*_JPEG, _PNG)):
            return Column(
                "image", _picture_shape(self._picture(first, 0, name), f"{self.path}: row 0 of {name}"), _BYTE
            )
        if isinstance(first, str):
            return Column("text", (), np.dtype(object))
        while _is_list(kind):
            kind = kind.value_type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise UserError(f"{self.path}: column {name} is {kind}, which holds no numbers, images or texts")
        return Column("number", np.shape(first), np.dtype(kind.to_pandas_dtype()))

    def read(
        self, columns: Sequence[str], rows: Int64[np.ndarray, " R"], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Read exactly these rows of these columns."""
        found = self.empty(columns, len(rows), out)
        if not len(rows) or not found:
            return found
        taken = self._table.select(list(found)).take(self._order[rows])
        for name, array in found.items():
            column, values = self.columns[name], taken.column(name).combine_chunks()
            if column.kind == "number":
                array[...] = self._numbers(values, column, name)
            elif column.kind == "text":
                array[:] = values.to_pylist()
            else:
                self._decode(values.to_pylist(), rows, name, array)
        return found

    def _numbers(self, values: Any, column: Column, name: str) -> np.ndarray:
        shape = (len(values), *column.shape)
        for size in column.shape:
            if values.null_count or set(pyarrow.compute.list_value_length(values).to_pylist()) != {size}:
                raise UserError(
                    f"{self.path}: the rows of {name} differ in their shape, that of the first is {shape[1:]}"
                )
            values = values.flatten()
        if values.null_count and column.dtype.kind != "f":
            raise UserError(f"{self.path}: a row of {name} has no value")
        return values.to_numpy(zero_copy_only=False).reshape(shape)

    def _decode(self, names: Sequence[str], rows: Int64[np.ndarray, " R"], name: str, out: np.ndarray) -> None:
        files = [self._picture(each, row, name) for each, row in zip(names, rows.tolist(), strict=True)]
        places = [f"{self.path}: row {row} of {name}, {file}" for row, file in zip(rows.tolist(), files, strict=True)]

        def work(i: int) -> None:
            if files[i].suffix != _PNG:
                decode_jpegs([files[i].read_bytes()], out[i : i + 1], lambda _: places[i])
                return
            picture = _png(files[i], places[i])
            if picture.shape != out.shape[1:]:
                raise UserError(f"{places[i]} is a picture of {picture.shape}; expected is {out.shape[1:]}")
            out[i] = picture

        each(work, len(files))

    def _picture(self, name: object, row: int, column: str) -> Path:
        """The file of an image; paths do not leave the dataset."""
        place = f"{self.path}: row {row} of {column}"
        if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{place} is {name!r}, and no path of an image within the dataset")
        for folder in (self._folder, self._folder.parent):
            if (folder / name).is_file():
                return folder / name
        raise UserError(f"{place}: there is no image {name}")


class Arrow(Format):
    """A folder of Arrow shards and images, the reference's first layout; it can only be read."""

    name = "arrow"
    place = "be a folder with a state.json and Arrow shards"
    extra = "data"

    @classmethod
    def detect(cls, path: str | Path) -> bool:
        """Whether a folder holds shards, itself or in `records`."""
        return "://" not in str(path) and _shards_folder(Path(path)) is not None

    @classmethod
    def reader(cls, path: str | Path, **options: Any) -> ArrowReader:
        """An `ArrowReader`."""
        cls.check_options(options)
        return ArrowReader(path)


def _shards_folder(folder: Path) -> Path | None:
    return next((each for each in (folder, folder / "records") if (each / _STATE).is_file()), None)


def _shards(folder: Path) -> list[Path]:
    """Files of the shards, in their order."""
    home = _shards_folder(folder)
    if home is None:
        raise UserError(f"{folder}: there is no dataset of Arrow shards, it has no {_STATE}")
    try:
        listed = [entry["filename"] for entry in json.loads((home / _STATE).read_text(encoding="utf-8"))["_data_files"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{home / _STATE}: does not list the shards of a dataset") from error
    for name in listed:
        if not isinstance(name, str) or Path(name).name != name or not (home / name).is_file():
            raise UserError(f"{home / _STATE}: lists {name!r}, and there is no such file beside it")
    if not listed:
        raise UserError(f"{home / _STATE}: lists no shards")
    return [home / name for name in listed]


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _picture_shape(file: Path, place: str) -> tuple[int, ...]:
    if file.suffix == _PNG:
        return _png(file, place).shape
    return (*jpeg_shape(file.read_bytes(), place)[:2], 3)


def _png(file: Path, place: str) -> np.ndarray:
    import imageio.v3 as iio

    try:
        return iio.imread(file, plugin="pillow", mode="RGB")
    except OSError as error:
        raise UserError(f"{place} holds something that is no picture; allowed are PNG files") from error
