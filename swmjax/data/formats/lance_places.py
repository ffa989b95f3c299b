"""Where the files of a local Lance dataset hold the values of a column of bytes, which are read there.

Lance's own way to scattered rows takes half as long for each as decoding its image. A column of larger values that is
not compressed lies in pages, each of a buffer with the values, every one behind its length, and of a buffer that says
where they begin (Lance file format 2.1 and later, full-zip layout). Any other column is left to Lance.
"""

from __future__ import annotations

import os
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from envs_mjx.checks import UserError
from swmjax.data.jpeg import File, Files

_PAGE = re.compile(
    r"PageLayout\{layout:Some\(FullZipLayout\(FullZipLayout\{bits_rep:0,bits_def:0,num_items:(\d+),"
    r"num_visible_items:\1,value_compression:Some\(CompressiveEncoding\{compression:Some\(Variable\(Variable\{"
    r"offsets:Some\(CompressiveEncoding\{compression:Some\(Flat\(Flat\{bits_per_value:(32|64),data:None,?\},?\),?\),?"
    r"\},?\),values:None,?\},?\),?\),?\},?\),layers:\[RepdefAllValidItem,?\],details:Some\(BitsPerOffset\(\2,?\),?\),?"
    r"\},?\),?\),?\}"
)
"""How pylance describes a page of such a column, without spaces."""
_MOST_FILES = 256
"""Files that are kept open at most; a process may have some thousand."""


class Places:
    """Values of a column of bytes, which are read when they are looked at.

    Attributes:
        path: The dataset, for messages.
    """

    def __init__(self, path: str, files: list[Path], parts: list[_Part]):
        self.path = path
        self._handles = [os.open(file, os.O_RDONLY) for file in files]
        weakref.finalize(self, _close, self._handles)
        self._file = np.concatenate([np.full(len(part.begins) - 1, part.file, np.int32) for part in parts])
        self._begins = np.concatenate([part.begins[:-1] for part in parts])
        self._sizes = np.concatenate([np.diff(part.begins) for part in parts]).astype(np.int32)
        self._prefix = np.concatenate([np.full(len(part.begins) - 1, part.prefix, np.int8) for part in parts])

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, row: int) -> memoryview:
        begin, size, prefix = int(self._begins[row]), int(self._sizes[row]), int(self._prefix[row])
        data = memoryview(os.pread(self._handles[self._file[row]], size, begin))
        if len(data) != size or int.from_bytes(data[:prefix], "little") != size - prefix:
            raise UserError(f"{self.path}: row {row} cannot be read; a file is damaged")
        return data[prefix:]

    def rows(self, rows: Int64[np.ndarray, " R"]) -> Files:
        """Values of rows, in their order."""
        return _Chosen(self, rows)


class _Chosen:
    def __init__(self, values: Files, rows: Int64[np.ndarray, " R"]):
        self._values, self._rows = values, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> File:
        return self._values[int(self._rows[number])]


class _Part:
    """Values of a page.

    Attributes:
        file: Number of the file.
        begins: Where in it the values begin, each with its length before it; and where the last one ends.
        prefix: Bytes of a length.
    """

    def __init__(self, file: int, begins: Int64[np.ndarray, " V"], prefix: int):
        self.file, self.begins, self.prefix = file, begins, prefix


def places_of(dataset: Any, path: str, column: str) -> Places | None:
    """Where the values of a column of bytes are.

    Args:
        dataset: An open Lance dataset.
        path: Its path.
        column: Name of the column.

    Returns:
        None if they are to be had from Lance alone: remote, compressed, some missing, or rows deleted.
    """
    fragments = dataset.get_fragments()
    if "://" in path or not hasattr(os, "pread") or not 0 < len(fragments) <= _MOST_FILES:
        return None
    from lance.file import LanceFileReader

    files: list[Path] = []
    parts: list[_Part] = []
    for fragment in fragments:
        stored = fragment.data_files()
        if len(stored) != 1 or fragment.num_deletions or getattr(stored[0], "base_id", None) is not None:
            return None
        files.append(Path(path, "data", stored[0].path))
        metadata = LanceFileReader(str(files[-1])).metadata()
        names = metadata.schema.names
        if len(metadata.columns) != len(names) or column not in names:
            return None
        pages = [_page(files[-1], len(files) - 1, page) for page in metadata.columns[names.index(column)].pages]
        found = [page for page in pages if page is not None]
        if len(found) != len(pages) or sum(len(page.begins) - 1 for page in found) != fragment.physical_rows:
            return None
        parts += found
    return Places(path, files, parts)


def _page(path: Path, file: int, page: Any) -> _Part | None:
    described = _PAGE.fullmatch(re.sub(r"\s", "", page.encoding))
    if described is None or len(page.buffers) != 2:
        return None
    count, prefix = int(described[1]), int(described[2]) // 8
    values, index = page.buffers
    width, rest = divmod(index.size, count + 1)
    if width not in (1, 2, 4, 8) or rest:
        return None
    with path.open("rb") as opened:
        opened.seek(index.position)
        stored = np.frombuffer(opened.read(index.size), f"<u{width}")
    begins = stored.astype(np.int64) + values.position
    fits = len(stored) == count + 1 and begins[0] == values.position and begins[-1] == values.position + values.size
    return _Part(file, begins, prefix) if fits and (np.diff(begins) >= prefix).all() else None


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
