"""Names of checkpoints: the reference's rules, and one clear line when they fail."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.names import checkpoints_root, list_checkpoints, read_config, resolve_checkpoint


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path))
    folder = tmp_path / "checkpoints"
    make(folder, "lewm-pusht", "weights.pt")
    make(folder, "lewm", "weights_epoch_1.pt", "weights_epoch_2.pt")
    make(folder, "group/run", "weights.pt")
    make(folder, "models--user--repo", "weights.pt")
    make(folder, "empty")
    make(folder, "bare", "weights.pt")
    (folder / "bare" / "config.json").unlink()
    (folder / "lewm_object.ckpt").write_bytes(b"")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def make(root: Path, name: str, *files: str) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for i, file in enumerate(files):
        (folder / file).write_bytes(b"x" * (i + 1))
        os.utime(folder / file, (1000 - i, 1000 - i))


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STABLEWM_HOME", "~/elsewhere")
    assert checkpoints_root() == Path.home() / "elsewhere" / "checkpoints"
    monkeypatch.setenv("STABLEWM_HOME", "")
    assert checkpoints_root() == Path.home() / ".stable_worldmodel" / "checkpoints"


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("lewm-pusht", "lewm-pusht/weights.pt"),
        ("lewm-pusht/", "lewm-pusht/weights.pt"),
        ("lewm/weights_epoch_2.pt", "lewm/weights_epoch_2.pt"),
        ("group/run", "group/run/weights.pt"),
        ("user/repo", "models--user--repo/weights.pt"),
    ],
)
def test_names_below_the_root(root: Path, name: str, weights: str) -> None:
    files = resolve_checkpoint(name)
    assert files.weights == root / weights
    assert files.config == (root / weights).parent / "config.json"


def test_paths_taken_as_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.chdir(root / "group")
    for name in (str(root / "lewm-pusht"), root / "lewm-pusht", "../lewm-pusht", "~/lewm-pusht"):
        assert resolve_checkpoint(name).weights.samefile(root / "lewm-pusht" / "weights.pt")
    assert resolve_checkpoint("./run").weights == Path("run/weights.pt")


def test_a_folder_here_is_not_taken_without_a_dot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "group")
    with pytest.raises(CheckpointError, match=r"no such folder.*; to take the one in the current folder, write ./run"):
        resolve_checkpoint("run")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("lewm-pusth", "lewm-pusth: no such folder; did you mean lewm-pusht or lewm"),
        ("lewm", r"2 .pt files in it \(weights_epoch_1.pt, weights_epoch_2.pt\); name the one to load"),
        ("lewm/weights_epoch_3.pt", "no such file; did you mean weights_epoch_[12].pt or"),
        ("bare", r"bare/config.json: no such file; weights.pt needs a config.json beside it"),
        ("bare/weights.pt", "config.json: no such file"),
        ("empty", "no .pt file in it; allowed is exactly one"),
        ("bare/weights", "HF_HUB_OFFLINE forbids to download it; there is no folder .*; did you mean weights.pt"),
        ("quentinll/lewm-pusht", "quentinll/lewm-pusht: is not on this machine, and HF_HUB_OFFLINE forbids"),
        ("lewm_object.ckpt", "is a pickled object of an older release, .* save its state_dict"),
        ("lewm.ckpt", "no such file"),
        ("a/b/c", "no such folder .nor its folder"),
        ("./nowhere", "nowhere: no such folder"),
        ("lewm/config.json", "HF_HUB_OFFLINE forbids"),
        (" ", "the checkpoint name is empty"),
    ],
)
def test_what_is_missing_is_said_in_one_line(root: Path, name: str, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        resolve_checkpoint(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "is not JSON: .*line 1 column 2"),
        (b"1" * 5000, "is not JSON"),
        (b"[1]", "holds a list; allowed is a JSON object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply|is not JSON"),
    ],
)
def test_bad_config(tmp_path: Path, text: bytes, problem: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match=problem):
        read_config(path)
    with pytest.raises(CheckpointError, match="No such file"):
        read_config(tmp_path / "other.json")


def test_listing(root: Path, tmp_path: Path) -> None:
    (root / "alone.pt").write_bytes(b"123")
    rows = list_checkpoints()
    assert [(row.run, row.file) for row in rows] == [
        ("", "alone.pt"),
        ("bare", "weights.pt"),
        ("lewm", "weights_epoch_2.pt"),
        ("lewm", "weights_epoch_1.pt"),
        ("lewm-pusht", "weights.pt"),
        ("models--user--repo", "weights.pt"),
    ]
    assert (rows[2].size, rows[2].modified) == (2, datetime.fromtimestamp(999, tz=UTC))
    assert [row.file for row in list_checkpoints("epoch_[12]$")] == ["weights_epoch_2.pt", "weights_epoch_1.pt"]
    assert {row.run for row in list_checkpoints("^lewm-")} == {"lewm-pusht"}
    assert list_checkpoints("pt$") == []
    (root / "native" / "arrays-1" / "d").mkdir(parents=True)
    (root / "native" / "arrays-1" / "d" / "0").write_bytes(b"12345")
    (root / "native" / "config.json").write_text("{}")
    (row,) = list_checkpoints("native")
    assert (row.run, row.file, row.size) == ("native", "config.json", 7)
    assert list_checkpoints(root=tmp_path / "nowhere") == []


def test_a_bad_pattern_is_a_value_error(root: Path) -> None:
    with pytest.raises(ValueError, match=r"'\[a' is not a regular expression: unterminated"):
        list_checkpoints("[a")
