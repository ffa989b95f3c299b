"""HDF5 files: what they may not hold, damage, parts that a kill left, and the rows that lie in them in many ways."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from data_episodes import dead_process, episode, every_episode_a_group, listed, read, write

from swmjax.data.formats import detect_format, get_format, groups
from swmjax.data.formats.hdf5_reader import HDF5Reader
from swmjax.data.formats.hdf5_writer import HDF5Writer

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")


def stored(path, **columns):
    """A file with two episodes of 30 and 20 rows."""
    path.unlink(missing_ok=True)  # readers may have it open
    with h5py.File(path, "w", libver="latest") as file:
        file["ep_len"], file["ep_offset"] = np.array([30, 20], np.int32), np.array([0, 30])
        for name, data in columns.items():
            file[name] = data
    return path


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        HDF5Reader(path)
    assert "\n" not in str(caught.value)


def test_links_out_of_the_file_are_refused(tmp_path):
    secret = stored(tmp_path / "secret.h5", x=np.arange(50))
    for link in (h5py.ExternalLink("secret.h5", "x"), h5py.SoftLink("/nowhere"), h5py.SoftLink("/y")):
        path = stored(tmp_path / "set.h5", x=np.arange(50))
        with h5py.File(path, "a") as file:
            file["y"] = link
        refused(path, "set.h5: y is a link, which is not followed")
    path = stored(tmp_path / "set.h5", x=np.arange(50))
    with h5py.File(path, "a") as file:
        file["same"] = h5py.SoftLink("/x")
    assert HDF5Reader(path).read(["same"], np.array([7]))["same"].tolist() == [7]
    layout = h5py.VirtualLayout((50,), np.int64)
    layout[:] = h5py.VirtualSource(str(secret), "x", (50,))
    with h5py.File(path, "w") as file:
        file["ep_len"], file["ep_offset"] = [50], [0]
        file.create_virtual_dataset("x", layout)
    refused(path, "the rows of x lie in other files")
    (tmp_path / "raw").write_bytes(bytes(400))
    with h5py.File(path, "w") as file:
        file["ep_len"], file["ep_offset"] = [50], [0]
        file.create_dataset("x", (50,), np.int64, external=[(str(tmp_path / "raw"), 0, 400)])
    refused(path, "the rows of x lie in other files")


@pytest.mark.parametrize(
    "dtype",
    [
        h5py.ref_dtype,
        h5py.regionref_dtype,
        h5py.vlen_dtype(np.int32),
        np.dtype([("a", np.int32)]),
        np.dtype("V4"),
        np.dtype(np.complex64),
    ],
)
def test_what_is_neither_numbers_nor_text_is_refused(tmp_path, dtype):
    path = stored(tmp_path / "set.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("x", (50,), dtype)
    refused(path, "set.h5: x holds .*, which is neither numbers nor text")


def test_what_is_no_dataset_of_episodes(tmp_path):
    path = stored(tmp_path / "set.h5", x=np.arange(49))
    refused(path, "x has 49 rows, and the episodes 50")
    for change, message in (
        (lambda file: file.pop("ep_len"), "has no ep_len, so it is no dataset of episodes"),
        (lambda file: file.create_group("g"), "g is no column of rows"),
        (lambda file: file.create_dataset("one", data=3), "one has no rows"),
        (lambda file: file.create_dataset("texts", (50, 2), h5py.string_dtype()), "texts has several texts a row"),
        (
            lambda file: file["ep_offset"].write_direct(np.array([0, 31])),
            "do not say where episodes follow one another",
        ),
        (lambda file: file["ep_len"].write_direct(np.array([-30, 20], np.int32)), "do not say where episodes"),
    ):
        stored(path, x=np.arange(50))
        with h5py.File(path, "a") as file:
            change(file)
        refused(path, message)
    refused(stored(path), "has no columns")
    path.write_bytes(b"no HDF5 at all")
    refused(path, "set.h5: cannot be read")
    refused(tmp_path / "none.h5", "none.h5: there is no such dataset")


def test_a_folder_holds_one_file(tmp_path):
    refused(tmp_path, "is a file, or a folder that holds one; it holds none")
    assert detect_format(tmp_path) is None
    write("hdf5", tmp_path / "a.h5", [episode(4)])
    assert detect_format(tmp_path) is get_format("hdf5")
    assert read("hdf5", tmp_path)[1] == [4]
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.hdf5")
    refused(tmp_path, "it holds several: a.h5, b.hdf5")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.98])
def test_a_truncated_file_is_one_clear_line(tmp_path, share):
    path = tmp_path / "set.h5"
    write("hdf5", path, [episode(30, i) for i in range(4)])
    os.truncate(path, int(path.stat().st_size * share))
    refused(path, "set.h5: cannot be read")


_RECORDER = """
import sys, os, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest")
books = {"ep_len": np.array([30, 20], np.int32), "ep_offset": np.array([0, 30])}
for name, data in {"x": np.arange(50.0), **books}.items():
    file.create_dataset(name, data=data, maxshape=(None,), chunks=(10,))
file.swmr_mode = True
file["x"].resize(60, axis=0)
file["x"].flush()
os._exit(1)
"""


def test_what_a_recorder_left_that_died(tmp_path):
    path = tmp_path / "set.h5"
    subprocess.run([sys.executable, "-c", _RECORDER, str(path)], check=False)
    assert read("hdf5", path)[0]["x"].tolist() == list(range(50))
    os.truncate(path, path.stat().st_size - 100)
    refused(path, "set.h5: cannot be read")


def test_bytes_that_were_overwritten(tmp_path):
    path = tmp_path / "set.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["ep_len"], file["ep_offset"] = [50], [0]
        file.create_dataset(
            "x", data=np.random.default_rng(0).normal(size=(50, 40)), chunks=(5, 40), compression="gzip"
        )
    with h5py.File(path) as file:
        where = file["x"].id.get_chunk_info(3).byte_offset
    with open(path, "r+b") as file:
        file.seek(where)
        file.write(bytes(range(256)))
    reader = HDF5Reader(path)
    reader.read(["x"], np.arange(15))
    with pytest.raises(ValueError, match="set.h5: row 17 of x cannot be read") as caught:
        reader.read(["x"], np.array([17]))
    assert "\n" not in str(caught.value)


LAYOUTS = {
    "contiguous": {},
    "a row": {"chunks": (1, 6, 5, 3)},
    "rows": {"chunks": (7, 6, 5, 3)},
    "parts of rows": {"chunks": (7, 3, 5, 3)},
    "gzip": {"chunks": (10, 6, 5, 3), "compression": "gzip"},
    "checksum": {"chunks": (1, 6, 5, 3), "fletcher32": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", "?", "<i8"])
def test_rows_lie_in_a_file_in_many_ways(tmp_path, layout, dtype):
    rng, path = np.random.default_rng(0), tmp_path / "set.h5"
    data = rng.integers(0, 2 if dtype == "?" else 200, (50, 6, 5, 3)).astype(dtype)
    with h5py.File(path, "w", libver="latest") as file:
        file["ep_len"], file["ep_offset"] = [50], [0]
        file.create_dataset("x", data=data, **LAYOUTS[layout])
        file.create_dataset("large", data=np.repeat(data, 40, axis=1), chunks=(1, 240, 5, 3))
    reader = HDF5Reader(path)
    for count in (1, 3, 50, 20):
        rows = rng.integers(0, 50, count)
        found = reader.read(["x", "large"], rows)
        assert found["x"].dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found["x"], data[rows])
        np.testing.assert_array_equal(found["large"], np.repeat(data[rows], 40, axis=1))


def test_rows_that_were_never_written_are_what_hdf5_says(tmp_path):
    path = stored(tmp_path / "set.h5")
    with h5py.File(path, "a") as file:
        column = file.create_dataset("x", (50, 2), np.int32, chunks=(1, 2), fillvalue=7)
        column[10] = 3
    assert HDF5Reader(path).read(["x"], np.arange(50))["x"][:, 0].tolist() == [7] * 10 + [3] + [7] * 39


def test_texts_of_older_files(tmp_path):
    words = [f"wörd {i}" for i in range(50)]
    path = stored(tmp_path / "set.h5", word=np.array([word.encode() for word in words]))
    reader = HDF5Reader(path)
    assert reader.read(["word"], np.array([49, 0, 0]))["word"].tolist() == [words[49], words[0], words[0]]
    stored(path, word=np.array([b"\xff\xfe"] * 50))
    with pytest.raises(ValueError, match="set.h5: word between rows 1 and 2 cannot be read, 'utf-8' codec"):
        HDF5Reader(path).read(["word"], np.array([1, 2]))


def test_texts_of_a_fixed_size_are_not_cut(tmp_path):
    path = stored(tmp_path / "set.h5")
    with h5py.File(path, "w", libver="latest") as file:
        for name, data in {"word": np.array([b"ab", b"cd"]), "ep_len": [2], "ep_offset": [0]}.items():
            file.create_dataset(name, data=data, maxshape=(None,), chunks=(1,))
    write("hdf5", path, [{"word": ["x", "ü"]}], "append")
    assert read("hdf5", path)[0]["word"].tolist() == ["ab", "cd", "x", "ü"]
    with pytest.raises(ValueError, match="the texts of word have at most 2 bytes, and one is longer"):
        write("hdf5", path, [{"word": ["x", "üb"]}], "append")
    assert read("hdf5", path)[1] == [2, 2]


def test_a_file_that_the_reference_writes_to_is_appended_to(tmp_path):
    path = stored(tmp_path / "set.h5", x=np.arange(50.0), step_idx=np.r_[:30, :20])
    with h5py.File(path, "r") as file:
        assert list(file.attrs) == []
    # Its datasets cannot grow, which is found out before they are replaced.
    before = path.read_bytes()
    with pytest.raises(ValueError, match="set.h5: step_idx cannot grow"):
        write("hdf5", path, [{"x": np.zeros(2)}], "append")
    assert (path.read_bytes(), listed(tmp_path)) == (before, ["set.h5"])
    path.unlink()
    with h5py.File(path, "w", libver="latest") as file:
        for name, data in {
            "x": np.arange(5.0), "step_idx": np.r_[:3, :2], "ep_len": np.array([3, 2], np.int32), "ep_offset": [0, 3]
        }.items():  # fmt: skip
            file.create_dataset(name, data=data, maxshape=(None,), chunks=(1,))
    write("hdf5", path, [{"x": np.array([7.0, 8.0])}], "append")
    found, lengths = read("hdf5", path)
    assert (lengths, found["x"].tolist()) == ([3, 2, 2], [0, 1, 2, 3, 4, 7, 8])
    assert found["step_idx"].tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert "episode_idx" not in found
    with h5py.File(path) as file:
        assert file["ep_offset"][:].tolist() == [0, 3, 5]


def interrupted(path, count, first=0):
    """Have a process die that has committed some groups behind the file."""
    with every_episode_a_group(), pytest.raises(RuntimeError), HDF5Writer(path, "append") as writer:
        for i in range(count):
            writer.write_episode(episode(3, first + i))
        raise RuntimeError


def parts(path):
    folder = path.with_name(f".{path.name}.parts")
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def test_parts_are_read_and_joined_by_the_next_writer_even_if_it_writes_nothing(tmp_path):
    path = tmp_path / "set.h5"
    interrupted(path, 3)
    assert len(parts(path)) == 2
    with h5py.File(path) as file:
        assert file["ep_len"].shape == (1,)
    assert read("hdf5", path)[1] == [3, 3, 3]
    write("hdf5", path, [], "append")
    assert listed(tmp_path) == ["set.h5"]
    with h5py.File(path) as file:
        assert file["ep_len"][:].tolist() == [3, 3, 3]
        assert file["action"].shape == (9, 3)


def test_parts_are_never_read_twice(tmp_path):
    """A process may die between having joined them and having removed them."""
    path = tmp_path / "set.h5"
    interrupted(path, 3)
    folder = path.with_name(".set.h5.parts")
    shutil.copytree(folder, tmp_path / "copy")
    write("hdf5", path, [], "append")
    shutil.copytree(tmp_path / "copy", folder)
    assert read("hdf5", path)[1] == [3, 3, 3]
    assert get_format("hdf5").writer(path, "append").episodes == 3
    write("hdf5", path, [episode(2)], "overwrite")
    assert (read("hdf5", path)[1], parts(path)) == ([2], [])
    shutil.copytree(tmp_path / "copy", folder)
    assert read("hdf5", path)[1] == [2]
    write("hdf5", path, [episode(4)], "append")
    assert (read("hdf5", path)[1], parts(path)) == ([2, 4], [])


def test_parts_of_a_file_that_another_writer_has_added_to_are_not_guessed_at(tmp_path):
    path = tmp_path / "set.h5"
    interrupted(path, 2)
    with h5py.File(path, "a") as file:  # as the reference would
        for name in file:
            size = {"ep_len": 1, "ep_offset": 1}.get(name, 3)
            file[name].resize(len(file[name]) + size, axis=0)
            file[name][-size:] = {"ep_len": 3, "ep_offset": 3}.get(name, file[name][:3])
    with pytest.raises(ValueError, match="does not follow .*set.h5, to which something else has been added"):
        HDF5Reader(path)
    with pytest.raises(ValueError, match="does not follow .*set.h5, to which something else has been added"):
        HDF5Writer(path, "append")


def test_parts_do_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "MOST", 2)
    path, most = tmp_path / "set.h5", 0
    with every_episode_a_group(), HDF5Writer(path) as writer:
        for i in range(7):
            writer.write_episode(episode(3, i))
            most = max(most, len(parts(path)))
    assert (most, read("hdf5", path)[1]) == (2, [3] * 7)


def test_what_died_processes_left_is_removed(tmp_path):
    path = tmp_path / "set.h5"
    interrupted(path, 2)
    dead = dead_process()
    for left in (tmp_path / f".set.{dead}.h5", tmp_path / ".set.h5.parts" / f".x.{dead}.h5"):
        left.write_bytes(b"half")
    assert read("hdf5", path)[1] == [3, 3]
    write("hdf5", path, [episode(3)], "append")
    assert (listed(tmp_path), read("hdf5", path)[1]) == (["set.h5"], [3, 3, 3])


def test_a_reader_stays_with_what_it_has_opened(tmp_path):
    import pickle

    path = tmp_path / "set.h5"
    interrupted(path, 3)
    reader = HDF5Reader(path)
    kept = pickle.dumps(reader)
    before = reader.read(["action", "pixels"], np.arange(9))
    write("hdf5", path, [episode(8, 5)], "overwrite")
    for name, array in reader.read(["action", "pixels"], np.arange(9)).items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError, match="set.h5: was written to meanwhile; open it again"):
        pickle.loads(kept).read(["action"], np.arange(9))


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "set.h5"
    with pytest.raises(FileExistsError), HDF5Writer(path) as writer:
        writer.write_episode(episode(3))
        write("hdf5", path, [episode(5)])
    assert (read("hdf5", path)[1], listed(tmp_path)) == ([5], ["set.h5"])


def test_a_text_with_a_nul(tmp_path):
    with pytest.raises(ValueError, match="a text of task holds the character NUL, which HDF5 cannot store"):
        write("hdf5", tmp_path / "set.h5", [episode(3) | {"task": np.array(["a\0b"] * 3, object)}])
    assert listed(tmp_path) == []


def test_names_of_files(tmp_path):
    for name in ("set.lance", "set", ".h5"):
        with pytest.raises(ValueError, match="the name of an HDF5 dataset must end in .h5 or .hdf5"):
            HDF5Writer(tmp_path / name)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"HDF5 datasets need h5py, .*: pip install 'swmjax\[formats\]'"):
        HDF5Writer(tmp_path / "set.h5")
