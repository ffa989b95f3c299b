"""Download a checkpoint from the Hugging Face hub; interrupted downloads go on, and files are checked."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from envs_mjx.checks import MissingExtraError
from swmjax.checkpoints.errors import CheckpointError, shown

FILES = ("weights.pt", "config.json")
"""What a repository of the reference has; moved into place in this order, so that the last completes the checkpoint."""
TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


def download(repo: str, folder: Path) -> None:
    """Download the checkpoint of a repository.

    Args:
        repo: `user/repo`.
        folder: where the two files go. Until both are there and have the hub's checksums they lie beside it, in
            `.<name>.part`, from where a later call goes on.

    Raises:
        MissingExtraError: no huggingface_hub.
        CheckpointError: no network, no such repository or file, or a damaged download.
    """
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError:
        raise MissingExtraError(
            f"{repo}: is not on this machine, and downloading needs the extra 'hub': pip install 'swmjax[hub]'"
        ) from None
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(f"{repo}: is not on this machine, and HF_HUB_OFFLINE forbids to download it")
    endpoint = constants.ENDPOINT
    part = folder.with_name(f".{folder.name}.part")
    for name in FILES:
        try:
            url = huggingface_hub.hf_hub_url(repo, name)
            metadata = huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT)
            _fetch(url, metadata, part / name)
        except errors.HFValidationError:
            raise CheckpointError(
                f"{repo}: is neither a checkpoint on this machine nor the name of a repository"
            ) from None
        except errors.GatedRepoError:
            raise CheckpointError(f"{repo}: needs a login at {endpoint}; run `hf auth login`") from None
        except errors.RepositoryNotFoundError:
            raise CheckpointError(f"{repo}: {endpoint} has no such public repository") from None
        except errors.EntryNotFoundError:
            raise CheckpointError(
                f"{repo}: the repository has no {name}; allowed is one with {' and '.join(FILES)}"
            ) from None
        except Exception as error:  # whatever the network and the libraries below make of it
            reason = shown(" ".join(str(error).split()) or type(error).__name__, 200)[1:-1]
            raise CheckpointError(f"{repo}: cannot be downloaded from {endpoint}: {reason}") from error
        _check(part / name, metadata, f"{repo}/{name}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        os.replace(part / name, folder / name)
    shutil.rmtree(part, ignore_errors=True)


def _fetch(url: str, metadata: Any, file: Path) -> None:
    """Download a file, or what is missing of it; the hub's own `hf_hub_download` begins anew after a failed call."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers()
    if urlparse(metadata.location).netloc != urlparse(url).netloc:
        # A login is for the hub, not for the storage that it sends to.
        headers.pop("authorization", None)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = file.with_name(f"{file.name}.{(metadata.etag or 'unknown')[:16]}")
    if not file.exists():
        with content.open("ab") as growing:
            http_get(
                metadata.location, growing, resume_size=growing.tell(), headers=headers, expected_size=metadata.size
            )
        os.replace(content, file)


def _check(file: Path, metadata: Any, place: str) -> None:
    """Remove the file and raise CheckpointError unless its content is what the hub says."""
    if metadata.size is not None and file.stat().st_size != metadata.size:
        problem = f"has {file.stat().st_size} bytes instead of {metadata.size}"
    elif metadata.etag and (found := _digest(file, len(metadata.etag))) not in (None, metadata.etag):
        problem = f"has the checksum {found} instead of {metadata.etag}"
    else:
        return
    file.unlink()
    raise CheckpointError(f"{place}: was damaged on the way, it {problem}; try again")


def _digest(file: Path, length: int) -> str | None:
    """The hub's name of a content: git's for small files, SHA-256 for large ones; None for any other."""
    with file.open("rb") as content:
        if length == 64:
            return hashlib.file_digest(content, "sha256").hexdigest()
        if length != 40:
            return None
        head = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
        return hashlib.file_digest(content, lambda: head).hexdigest()
