"""The `.pt` writer: our reader and torch itself read back what was written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import run_reference

from swmjax.checkpoints import read_state_dict
from swmjax.checkpoints.torch.writer import write_state_dict

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def tensors() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    found = {f"of.{name}": draw.integers(0, 2, (2, 3)).astype(name) for name in DTYPES}
    return found | {
        "bfloat16": draw.normal(size=(3,)).astype(ml_dtypes.bfloat16),
        "scalar": np.array(7, np.int64),
        "transposed": draw.normal(size=(3, 5)).astype(np.float32).T,
        "strided": draw.normal(size=(8, 4)).astype(np.float32)[::2, 1:],
        "empty": np.zeros((0, 4), np.float32),
        "big endian": np.arange(3, dtype=">f4"),
        "ünï.wéight": np.ones((1, 1, 1, 1), np.float32),
    }


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert (found[name].dtype.name, found[name].shape) == (array.dtype.name, array.shape), name
        np.testing.assert_array_equal(found[name].astype(np.float64), array.astype(np.float64), err_msg=name)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_state_dict(tmp_path / "weights.pt", tensors())
    assert_same(read_state_dict(tmp_path / "weights.pt"), tensors())


def test_members_are_those_of_torch_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    write_state_dict(path, tensors())
    golden = Path(__file__).parents[2] / "golden" / "lewm_mini_hf5" / "weights.pt"
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(golden) as theirs:
        names, expected = ([n for n in z.namelist() if "data/" not in n or "id" in n] for z in (ours, theirs))
        assert names == expected
        data = path.read_bytes()
        for info in ours.infolist():
            begin = info.header_offset + 30 + sum(data[info.header_offset + 26 : info.header_offset + 30 : 2])
            assert data[begin : begin + info.file_size] == ours.read(info)
            assert begin % 64 == 0, info.filename
        assert ours.read("weights/version") == theirs.read("weights/version")
        assert ours.read("weights/byteorder") == b"little"


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_state_dict(tmp_path / name / "weights.pt", tensors())
    assert (tmp_path / "a" / "weights.pt").read_bytes() == (tmp_path / "b" / "weights.pt").read_bytes()


def test_a_dtype_without_a_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tensor 'w' is complex64; allowed are float64, float32"):
        write_state_dict(tmp_path / "w.pt", {"w": np.ones(2, np.complex64)})
    assert not (tmp_path / "w.pt").exists()


def test_an_empty_state_dict(tmp_path: Path) -> None:
    write_state_dict(tmp_path / "w.pt", {})
    assert read_state_dict(tmp_path / "w.pt") == {}


@settings(max_examples=50, deadline=None)
@given(
    arrays=st.dictionaries(
        st.text(max_size=20).filter(lambda name: name.isprintable()),
        hnp.arrays(st.sampled_from((np.float32, np.int64)), hnp.array_shapes(min_dims=0, min_side=0)),
        max_size=4,
    )
)
def test_any_state_dict_comes_back(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pt"
    write_state_dict(path, arrays)
    found = read_state_dict(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.reference
def test_torch_reads_it(tmp_path: Path) -> None:
    write_state_dict(tmp_path / "weights.pt", tensors())
    code = (
        "import sys, numpy as np, torch\n"
        "found = torch.load(sys.argv[1] + '/weights.pt', weights_only=True)\n"
        "mapped = torch.load(sys.argv[1] + '/weights.pt', weights_only=True, mmap=True)\n"
        "assert all(torch.equal(found[k], mapped[k]) for k in found)\n"
        "assert all(v.is_contiguous() for v in found.values())\n"
        "print([(k, str(v.dtype).removeprefix('torch.'), tuple(v.shape)) for k, v in found.items()])\n"
        "np.savez(sys.argv[1] + '/found.npz', **{k: v.double().numpy() for k, v in found.items()})\n"
    )
    wanted = tensors()
    assert run_reference(code, tmp_path).strip() == str(
        [(name, array.dtype.name, array.shape) for name, array in wanted.items()]
    )
    with np.load(tmp_path / "found.npz") as found:
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array.astype(np.float64))
