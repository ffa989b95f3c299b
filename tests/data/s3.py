"""An S3 server on this machine, in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest


@contextlib.contextmanager
def s3_server():
    """Starts moto's server, empty, and ends it.

    Yields:
        Its address.
    """
    pytest.importorskip("moto", reason="needs moto, boto3 and s3fs")
    pytest.importorskip("flask_cors", reason="needs flask and flask-cors, which moto's server runs on")
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'swmjax[remote]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/moto-api/", timeout=5):
                break
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
