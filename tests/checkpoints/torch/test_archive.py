"""The `.pt` reader: every tensor torch writes, and nothing else."""

from __future__ import annotations

import argparse
import collections
import functools
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch import archive
from swmjax.checkpoints.torch.archive import read_state_dict

GOLDEN = Path(__file__).parents[2] / "golden"
ARCHIVES = GOLDEN / "torch_archives"
GOOD = ("dtypes", "views", "module", "parameters")


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    kind: str = "torch\nFloatStorage",
    key: str = "0",
    count: int = 6,
    offset: int = 0,
    size: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
) -> bytes:
    storage = b"(" + text("storage") + f"c{kind}\n".encode() + text(key) + text("cpu") + integer(count) + b"tQ"
    empty = b"ccollections\nOrderedDict\n)R"
    rest = integer(offset) + integers(size) + integers(stride) + b"\x89" + empty
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def state(body: bytes) -> bytes:
    return b"\x80\x02}" + text("w") + body + b"s."


def write(
    path: Path, pickled: bytes, *, compression: int = zipfile.ZIP_STORED, zip64: bool = False, **members: bytes
) -> Path:
    members = {"data/0": np.arange(6, dtype="<f4").tobytes(), "byteorder": b"little"} | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {"data.pkl": pickled, **members}.items():
            with archive.open(f"x/{name}", "w", force_zip64=zip64) as file:
                file.write(data)
    return path


@pytest.mark.parametrize("name", GOOD)
def test_values_are_those_torch_saved(name: str) -> None:
    found = read_state_dict(ARCHIVES / f"{name}.pt")
    with np.load(ARCHIVES / f"{name}.npz") as expected:
        assert list(found) == list(expected)
        for key, value in expected.items():
            array = found[key]
            if array.dtype.name == "bfloat16":
                array = array.astype(np.float32)
            assert (array.dtype, array.shape) == (value.dtype, value.shape), key
            np.testing.assert_array_equal(array, value, err_msg=key)


def test_dtypes_keep_their_names() -> None:
    assert all(array.dtype.name == name for name, array in read_state_dict(ARCHIVES / "dtypes.pt").items())


def test_tensors_of_one_storage_share_read_only_memory() -> None:
    views = read_state_dict(ARCHIVES / "views.pt")
    for name in ("same_storage", "offset", "transposed", "every_other", "overlapping", "scalar_of_base"):
        assert np.shares_memory(views["base"], views[name]), name
    assert views["transposed"].strides == (4, 24)
    assert not any(array.flags.writeable for array in views.values())


def test_entry_of_a_training_checkpoint() -> None:
    path = ARCHIVES / "lightning.bad.pt"
    for key in ("state_dict", None):
        assert list(read_state_dict(path, key=key)) == list(read_state_dict(ARCHIVES / "module.pt"))
    with pytest.raises(CheckpointError, match="no entry 'model' at the top level"):
        read_state_dict(path, key="model")


def test_what_a_training_checkpoint_has_beside_the_state_dict(tmp_path: Path) -> None:
    top = {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": argparse.Namespace(rate=1e-3, folder=Path("runs"), sizes={1, 2}),
        "callbacks": {"ModelCheckpoint": collections.defaultdict(dict, best=np.float64(0.5))},
        "loops": [collections.Counter("ab"), functools.partial(dict, a=1), (True, None)],
    }
    pickled = pickle.dumps(top, protocol=2)
    assert pickled.endswith(b"u.")
    path = write(tmp_path / "last.ckpt", pickled[:-2] + text("state_dict") + b"}" + text("w") + tensor() + b"su.")
    assert list(read_state_dict(path)) == ["w"]
    hostile = pickle.dumps(top | {"hook": os.system}, protocol=2)
    path = write(tmp_path / "bad.ckpt", hostile[:-2] + text("state_dict") + b"}" + text("w") + tensor() + b"su.")
    with pytest.raises(CheckpointError, match="global 'posix system' is not allowed"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("command", "global 'posix system' is not allowed"),
        ("module_object", "global 'torch.nn.modules.linear Linear' is not allowed"),
        ("complex", "global 'torch ComplexFloatStorage' is not allowed"),
        ("legacy", "format before 1.6; allowed is a zip archive"),
        ("list", "the top level is a list; allowed is a dict"),
        ("protocol4", "protocol 4; allowed is 2"),
        ("torchscript", "a TorchScript archive"),
    ],
)
def test_anything_else_is_refused_in_one_line(name: str, problem: str) -> None:
    path = ARCHIVES / f"{name}.bad.pt"
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_nothing_is_executed_or_imported(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    path = write(tmp_path / "w.pt", pickle.dumps({"w": Payload()}, protocol=2))
    with pytest.raises(CheckpointError, match="mkdir' is not allowed"):
        read_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (tensor(offset=1), "overruns its storage .element 6 of 6"),
        (tensor(stride=(2**61, 1)), "overruns its storage"),
        (tensor(stride=(-3, 1)), "bad stride"),
        (tensor(size=(-2, 3)), "bad size"),
        (tensor(offset=-1), "bad storage offset"),
        (tensor(size=(2, 3), stride=(3,)), "2 sizes and 1 strides"),
        (tensor(size=(1,) * 40, stride=(1,) * 40), "40 sizes"),
        (tensor(size=(2**40,), stride=(0,)), "repeats 6 elements"),
        (tensor(size=(0, 2**60), stride=(1, 1)), "huge sizes"),
        (tensor(count=7), "24 bytes; 7 elements of float32 were announced"),
        (tensor(count=-6), "24 bytes; -6 elements"),
        (tensor(kind="torch\nDoubleStorage"), "24 bytes; 6 elements of float64"),
        (tensor(kind="torch.storage\nUntypedStorage", count=24), "_rebuild_tensor_v2 with unknown arguments"),
        (tensor(kind="torch\nSize"), "persistent id of an unknown form"),
        (tensor(kind="builtins\neval"), "global 'builtins eval' is not allowed"),
        (tensor(key="1"), "member 'x/data/1' is missing"),
        (tensor(key="../../data/0"), "is missing"),
        (b"cos\nsystem\n" + text("ls") + b"\x85R", "global 'os system' is not allowed"),
        (b"ctorch\nFloatStorage\n)R", "a call of 'torch FloatStorage'"),
        (text("f") + b")R", "a call of 'str'"),
        (b"ccollections\nOrderedDict\n(tR}" + text("x") + integer(1) + b"sb", "attributes set on an object"),
        (b"ccollections\nOrderedDict\n" + text("x") + b"\x85R", "OrderedDict with arguments"),
        (b"\x82", "opcode 0x82 is not allowed"),
        (b"\x81", "an object of a dict"),
        (b"cpathlib\nPosixPath\n)R", "global 'pathlib PosixPath' is not allowed"),
        (b"cbuiltins\nset\n)\x81}b", "global 'builtins set' is not allowed"),
        (b"cbuiltins\ngetattr\n)\x81", "global 'builtins getattr' is not allowed"),
        (b"ccollections\nOrderedDict\n(ctorch.nn\nLinear\ntR", "global 'torch.nn Linear' is not allowed"),
        (b"\x8e" + struct.pack("<Q", 2**40), "opcode 0x8e is not allowed"),
        (b"X" + struct.pack("<I", 2**32 - 1), "the pickle ends early"),
        (b"j" + struct.pack("<I", 12), "memo entry 12 was never stored"),
        (b"(" * 200_000, "more than 100000 values"),
        (b"s", "the stack is empty|items set on"),
        (b"]e", "no mark"),
        (b"]" + integer(1) + b"(\x85", "stack is empty"),
        (b"c" + b"a" * 400, "a name without an end"),
        (b"}}Ns", "a dict key of type dict"),
        (b"", "stack"),
        (integer(3), "the top level holds a int under 'w'"),
    ],
)
def test_hostile_pickles_are_refused(tmp_path: Path, body: bytes, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_state_dict(write(tmp_path / "w.pt", state(body)))
    assert "\n" not in str(caught.value)


def test_a_dict_that_holds_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a dict under 'w'"):
        read_state_dict(write(tmp_path / "w.pt", b"\x80\x02}q\x00" + text("w") + b"h\x00s."))


@pytest.mark.parametrize("zip64", [False, True])
def test_hand_made_archive(tmp_path: Path, zip64: bool) -> None:
    found = read_state_dict(write(tmp_path / "w.pt", state(tensor()), zip64=zip64))
    np.testing.assert_array_equal(found["w"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_strides_of_single_elements_do_not_matter(tmp_path: Path) -> None:
    found = read_state_dict(write(tmp_path / "w.pt", state(tensor(size=(1, 6), stride=(2**61, 1)))))
    assert found["w"].shape == (1, 6)


def test_archives_of_another_make_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(CheckpointError, match="No such file"):
        read_state_dict(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state_dict(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="the file is empty"):
        read_state_dict(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="not a zip archive"):
        read_state_dict(path)
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        read_state_dict(write(path, state(tensor()), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="byte order is not little"):
        read_state_dict(write(path, state(tensor()), byteorder=b"big"))
    with zipfile.ZipFile(path, "w") as archive:
        for folder in "ab":
            archive.writestr(f"{folder}/data.pkl", state(tensor()))
    with pytest.raises(CheckpointError, match="2 members named"):
        read_state_dict(path)


def test_a_huge_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(CheckpointError, match="allowed are up to 100"):
        read_state_dict(write(tmp_path / "w.pt", state(tensor())))


def read_damaged(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        found = read_state_dict(path)
    except CheckpointError:
        return
    assert all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in found.items())


@pytest.mark.parametrize("name", GOOD)
def test_truncation_is_refused(tmp_path: Path, name: str) -> None:
    data = (ARCHIVES / f"{name}.pt").read_bytes()
    path = tmp_path / "w.pt"
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_state_dict(path)


@pytest.mark.parametrize("name", GOOD)
def test_flipped_bytes_never_do_worse_than_an_error(tmp_path: Path, name: str) -> None:
    data = (ARCHIVES / f"{name}.pt").read_bytes()
    draw = random.Random(name)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 8))):
            damaged[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        read_damaged(tmp_path / "w.pt", bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(codes=st.lists(st.sampled_from(b"(NKJGX)t]ae}sucQRbqrhj.\x80\x85\x86\x87\x88\x89\x8a\x02\x00\xff\n")))
def test_random_programs_never_do_worse_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, codes: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.pt"
    write(path, b"\x80\x02" + bytes(codes) + b".")
    read_damaged(path, path.read_bytes())


def test_golden_checkpoint_is_read_without_copies() -> None:
    found = read_state_dict(GOLDEN / "lewm_mini_hf4" / "weights.pt")
    assert len(found) == 91
    assert all(not array.flags.owndata for array in found.values())
