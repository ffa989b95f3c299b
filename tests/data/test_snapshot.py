"""Decoded snapshots: the same images, whole or not there, and never those of another state of the dataset."""

import json
import pickle
import random
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from data_arrays import arrays

from envs_mjx.checks import UserError
from swmjax.data import Windows, snapshot, threads
from swmjax.data.snapshot import Snapshot, decoded


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """A part of seven images."""
    monkeypatch.setattr(snapshot, "_PART", 7 * 5 * 4 * 3)
    monkeypatch.setattr(threads, "_COPY", 2 * 5 * 4 * 3)


def check_same(found, reader):
    rows = np.random.default_rng(0).integers(0, reader.rows, 40)
    for columns in (["pixels"], ["action", "pixels", "text"], ["reward"]):
        read = found.read(columns, rows)
        assert list(read) == columns
        for name, array in read.items():
            assert array.dtype == reader.arrays[name].dtype
            np.testing.assert_array_equal(array, reader.arrays[name][rows])


def test_it_is_made_once_and_reads_as_the_dataset_does(tmp_path):
    reader, told = arrays((12, 30, 9), episode_values={"task": [1, 2, 3]}), []
    made = decoded(reader, tmp_path / "snapshot", progress=told.append)
    assert told == [*range(7, 51, 7), 51]
    check_same(made, reader)
    reader.asked.clear()
    again = decoded(reader, tmp_path / "snapshot", progress=told.append)
    assert len(told) == 8
    for found in (again, pickle.loads(pickle.dumps(again))):
        check_same(found, reader)
    assert not any("pixels" in columns for columns, _ in reader.asked)
    assert again.episode_data([2]) == {"task": [3]}
    windows, expected = Windows(again, 2, 3), Windows(reader, 2, 3)
    np.testing.assert_array_equal(windows.batch([0, 9, 0])["pixels"], expected.batch([0, 9, 0])["pixels"])
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def test_an_interrupted_one_goes_on(tmp_path):
    reader = arrays((12, 30, 9))

    def stop(rows):
        if rows >= 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(reader, tmp_path / "snapshot", progress=stop)
    assert not (tmp_path / "snapshot").exists()
    with (tmp_path / ".snapshot.making" / "0.bin").open("ab") as file:
        file.write(b"half a part")
    reader.asked.clear()
    check_same(decoded(reader, tmp_path / "snapshot"), reader)
    assert reader.asked[0] == (["pixels"], [*range(21, 28)])


def test_that_of_an_earlier_state_is_made_anew_and_never_read(tmp_path):
    before, after = arrays((12, 9)), arrays((12, 9), seed=1)
    after.fingerprint = lambda: "later"
    decoded(before, tmp_path / "snapshot")
    with pytest.raises(UserError, match="snapshot: is a snapshot of arrays in another state; make it anew"):
        Snapshot(after, tmp_path / "snapshot")
    check_same(decoded(after, tmp_path / "snapshot"), after)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


@pytest.mark.parametrize("damage", ["byte", "short", "missing", "digests"])
def test_a_damaged_one_is_refused(tmp_path, damage):
    reader, folder = arrays((12, 30)), tmp_path / "snapshot"
    decoded(reader, folder)
    file = folder / "0.bin"
    content = bytearray(file.read_bytes())
    if damage == "byte":
        content[1000] ^= 1
        file.write_bytes(content)
    elif damage == "short":
        file.write_bytes(content[:-1])
    elif damage == "missing":
        file.unlink()
    else:
        about = json.loads((folder / "snapshot.json").read_text())
        about["digests"]["pixels"].pop()
        (folder / "snapshot.json").write_text(json.dumps(about))
        (folder / "checked.json").unlink()
    with pytest.raises(UserError, match=r"damaged; delete .*snapshot to have the snapshot made anew"):
        decoded(reader, folder)


def test_what_cannot_be_made_is_refused(tmp_path, monkeypatch):
    reader = arrays((12, 30))
    for columns in (["reward"], ["none"]):
        with pytest.raises(UserError, match="column of images of arrays"):
            decoded(reader, tmp_path / "snapshot", columns)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"the images of arrays take 0.0 GB decoded, and 0.0 GB are free there"):
        decoded(reader, tmp_path / "snapshot")
    monkeypatch.undo()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="other: holds something else than a snapshot"):
        decoded(reader, tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").read_text() == "kept"


def test_a_disk_that_fills_meanwhile_is_said_and_what_is_done_is_kept(tmp_path, monkeypatch):
    reader, saved = arrays((12, 30)), snapshot._save

    def full(path, about):
        if len(about["digests"]["pixels"]) == 3:
            raise OSError(28, "No space left on device", str(path))
        saved(path, about)

    monkeypatch.setattr(snapshot, "_save", full)
    with pytest.raises(OSError, match="No space left on device"):
        decoded(reader, tmp_path / "snapshot")
    monkeypatch.setattr(snapshot, "_save", saved)
    reader.asked.clear()
    check_same(decoded(reader, tmp_path / "snapshot"), reader)
    assert reader.asked[0][1][0] == 14


_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from data_arrays import arrays
from swmjax.data import snapshot
snapshot._PART = 7 * 5 * 4 * 3
snapshot.decoded(arrays((120, 300)), {folder!r}, progress=lambda rows: print(rows, flush=True))
"""


@pytest.mark.slow
def test_no_kill_leaves_a_half_one(tmp_path):
    """At random moments, until it is made; what is done is not done again."""
    random.seed(0)
    reader, folder, before = arrays((120, 300)), tmp_path / "snapshot", 0
    program = textwrap.dedent(_PROGRAM).format(tests=str(Path(__file__).parents[1]), folder=str(folder))
    for trial in range(30):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        lines = []
        for line in process.stdout:
            lines.append(int(line))
            if len(lines) > trial % 5:
                time.sleep(random.random() * 0.01)
                process.kill()
                break
        process.wait()
        process.stdout.close()
        if lines:
            assert lines[0] > before
            before = lines[0]
        if folder.exists():
            break
    check_same(Snapshot(reader, folder), reader)
