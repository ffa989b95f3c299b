"""The folder of one run: how it is named, and the files in it."""

import dataclasses
import datetime
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from envs_mjx.checks import UserError
from swmjax.files import replacing

EPISODES = pa.schema(
    [
        pa.field("episode", pa.int32()),
        pa.field("seed", pa.int64()),
        pa.field("start", pa.list_(pa.float64())),
        pa.field("goal", pa.list_(pa.float64())),
        pa.field("success", pa.bool_()),
        pa.field("steps", pa.int32()),
        pa.field("final_distance", pa.float64()),
    ]
)
"""Columns of `episodes.parquet`, one row an episode."""


def create_run_folder(root: Path, name: str, now: datetime.datetime | None = None) -> Path:
    """Make a new folder `root/<YYYYmmdd-HHMMSS>-<slug>`.

    Args:
        root: folder of all runs; made if it is missing.
        name: what the run is about; anything but letters, digits, dots and underscores becomes a dash.
        now: time in the name; the clock's if left out.

    Returns:
        The folder, empty and never one that existed before: runs of the same second get -2, -3, ...

    Raises:
        OSError: if the folder cannot be made.
    """
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")[:80] or "run"
    stem = f"{now or datetime.datetime.now():%Y%m%d-%H%M%S}-{slug}"
    root.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        folder = root / (stem if count == 1 else f"{stem}-{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # mkdir itself decides, so that two runs started together never share a folder
        return folder
    raise AssertionError("unreachable")


def explicit_run_folder(path: Path) -> Path:
    """Make the folder that the user asked for, or take it if it is empty.

    Args:
        path: folder of the run; parents are made.

    Returns:
        The same path, now an empty folder.

    Raises:
        FileExistsError: if it is a file, or a folder with something in it.
        OSError: if the folder cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; give --output a new or an empty folder")
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty; give --output a new or an empty folder, or move the old one away")
    return path


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of one run, in an existing folder; each write replaces the whole file at once."""

    path: Path

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`, everything needed to run again, in the order given.

        Args:
            config: nested settings; NumPy and JAX values, tuples and paths are written as plain ones.

        Raises:
            UserError: if YAML has no form for a value; the message names it.
            OSError: if the file cannot be written.
        """
        plain = _plain(config, "config")
        try:
            text = OmegaConf.to_yaml(OmegaConf.create(plain))
        except Exception as error:  # the interpolation grammar and the container each raise their own kind
            raise UserError(f"config cannot be written: {_one_line(error)}") from error
        self._write_text("config.yaml", text)

    def read_config(self) -> dict[str, Any]:
        """Settings of `config.yaml`; ValueError if it is missing or damaged."""
        path, expected = self.path / "config.yaml", "the YAML mapping of settings that a run writes"
        text = _read(path, expected)
        config: Any = None
        try:
            if b":" in text:  # OmegaConf reads a lone word as a mapping of it to nothing
                config = OmegaConf.to_container(OmegaConf.create(text.decode("utf-8")))
        except Exception as error:  # YAML, the interpolation grammar and the container each raise their own kind
            raise UserError(f"{path}: {_one_line(error)}; expected {expected}") from error
        if not config or not isinstance(config, dict):
            raise UserError(f"{path}: no settings in it; expected {expected}")
        return config

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write `results.json`.

        Args:
            results: nested figures; numbers that are not finite become null, which every JSON reader accepts.

        Raises:
            UserError: if JSON has no form for a value; the message names it.
            OSError: if the file cannot be written.
        """
        plain = _plain(results, "results", finite=True)
        self._write_text("results.json", json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    @property
    def complete(self) -> bool:
        """Whether the results say that the run ended; False where there are none, or none that can be read."""
        try:
            results = json.loads((self.path / "results.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(results, dict) and results.get("complete") is True

    def write_episodes(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `episodes.parquet`, all rows so far.

        Args:
            rows: one mapping an episode with exactly the columns of `EPISODES`.

        Raises:
            UserError: if a row lacks a column, has one more, or holds a value of another type.
            OSError: if the file cannot be written.
        """
        for i, row in enumerate(rows):
            if set(row) != set(EPISODES.names):
                raise UserError(f"row {i} of the episodes has {sorted(row)}, it must have {sorted(EPISODES.names)}")
            for field in EPISODES:
                value = row[field.name]
                if value is None or (pa.types.is_integer(field.type) and not hasattr(value, "__index__")):
                    raise UserError(f"row {i} of the episodes: {field.name} is {value}, it must be {field.type}")
        try:
            plain = [_plain(row, f"row {i} of the episodes") for i, row in enumerate(rows)]
            table = pa.Table.from_pylist(plain, schema=EPISODES)
        except (pa.ArrowException, OverflowError) as error:
            raise UserError(f"episodes: {_one_line(error)}") from error
        with replacing(self.path / "episodes.parquet") as temporary:
            pq.write_table(table, temporary)

    def read_episodes(self) -> list[dict[str, Any]]:
        """Rows of `episodes.parquet`; ValueError if it is missing or damaged."""
        path, expected = self.path / "episodes.parquet", f"a Parquet file with the columns {', '.join(EPISODES.names)}"
        data = _read(path, expected)
        try:
            table = pq.ParquetFile(pa.BufferReader(data)).read()
        except (pa.ArrowException, OSError) as error:  # damage within the file is an OSError to pyarrow
            raise UserError(f"{path}: {_one_line(error)}; expected {expected}") from error
        if not table.schema.equals(EPISODES):
            raise UserError(f"{path}: has {_one_line(table.schema)}; expected {_one_line(EPISODES)}")
        return table.to_pylist()

    def _write_text(self, name: str, text: str) -> None:
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def _read(path: Path, expected: str) -> bytes:
    if not path.exists():
        raise UserError(f"{path} is missing; expected {expected}")
    return path.read_bytes()


def _plain(value: Any, place: str, finite: bool = False) -> Any:
    """The value in dicts, lists and Python scalars; with `finite`, None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}", finite) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{i}]", finite) for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy and JAX, arrays and scalars
        return _plain(value.tolist(), place, finite)
    if isinstance(value, float) and finite and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"{place} is a {type(value).__name__}, it must be a number, text, a list or a mapping")


def _one_line(value: object) -> str:
    return " ".join(str(value).replace('in "<unicode string>", ', "at ").split())
