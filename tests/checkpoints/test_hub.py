"""Downloads: from a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from swmjax.checkpoints import CheckpointError, hub, load_pretrained, resolve_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
COMMIT = "a" * 40

pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """The files of one repository; `cut` ends the next answer early, and all after it at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {name: (GOLDEN / "tdmpc2_state" / name).read_bytes() for name in hub.FILES}
        self.etags = {
            "weights.pt": hashlib.sha256(self.files["weights.pt"]).hexdigest(),
            "config.json": hashlib.sha1(
                f"blob {len(self.files['config.json'])}\0".encode() + self.files["config.json"]
            ).hexdigest(),
        }
        self.cut: int | None = None
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        place, _, name = self.path.split("?")[0].rpartition(
            "/resolve/main/" if "/main/" in self.path else f"/resolve/{COMMIT}/"
        )
        data = self.server.files.get(name) if place == "/user/repo" else None
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if place == "/user/repo" else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        span = self.headers.get("Range")
        if body:
            self.server.asked.append((name, span))
        begin = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("ETag", f'"{self.server.etags[name]}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if body and self.server.cut is not None and name == "weights.pt":
            self.wfile.write(data[begin : begin + self.server.cut])
            self.server.cut = 0
            self.close_connection = True
        elif body:
            self.wfile.write(data[begin:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    point_at(monkeypatch, server.url)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


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
