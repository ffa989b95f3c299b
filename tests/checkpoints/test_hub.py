"""Downloads: from a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from hub_server import Hub, point_at, serving

from swmjax.checkpoints import CheckpointError, hub, load_pretrained, resolve_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"

pytest.importorskip("huggingface_hub")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {name: (GOLDEN / "tdmpc2_state" / name).read_bytes() for name in hub.FILES}
    with serving(Hub(files, ("weights.pt",)), monkeypatch) as server:
        yield server


def test_a_repository_is_downloaded_once(tmp_path: Path, server: Hub) -> None:
    model = load_pretrained("user/repo", root=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["models--user--repo"]
    assert sorted(entry.name for entry in (tmp_path / "models--user--repo").iterdir()) == ["config.json", "weights.pt"]
    asked = list(server.asked)
    again = load_pretrained("user/repo", root=tmp_path)
    assert server.asked == asked
    wanted = load_pretrained(GOLDEN / "tdmpc2_state")
    for found in (model, again):
        for ours, theirs in zip(*(jax.tree.leaves(nnx.state(m)) for m in (found, wanted)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_interrupted_download_goes_on(tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    server.cut = 10_000
    with pytest.raises(CheckpointError, match="user/repo: cannot be downloaded from http://127.0.0.1"):
        resolve_checkpoint("user/repo", tmp_path)
    assert not (tmp_path / "models--user--repo").exists()
    server.cut = None
    server.asked.clear()
    resolve_checkpoint("user/repo", tmp_path)
    spans = dict(server.asked)
    assert spans["weights.pt"] is not None
    assert int(spans["weights.pt"].removeprefix("bytes=").split("-")[0]) >= 10_000
    weights = tmp_path / "models--user--repo" / "weights.pt"
    assert weights.read_bytes() == server.files["weights.pt"]


@pytest.mark.parametrize("name", hub.FILES)
def test_a_damaged_download_is_noticed(tmp_path: Path, server: Hub, name: str) -> None:
    data = bytearray(server.files[name])
    data[len(data) // 2] ^= 1
    good, server.files[name] = server.files[name], bytes(data)
    with pytest.raises(CheckpointError, match=f"user/repo/{name}: was damaged on the way, it has the checksum"):
        resolve_checkpoint("user/repo", tmp_path)
    assert not (tmp_path / "models--user--repo").exists()
    server.files[name] = good
    resolve_checkpoint("user/repo", tmp_path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("user/other", "user/other: http.* has no such public repository; there is no folder"),
        ("user/re..po", "is neither a checkpoint on this machine nor the name of a repository"),
    ],
)
def test_what_the_hub_does_not_have(tmp_path: Path, server: Hub, name: str, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        resolve_checkpoint(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_repository_without_weights(tmp_path: Path, server: Hub) -> None:
    del server.files["weights.pt"]
    with pytest.raises(CheckpointError, match="the repository has no weights.pt; allowed is one with weights.pt and"):
        resolve_checkpoint("user/repo", tmp_path)


def test_no_network_is_told_without_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, "http://127.0.0.1:9")
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(CheckpointError, match=r"cannot be downloaded from http://127.0.0.1:9: ") as caught:
        resolve_checkpoint("user/repo", tmp_path)
    assert sum(waits) < 5
    assert "\n" not in str(caught.value)


def test_a_half_downloaded_folder_of_the_reference_is_completed(tmp_path: Path, server: Hub) -> None:
    (tmp_path / "models--user--repo").mkdir()
    (tmp_path / "models--user--repo" / "config.json").write_text("{")
    load_pretrained("user/repo", root=tmp_path)


def test_without_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from swmjax.checkpoints.names import resolve_checkpoint\n"
        "from pathlib import Path\n"
        f"resolve_checkpoint('user/repo', Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "user/repo: is not on this machine, and downloading needs the extra 'hub': pip install 'swmjax[hub]'" in last
