"""Write tensors as a torch `.pt` archive without torch."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import shown
from swmjax.checkpoints.torch.archive import STORAGES
from swmjax.runs.files import replacing

_ALIGNMENT = 64
_STORAGE_OF = {dtype: f"{storage}Storage" for storage, dtype in STORAGES.items()}
_EMPTY_DICT = b"ccollections\nOrderedDict\n)R"


def write_state_dict(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict as `torch.save` does; the same tensors always give the same bytes.

    Args:
        path: the file; one that exists is replaced when all is written. Its stem names the folder inside the archive,
            as in torch.
        tensors: arrays by name, of any memory layout; bfloat16 through ml_dtypes. Each gets a storage of its own.

    Raises:
        UserError: a dtype that torch has no storage for.

    Source: torch/serialization.py and caffe2/serialize/inline_container.cc, the format only.
    """
    path = Path(path)
    for name, array in tensors.items():
        if array.dtype.name not in _STORAGE_OF:
            allowed = ", ".join(_STORAGE_OF)
            raise UserError(f"{path}: tensor {shown(name)} is {array.dtype}; allowed are {allowed}")
    identifier = hashlib.sha256()
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        members = _Members(archive, path.stem or "archive")
        members.add("data.pkl", _pickled(tensors))
        members.add(".format_version", b"1")
        members.add(".storage_alignment", str(_ALIGNMENT).encode())
        members.add("byteorder", b"little")
        for index, array in enumerate(tensors.values()):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            data = memoryview(np.asarray(little, order="C").reshape(-1).view("u1"))  # type: ignore[arg-type]
            identifier.update(data)
            members.add(f"data/{index}", data)
        members.add("version", b"3\n")
        members.add(".data/serialization_id", str(int.from_bytes(identifier.digest()[:16], "big")).zfill(40).encode())


class _Members:
    """Members of the archive, each beginning at a multiple of 64 bytes."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str):
        self.archive, self.prefix = archive, prefix

    def add(self, name: str, data: bytes | memoryview) -> None:
        info = zipfile.ZipInfo(f"{self.prefix}/{name}")
        info.file_size = len(data)
        long = len(data) >= 2**31 - 1
        header = 30 + len(info.filename.encode()) + 20 * long
        begin = _position(self.archive) + header + 4
        padding = -begin % _ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        with self.archive.open(info, "w", force_zip64=long) as file:
            file.write(data)


def _position(archive: zipfile.ZipFile) -> int:
    file: IO[bytes] | None = archive.fp
    assert file is not None
    return file.tell()


def _pickled(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The state dict as opcodes of pickle protocol 2, without a memo: nothing here is referred to twice."""
    items = b"".join(_text(name) + _tensor(index, array) for index, (name, array) in enumerate(tensors.items()))
    return b"\x80\x02" + _EMPTY_DICT + b"(" + items + b"u."


def _tensor(index: int, array: np.ndarray) -> bytes:
    kind = f"ctorch\n{_STORAGE_OF[array.dtype.name]}\n".encode()
    storage = b"(" + _text("storage") + kind + _text(str(index)) + _text("cpu") + _integer(array.size) + b"tQ"
    strides = [1]
    for size in array.shape[:0:-1]:
        strides.append(strides[-1] * max(size, 1))
    layout = _integers(array.shape) + _integers(tuple(strides[::-1]) if array.ndim else ())
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _integer(0) + layout + b"\x89" + _EMPTY_DICT + b"tR"


def _integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"


def _integer(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data
