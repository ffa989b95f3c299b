"""Read the tensors of a torch `.pt` archive without torch and without executing its pickle."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch import pickle_subset
from swmjax.checkpoints.torch.pickle_subset import Global
from swmjax.checkpoints.torch.state_dict import StateDict, find_state_dict

MAX_PICKLE_BYTES = 8 * 2**20
"""Largest `data.pkl` accepted; a state dict takes about 200 bytes a tensor."""
MAX_REPEATED_ELEMENTS = 2**24
"""Largest tensor whose strides repeat elements of a smaller storage (an expanded buffer)."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
_BYTES = np.dtype("u1")


def read_state_dict(path: str | Path, *, key: str | None = None) -> dict[str, np.ndarray]:
    """Read a state dict as read-only arrays that are views into the memory-mapped file.

    Args:
        path: a zip archive written by `torch.save` of torch 1.6 or later.
        key: the entry that holds the state dict, with a dot between entries that lie in one another (`"ema.module"`);
            None for the top level, or for the only one of the entries that training loops make (`"state_dict"` in a
            Lightning checkpoint, `"model"`, `"model_state_dict"`, `"module"`, `"ema"`) that holds one.

    Returns:
        Arrays by name, in the order of the file, with the dtypes (bfloat16 through ml_dtypes), shapes and strides
        that were saved. Tensors that share a storage share memory. Copy what must outlive a change of the file.

    Raises:
        CheckpointError: not such an archive, damaged, several state dicts in it, or one with anything but names and
            tensors.

    Source: torch/serialization.py and torch/_utils.py, the format only.
    """
    return dict(read_archive(path, key=key).tensors)


def read_archive(path: str | Path, *, key: str | None = None) -> StateDict:
    """As `read_state_dict`, with where the state dict was found and what lies beside it."""
    path = Path(path)
    try:
        archive = _Archive.open(path)
        return find_state_dict(_load(archive), key)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _load(archive: _Archive) -> Any:
    name = archive.prefix + "data.pkl"
    begin, size = archive.extent(name)
    if size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"member {shown(name)} has {size} bytes; allowed are up to {MAX_PICKLE_BYTES}")
    data = archive.buffer[begin : begin + size]
    try:
        return pickle_subset.load(data, _GLOBALS, lambda identifier: _storage(archive, identifier))
    except CheckpointError as error:
        raise CheckpointError(f"{shown(name)[1:-1]}, {error}") from None


@dataclass(frozen=True)
class _Storage:
    """A run of bytes of the file and the dtype of its elements (None: untyped)."""

    buffer: mmap.mmap
    offset: int
    size: int
    dtype: np.dtype[Any] | None


@dataclass(frozen=True)
class _Archive:
    """A memory-mapped zip file whose members are stored as they are."""

    buffer: mmap.mmap
    members: Mapping[str, zipfile.ZipInfo]
    prefix: str

    @classmethod
    def open(cls, path: Path) -> _Archive:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise CheckpointError("the file is empty; allowed is a torch zip archive")
                buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CheckpointError(f"cannot be read: {error.strerror or error}") from None
        if buffer[:4] != b"PK\x03\x04":
            kind = "a torch file of the format before 1.6" if buffer[:2] == b"\x80\x02" else "not a zip archive"
            raise CheckpointError(f"{kind}; allowed is a zip archive written by torch.save of 1.6 or later")
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except (OSError, ValueError, OverflowError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
            raise CheckpointError(f"truncated or damaged zip archive ({shown(str(error))})") from None
        members = {info.filename: info for info in infos}
        if len(members) != len(infos):
            raise CheckpointError("two members of one name; allowed is an archive written by torch.save")
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{len(pickles)} members named */data.pkl; allowed is exactly 1")
        opened = cls(buffer, members, pickles[0].removesuffix("data.pkl"))
        if opened.prefix + "constants.pkl" in members:
            raise CheckpointError("a TorchScript archive; allowed is a state dict written by torch.save")
        order = opened.prefix + "byteorder"
        if order in members:
            begin, size = opened.extent(order)
            if buffer[begin : begin + min(size, 16)] != b"little":
                raise CheckpointError("byte order is not little; allowed is little-endian data")
        return opened

    def extent(self, name: str) -> tuple[int, int]:
        """Offset and size of a member's bytes in the file."""
        place = f"member {shown(name)}"
        info = self.members.get(name)
        if info is None:
            raise CheckpointError(f"{place} is missing from the archive")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise CheckpointError(f"{place} is compressed or encrypted; allowed are stored members")
        header = self.buffer[info.header_offset : info.header_offset + 30] if info.header_offset >= 0 else b""
        if len(header) != 30 or header[:4] != b"PK\x03\x04":
            raise CheckpointError(f"{place} has no local header; the archive is damaged")
        # The local lengths differ from the central ones: torch pads here to align the data.
        name_length, extra_length = struct.unpack("<HH", header[26:])
        begin = info.header_offset + 30 + name_length + extra_length
        if info.file_size != info.compress_size or begin + info.file_size > len(self.buffer):
            raise CheckpointError(f"{place} overruns the file ({info.file_size} bytes at {begin})")
        return begin, info.file_size


def _storage(archive: _Archive, identifier: tuple[Any, ...]) -> _Storage:
    match identifier:
        case (str("storage"), Global(value=(dtype,)), str(key), str(), int(count)):
            pass
        case _:
            raise CheckpointError("a persistent id of an unknown form; allowed is a torch storage")
    begin, size = archive.extent(f"{archive.prefix}data/{key}")
    element = _BYTES if dtype is None else dtype
    if count * element.itemsize != size:
        raise CheckpointError(f"storage {shown(key)} has {size} bytes; {count} elements of {element} were announced")
    return _Storage(archive.buffer, begin, size, dtype)


def _sizes(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or any(type(n) is not int or not 0 <= n < 2**62 for n in value):
        raise CheckpointError(f"a tensor with bad {what}; allowed is a tuple of integers that are not negative")
    return value


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: np.dtype[Any]) -> np.ndarray:
    shape, strides = _sizes(size, "size"), _sizes(stride, "stride")
    (start,) = _sizes((offset,), "storage offset")
    if len(shape) != len(strides) or len(shape) > 32:
        raise CheckpointError(f"a tensor of {len(shape)} sizes and {len(strides)} strides; allowed are up to 32")
    count, held = prod(shape), storage.size // dtype.itemsize
    last = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count and last >= held:
        raise CheckpointError(f"a tensor overruns its storage (element {last} of {held})")
    if count > max(held, MAX_REPEATED_ELEMENTS):
        raise CheckpointError(f"a tensor repeats {held} elements to {count}; allowed are {MAX_REPEATED_ELEMENTS}")
    if not count:
        if max(shape, default=0) >= 2**31 or prod(n for n in shape if n) >= 2**31:
            raise CheckpointError("an empty tensor with huge sizes; allowed are sizes below 2**31")
        return _frozen(np.zeros(shape, dtype))
    # A stride is never used along a single element, and may be too big for numpy there.
    steps = tuple(step * dtype.itemsize if n > 1 else 0 for n, step in zip(shape, strides, strict=True))
    return np.ndarray(shape, dtype, storage.buffer, storage.offset + start * dtype.itemsize, steps)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _rebuild_v2(arguments: tuple[Any, ...]) -> np.ndarray:
    match arguments:
        case (_Storage(dtype=np.dtype() as dtype) as storage, offset, size, stride, bool(), {**hooks}) if not hooks:
            return _tensor(storage, offset, size, stride, dtype)
    raise CheckpointError("_rebuild_tensor_v2 with unknown arguments; allowed are storage, offset, size and stride")


def _rebuild_v3(arguments: tuple[Any, ...]) -> np.ndarray:
    match arguments:
        case (
            _Storage(dtype=None) as storage,
            offset,
            size,
            stride,
            bool(),
            {**hooks},
            Global(value=np.dtype() as dtype),
        ) if not hooks:
            return _tensor(storage, offset, size, stride, dtype)
    raise CheckpointError("_rebuild_tensor_v3 with unknown arguments; allowed are storage, offset, size, stride, dtype")


def _rebuild_parameter(arguments: tuple[Any, ...]) -> np.ndarray:
    match arguments:
        case (np.ndarray() as data, bool(), {**hooks}) if not hooks:
            return data
    raise CheckpointError("_rebuild_parameter with unknown arguments; allowed are a tensor and requires_grad")


def _rebuild_size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    if len(arguments) != 1:
        raise CheckpointError("torch.Size with unknown arguments; allowed is one tuple")
    return _sizes(arguments[0], "torch.Size")


def _rebuild_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise CheckpointError("OrderedDict with arguments; allowed is an empty one that is filled afterwards")
    return {}


def _globals() -> dict[str, Global]:
    builders = {
        "torch._utils _rebuild_tensor_v2": _rebuild_v2,
        "torch._utils _rebuild_tensor_v3": _rebuild_v3,
        "torch._utils _rebuild_parameter": _rebuild_parameter,
        "torch Size": _rebuild_size,
        "collections OrderedDict": _rebuild_dict,
    }
    known = [Global(name, build=build) for name, build in builders.items()]
    known += [Global(f"torch {name}Storage", value=(_DTYPES[dtype],)) for name, dtype in STORAGES.items()]
    known += [Global(f"{module} UntypedStorage", value=(None,)) for module in ("torch.storage", "torch")]
    known += [Global(f"torch {name}", value=dtype) for name, dtype in _DTYPES.items()]
    return {item.name: item for item in known}


_GLOBALS = _globals()
