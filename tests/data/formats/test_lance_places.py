"""Images of local Lance datasets are read where they lie, and are those that Lance gives."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from envs_mjx.checks import UserError
from swmjax.data import LanceReader, LanceWriter
from swmjax.data.formats import lance_places
from swmjax.data.formats.lance_places import places_of

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")


def write(path, lengths, mode="append"):
    """Images that take so much room that Lance keeps each by itself; a commit, and so a file, for each of them."""
    rng = np.random.default_rng(sum(lengths))
    for length in lengths:
        with LanceWriter(path, mode) as writer:
            pixels = rng.integers(0, 255, (length, 24, 20, 3), np.uint8)
            writer.write_episode({"pixels": pixels, "action": np.zeros((length, 2))})


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "set.lance", (4, 7, 3))
    return tmp_path / "set.lance"


def check_same(path, rows):
    dataset, rows = lance.dataset(str(path)), np.asarray(rows)
    places = places_of(dataset, str(path), "pixels")
    expected = dataset.take(rows.tolist(), columns=["pixels"]).column("pixels").to_pylist()
    assert [bytes(file) for file in places.rows(rows)] == expected
    assert len(places) == dataset.count_rows()


def test_values_are_those_that_lance_gives(path):
    check_same(path, [13, 0, 4, 4, 3, 11, 12])


@pytest.mark.parametrize("rows_a_page", [3, 200])
def test_values_are_found_in_files_of_many_pages_as_the_reference_writes_them(tmp_path, rows_a_page, monkeypatch):
    monkeypatch.setenv("LANCE_FILE_WRITER_MAX_PAGE_BYTES", str(rows_a_page * 3000))
    rng, count = np.random.default_rng(0), 40
    files = [rng.bytes(int(size)) for size in rng.integers(500, 3000, count)]
    table = pa.table({"pixels": pa.array(files, pa.binary()), "step_idx": pa.array(range(count), pa.int32())})
    lance.write_dataset(table.to_batches(max_chunksize=4), str(tmp_path / "set.lance"), schema=table.schema)
    check_same(tmp_path / "set.lance", rng.permutation(count))


def test_the_reader_decodes_the_same_either_way(path, monkeypatch):
    rows = np.array([5, 13, 5, 0, 9])
    direct = LanceReader(path)
    asked = []
    monkeypatch.setattr(direct, "_take", lambda columns, rows: asked.append(columns))
    found = direct.read(["pixels"], rows)["pixels"]
    assert not asked
    monkeypatch.undo()
    monkeypatch.setattr(lance_places, "_MOST_FILES", 2)
    np.testing.assert_array_equal(LanceReader(path).read(["pixels"], rows)["pixels"], found)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(direct)).read(["pixels"], rows)["pixels"], found)
    with pytest.raises(IndexError, match="has 14 rows, got numbers from 3 to 14"):
        direct.read(["pixels"], np.array([3, 14]))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: lance.dataset(str(path)).delete("step_idx = 0"),
        lambda path: lance.dataset(str(path)).add_columns({"more": "step_idx + 1"}),
        lambda path: lance.dataset(str(path)).merge_insert("step_idx"),
    ],
)
def test_what_else_lance_does_to_a_dataset_does_not_mislead(path, change):
    change(path)
    dataset = lance.dataset(str(path))
    places = places_of(dataset, str(path), "pixels")
    if places is not None:
        check_same(path, range(dataset.count_rows()))


def test_small_missing_and_compressed_values_are_left_to_lance(tmp_path):
    compressed = {"lance-encoding:compression": "zstd"}
    for number, (values, metadata) in enumerate(
        [([b"ab", b"c"], None), ([bytes(5000), None], None), ([bytes(5000)] * 9, compressed)]
    ):
        field = pa.field("pixels", pa.binary(), metadata=metadata)
        table = pa.table([pa.array(values, pa.binary())], schema=pa.schema([field]))
        target = str(tmp_path / f"{number}.lance")
        lance.write_dataset(table, target)
        assert places_of(lance.dataset(target), target, "pixels") is None
    assert places_of(lance.dataset(target), target, "none") is None


def test_a_file_that_changes_behind_the_reader_is_a_damaged_one(path):
    reader = LanceReader(path)
    reader.read(["pixels"], np.arange(3))
    for file in (path / "data").iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(UserError, match=r"set.lance: row \d cannot be read; a file is damaged"):
        reader.read(["pixels"], np.arange(3))
    for file in (path / "data").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read; a file is damaged"):
        reader.read(["pixels"], np.arange(3))
