"""A server on this machine that speaks the protocol of the Hugging Face hub, for one repository."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """The files of one repository; `cut` ends the next answer early, and all after it at once.

    Args:
        files: By name; those in `large` have the digest of large files.
        prefix: What stands before the name of the repository in addresses: nothing, or `datasets/`.
    """

    def __init__(self, files: Mapping[str, bytes], large: tuple[str, ...], prefix: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.large, self.prefix = large, prefix
        self.etags = {name: digest(data, name in large) for name, data in files.items()}
        self.cut: int | None = None
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tree(self) -> list[dict]:
        """The listing of all files, as the hub gives it."""
        return [
            {"type": "file", "path": name, "size": len(data), "oid": digest(data, large=False)}
            | ({"lfs": {"oid": self.etags[name], "size": len(data), "pointerSize": 1}} if name in self.large else {})
            for name, data in self.files.items()
        ]


def digest(data: bytes, large: bool) -> str:
    return (
        hashlib.sha256(data).hexdigest() if large else hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    )


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(self.path.split("?")[0])
        if path.startswith("/api/"):
            self.list(path)
            return
        place, _, name = path.rpartition("/resolve/main/" if "/main/" in path else f"/resolve/{COMMIT}/")
        here = place == f"/{self.server.prefix}user/repo"
        data = self.server.files.get(name) if here else None
        if data is None:
            self.refuse("EntryNotFound" if here else "RepoNotFound")
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
        if body and self.server.cut is not None and name in self.server.large:
            self.wfile.write(data[begin : begin + self.server.cut])
            self.server.cut = 0
            self.close_connection = True
        elif body:
            self.wfile.write(data[begin:])

    def list(self, path: str) -> None:
        kind = "datasets" if self.server.prefix else "models"
        if not path.startswith(f"/api/{kind}/user/repo"):
            self.refuse("RepoNotFound")
            return
        about = {"id": "user/repo", "sha": COMMIT}
        listing = json.dumps(self.server.tree() if "/tree/main" in path else about).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(listing)))
        self.end_headers()
        self.wfile.write(listing)

    def refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub is this server meanwhile."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    point_at(monkeypatch, server.url)
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
