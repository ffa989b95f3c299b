"""Whether a copy of episodes holds what its sources do."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from envs_mjx.checks import UserError
from swmjax.data.formats import EPISODE_DATA, Column, Reader
from swmjax.data.formats.jpegs import Jpegs
from swmjax.data.formats.lance_layout import disk_name
from swmjax.data.sources import Sources, as_column, content_of
from swmjax.runs.telling import Progress

_DRIFT = 32.0
"""Levels by which frames may differ on average where a format compresses them; noise takes most of it."""


def verify(copy: Reader, sources: Sources, first: int, lossless: bool, progress: Progress) -> str:
    """Compare a copy with its sources, episode by episode.

    Numbers and texts are compared by digests, in the form in which the copy holds them; frames as well where they are
    kept as they are, and otherwise the first, middle and last one of every episode by how far they are from the
    original.

    Args:
        copy: The copy.
        sources: What was copied.
        first: The episode of the copy from which on it holds them.
        lossless: Whether the copy's format keeps frames as they are.
        progress: Told the stage and the episodes done.

    Returns:
        A digest, SHA-256 in hexadecimal digits, of the lengths of the episodes and of all numbers and texts.

    Raises:
        UserError: The copy holds something else; names the episode and the column.
    """
    lengths = copy.lengths[first:]
    if not np.array_equal(lengths, sources.lengths):
        raise UserError(
            f"{copy.path}: has {len(lengths)} episodes with {int(lengths.sum())} rows, and what was copied has "
            f"{len(sources)} with {int(sources.lengths.sum())}"
        )
    names = {name: name if name in copy.columns else disk_name(name) for name in sources.columns}
    whole = hashlib.sha256(lengths.tobytes())
    for number in range(len(sources)):
        progress("verifying", number)
        given = sources.episode(number)
        begin = int(copy.offsets[first + number])
        rows = np.arange(begin, begin + int(lengths[number]))
        for name, column in sources.columns.items():
            problem = (
                _frames(copy, names[name], rows, given[name], lossless)
                if column.kind == "image"
                else _values(copy.columns[names[name]], copy.read([names[name]], rows)[names[name]], given[name], whole)
            )
            if problem:
                raise UserError(f"{copy.path}: {name} of episode {first + number} {problem}")
        if copy.episode_columns:
            _check_values(copy, first + number, given[EPISODE_DATA])
    progress("verifying", len(sources))
    return whole.hexdigest()


def _values(column: Column, stored: np.ndarray, given: np.ndarray, whole: Any) -> str | None:
    whole.update(content_of(stored))
    return None if _digest(stored) == _digest(as_column(column, given)) else "is not what was copied"


def _digest(column: Any) -> bytes:
    return hashlib.sha256(content_of(column)).digest()


def _frames(copy: Reader, name: str, rows: np.ndarray, given: Any, lossless: bool) -> str | None:
    if isinstance(given, Jpegs) and isinstance(stored := copy.copied(name, rows), Jpegs):
        return None if _digest(stored) == _digest(given) else "is not what was copied"
    if lossless:
        same = _digest(copy.read([name], rows)[name]) == _digest(np.asarray(given))
        return None if same else "is not what was copied"
    some = np.unique([0, len(rows) // 2, len(rows) - 1])
    original = np.asarray(given)[some].astype(np.float32)
    far = np.abs(copy.read([name], rows[some])[name] - original).mean(axis=(1, 2, 3))
    return None if far.max() <= _DRIFT else f"is {far.max():.0f} levels from what was copied"


def _check_values(copy: Reader, number: int, given: Any) -> None:
    for name, (value,) in copy.episode_data([number]).items():
        expected = np.asarray(given[name])
        same = np.array_equal(np.asarray(value).reshape(-1), expected.reshape(-1).astype(np.asarray(value).dtype))
        if not same:
            raise UserError(f"{copy.path}: {name}, of the whole episode {number}, is not what was copied")
