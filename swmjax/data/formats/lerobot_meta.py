"""What LeRobot's datasets, versions 2 and 3, say of themselves: where the rows and the videos of each episode are.

Version 2 has a Parquet file and videos for each episode; version 3 puts many episodes into one file each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from envs_mjx.checks import UserError

INFO = Path("meta") / "info.json"
VIDEO, IMAGE = "video", "image"
_FIELD = re.compile(r"\{(\w+)(?::0?(\d+)d)?\}")


@dataclass(frozen=True)
class Places:
    """Where episodes lie in files.

    Attributes:
        files: The files.
        file: Of each episode, a number among them.
        begin: Where it begins: its first row, or the second in a video.
    """

    files: Sequence[Path]
    file: Int64[np.ndarray, " E"]
    begin: np.ndarray


@dataclass(frozen=True)
class Meta:
    """What a dataset says of itself.

    Attributes:
        features: What its columns hold, by name, as `info.json` says it.
        lengths: Rows of each episode.
        rows: Where its rows are.
        videos: Where its videos are, by column.
        tasks: Texts of the tasks by their numbers.
    """

    features: Mapping[str, Mapping[str, Any]]
    lengths: Int64[np.ndarray, " E"]
    rows: Places
    videos: Mapping[str, Places]
    tasks: Mapping[int, str] = field(default_factory=dict)


def read_meta(root: Path) -> Meta:
    """What the dataset in a folder says of itself.

    Raises:
        UserError: It is none, damaged, of an unknown version, or leads out of its folder.
    """
    info = _json((root / INFO).read_text, root / INFO)
    version = str(info.get("codebase_version"))
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(each, dict) for each in features.values()):
        raise UserError(f"{root / INFO}: says nothing of features")
    shown = [name for name, each in features.items() if each.get("dtype") == VIDEO and not _is_depth(each)]
    if version.startswith("v2"):
        return _version_2(root, info, features, shown)
    if version.startswith("v3"):
        return _version_3(root, info, features, shown)
    raise UserError(f"{root}: is a LeRobot dataset of version {version}; read are v2 and v3")


def _version_2(root: Path, info: Mapping[str, Any], features: Any, shown: Sequence[str]) -> Meta:
    episodes = sorted(_lines(root / "meta" / "episodes.jsonl"), key=lambda each: _whole(root, each, "episode_index"))
    numbers = np.array([_whole(root, each, "episode_index") for each in episodes], np.int64)
    lengths = np.array([_whole(root, each, "length") for each in episodes], np.int64)
    chunk = max(1, int(info.get("chunks_size") or 1000))

    def files(template: str, **more: str) -> list[Path]:
        return [
            _filled(root, info, template, episode_chunk=number // chunk, episode_index=number, **more)
            for number in numbers.tolist()
        ]

    count = np.arange(len(numbers))
    videos = {
        name: Places(files("video_path", video_key=name), count, np.zeros(len(count), np.float64)) for name in shown
    }
    tasks = {_whole(root, each, "task_index"): str(each.get("task")) for each in _lines(root / "meta" / "tasks.jsonl")}
    return Meta(features, lengths, Places(files("data_path"), count, np.zeros(len(count), np.int64)), videos, tasks)


def _version_3(root: Path, info: Mapping[str, Any], features: Any, shown: Sequence[str]) -> Meta:
    found = sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    if not found:
        raise UserError(f"{root / 'meta' / 'episodes'}: holds no files, so there is no telling where episodes are")
    names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for name in shown:
        names += [f"videos/{name}/{each}" for each in ("chunk_index", "file_index", "from_timestamp")]
    tables = [_table(file, names) for file in found]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in names}
    order = np.argsort(columns["episode_index"], kind="stable")
    columns = {name: array[order] for name, array in columns.items()}
    lengths = columns["length"].astype(np.int64)
    files, file = _files(root, info, "data_path", columns["data/chunk_index"], columns["data/file_index"])
    begin = np.zeros(len(lengths), np.int64)
    for number in range(len(files)):
        own = file == number
        begin[own] = np.cumsum(lengths[own]) - lengths[own]
    videos = {}
    for name in shown:
        chunk, index, first = (
            columns[f"videos/{name}/{each}"] for each in ("chunk_index", "file_index", "from_timestamp")
        )
        videos[name] = Places(*_files(root, info, "video_path", chunk, index, video_key=name), first.astype(np.float64))
    return Meta(features, lengths, Places(files, file, begin), videos, _tasks_3(root / "meta" / "tasks.parquet"))


def _files(
    root: Path, info: Mapping[str, Any], template: str, chunks: np.ndarray, indices: np.ndarray, **more: str
) -> tuple[list[Path], Int64[np.ndarray, " E"]]:
    """Files by chunk and number in it, and which of them each episode has."""
    pairs, which = np.unique(np.stack([chunks, indices], axis=1).astype(np.int64), axis=0, return_inverse=True)
    named = [
        _filled(root, info, template, chunk_index=chunk, file_index=index, **more) for chunk, index in pairs.tolist()
    ]
    return named, which.reshape(-1).astype(np.int64)


def _tasks_3(file: Path) -> dict[int, str]:
    if not file.exists():
        return {}
    table = read_parquet(file)
    text = next((name for name in ("task", "__index_level_0__") if name in table.column_names), None)
    if text is None or "task_index" not in table.column_names:
        raise UserError(f"{file}: does not say which text belongs to which task")
    return dict(zip(table.column("task_index").to_pylist(), map(str, table.column(text).to_pylist()), strict=True))


def _table(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    table = read_parquet(file, names)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(f"{file}: has no column {', '.join(missing)}")
    return {name: table.column(name).to_numpy() for name in names}


def read_parquet(file: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Columns of a Parquet file; all if None.

    Raises:
        UserError: It is not there, or damaged.
    """
    try:
        return pq.read_table(file, columns=None if names is None else list(names), partitioning=None)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception) -> UserError:
    """What to raise where a file is not there, or damaged."""
    if not file.exists():
        return UserError(f"{file}: there is no such file, and the dataset needs it")
    return UserError(f"{file}: cannot be read, {' '.join(str(error).split())[:200]}")


def _json(read: Any, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read())
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds {type(found).__name__} where a mapping is expected")
    return found


def _lines(file: Path) -> Iterable[dict[str, Any]]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error
    return [_json(line.__str__, file) for line in lines if line.strip()]


def _whole(root: Path, values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or value < 0:
        raise UserError(f"{root}: {name} must be a whole number, got {value!r}")
    return value


def _is_depth(feature: Mapping[str, Any]) -> bool:
    said = feature.get("info") or feature.get("video_info")
    return isinstance(said, dict) and bool(said.get("is_depth_map") or said.get("video.is_depth_map"))


def _filled(root: Path, info: Mapping[str, Any], name: str, **values: int | str) -> Path:
    """A path from its template; only names of fields are filled in, and no path leads out of the dataset."""
    template = info.get(name)
    if not isinstance(template, str):
        raise UserError(f"{root / INFO}: says no {name}")

    def fill(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            raise UserError(f"{root / INFO}: {name} is {template!r}, in which {match[1]} means nothing")
        return str(value).zfill(int(match[2] or 0))

    path = PurePosixPath(_FIELD.sub(fill, template))
    if path.is_absolute() or ".." in path.parts or "{" in str(path) or "\\" in str(path):
        raise UserError(f"{root / INFO}: {name} is {template!r}, which leads out of the dataset, or nowhere")
    return root / path
