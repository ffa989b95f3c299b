"""Names of datasets: on this machine, and from a server on it that speaks the hub's protocol."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, digest, point_at, serving

from envs_mjx.checks import UserError
from swmjax.data import LanceWriter
from swmjax.data.downloads import LIST
from swmjax.data.load import load_dataset
from swmjax.data.names import datasets_root, find_dataset, get_cache_dir, resolve_dataset
from swmjax.runs.files import holding

pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
pytest.importorskip("huggingface_hub")


def write(path: Path, length: int = 6, **values: float) -> Path:
    with LanceWriter(path) as writer:
        columns = {"action": np.arange(2.0 * length).reshape(length, 2), "_episode_data": values}
        writer.write_episode(columns if values else {"action": columns["action"]})
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(get_cache_dir(tmp_path, "work"))
    return tmp_path / "home"


def test_names_start_from_the_folder_of_datasets_and_then_from_the_working_directory(home: Path) -> None:
    ours, here = write(home / "datasets" / "set.lance", 3), write(Path("set.lance").absolute(), 4)
    only = write(Path("data/only.lance").absolute(), 5)
    (home / "datasets" / "only").mkdir()
    assert resolve_dataset("set.lance") == resolve_dataset("set") == ours
    assert Path(resolve_dataset("data/only.lance")).absolute() == Path(resolve_dataset("data/only")).absolute() == only
    assert Path(resolve_dataset("./set.lance")).absolute() in (ours, here)
    assert resolve_dataset(here) == here
    assert resolve_dataset("s3://bucket/set.lance") == "s3://bucket/set.lance"
    assert load_dataset("set", num_steps=2).lengths.tolist() == [3]
    assert load_dataset("data/only.lance", frameskip=2).lengths.tolist() == [5]
    elsewhere = home / "elsewhere"
    write(elsewhere / "datasets" / "set.lance", 7)
    assert load_dataset("set.lance", cache_dir=elsewhere, keys_to_load=["action"]).lengths.tolist() == [7]
    assert load_dataset(home / "datasets", format="lance", table_name="set").lengths.tolist() == [3]


def test_what_there_is_not_is_told(home: Path) -> None:
    write(home / "datasets" / "pusht.lance")
    with pytest.raises(
        UserError, match=r"push: is no dataset; there is no .*datasets/push, .*; did you mean pusht.lance"
    ):
        load_dataset("push")
    with pytest.raises(UserError, match="the name of a dataset is empty"):
        find_dataset(" ")
    with pytest.raises(UserError, match="nor user/repo in the working directory"):
        resolve_dataset("./user/repo")
    (home / "datasets" / "notes").mkdir()
    with pytest.raises(UserError, match="notes: is a dataset of none of the formats lance"):
        load_dataset("notes")
    with pytest.raises(UserError, match="format must be one of lance"):
        load_dataset("pusht", format="parquet")
    with pytest.raises(UserError, match="ftp://host/set: is a dataset of none of the formats"):
        load_dataset("ftp://host/set")
    with pytest.raises(UserError, match="the format lance knows no option 'table'"):
        load_dataset("pusht", table="x")


def test_the_folder_of_datasets(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert datasets_root() == home / "datasets"
    assert not datasets_root().exists()
    assert get_cache_dir(sub_folder="datasets") == home / "datasets"
    assert datasets_root().is_dir()
    assert get_cache_dir(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("STABLEWM_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_cache_dir() == tmp_path / ".stable_worldmodel"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("repository")
    write(folder / "set.lance", mass=1.5)
    write(folder / "zz.lance")
    (folder / "README.md").write_text("a dataset")
    (folder / "more.h5").write_bytes(b"more")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def large(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.startswith("set.lance/data/"))


@pytest.fixture
def server(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    with serving(Hub(files, (large(files),), "datasets/"), monkeypatch) as server:
        yield server


def test_a_repository_is_downloaded_once_with_what_belongs_to_its_dataset(server: Hub, home: Path) -> None:
    windows = load_dataset("user/repo", num_steps=2)
    assert windows.get_episode_data() == {"mass": [1.5]}
    folder = home / "datasets" / "user--repo"
    assert sorted(entry.name for entry in folder.iterdir()) == [LIST, "set.lance", "set_episodes.lance"]
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    server.asked.clear()
    assert load_dataset("user/repo").lengths.tolist() == [6]
    assert server.asked == []


def test_an_interrupted_download_goes_on(server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    server.cut = 300
    with pytest.raises(UserError, match="user/repo: cannot be downloaded from http://127.0.0.1"):
        load_dataset("user/repo")
    assert not (home / "datasets" / "user--repo").exists()
    server.cut = None
    before = {name for name, _ in server.asked}
    server.asked.clear()
    load_dataset("user/repo")
    spans = dict(server.asked)
    (name,) = server.large
    assert spans[name] is not None
    assert int(spans[name].removeprefix("bytes=").split("-")[0]) >= 300
    assert before & set(spans) == {name}


def test_a_damaged_download_is_noticed(server: Hub, home: Path) -> None:
    (name,) = server.large
    good = server.files[name]
    server.files[name] = bytes(good[:-1]) + bytes([good[-1] ^ 1])
    with pytest.raises(UserError, match=f"user/repo/{name}: was damaged on the way, it has the checksum"):
        load_dataset("user/repo")
    assert not (home / "datasets" / "user--repo").exists()
    server.files[name] = good
    load_dataset("user/repo")


def test_a_folder_that_the_reference_did_not_finish_is_completed(server: Hub, home: Path) -> None:
    (name,) = server.large
    folder = home / "datasets" / "user--repo"
    for file in (name, next(file for file in server.files if "set.lance/_versions/" in file)):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(server.files[file])
    (folder / name).write_bytes(server.files[name][:50])
    assert load_dataset("user/repo").lengths.tolist() == [6]
    assert (folder / name).read_bytes() == server.files[name]
    (folder / name).unlink()
    server.asked.clear()
    load_dataset("user/repo")
    assert server.asked == [(name, None)]


def test_without_the_hub_what_is_there_is_used_as_it_is(
    server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_dataset("user/repo")
    (home / "datasets" / "user--repo" / LIST).unlink()
    point_at(monkeypatch, "http://127.0.0.1:9")
    with pytest.warns(UserWarning, match="user--repo: is not checked for completeness, since user/repo: cannot be"):
        assert load_dataset("user/repo").lengths.tolist() == [6]


def test_what_the_hub_does_not_have(server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match="user/other: http.* has no such public repository; there is no .*nor user/other"
    ):
        load_dataset("user/other")
    server.files = {"README.md": b"", "set.h5.zst": b""}
    with pytest.raises(UserError, match=r"holds no dataset; allowed is .*, it has README.md, set.h5.zst"):
        load_dataset("user/repo")
    server.files = {"../set.lance/x": b"", "set.lance/y": b""}
    with pytest.raises(UserError, match="a file that would lie elsewhere, '../set.lance/x'"):
        load_dataset("user/repo")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"needs the extra 'hub': pip install 'swmjax\[hub\]'; there is no"):
        load_dataset("user/repo")


def test_a_file_is_a_dataset_too_and_one_process_downloads_it(server: Hub, home: Path) -> None:
    server.files = {"b.h5": b"b", "a.hdf5": b"a", "x/c.h5": b"c"}
    server.etags = {name: digest(data, large=False) for name, data in server.files.items()}
    part = get_cache_dir(sub_folder="datasets") / ".user--repo.part"
    part.mkdir()
    with holding(part), pytest.raises(UserError, match="another process is writing to it"):
        resolve_dataset("user/repo")
    folder = Path(resolve_dataset("user/repo"))
    assert sorted(os.listdir(folder)) == [LIST, "a.hdf5"]


def test_naming_a_dataset_imports_no_hub(home: Path) -> None:
    path = write(home / "datasets" / "set.lance")
    program = (
        "import sys; from swmjax.data.load import load_dataset\n"
        f"load_dataset({str(path)!r})\n"
        "print([name for name in ('jax', 'huggingface_hub', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
