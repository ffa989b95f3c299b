"""Files of repositories on the Hugging Face hub; interrupted downloads go on, and content is checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlparse

from envs_mjx.checks import MissingExtraError, UserError

TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: Its path in the repository.
        size: In bytes; None if the hub does not say it.
        digest: The hub's name of its content: git's for small files, SHA-256 for large ones.
    """

    name: str
    size: int | None
    digest: str | None


@dataclass(frozen=True)
class Repository:
    """A repository.

    Attributes:
        name: `user/repo`.
        kind: What it holds.
    """

    name: str
    kind: Literal["checkpoint", "dataset"]

    @property
    def _type(self) -> str:
        return "model" if self.kind == "checkpoint" else "dataset"

    @contextlib.contextmanager
    def _errors(self, expected: str) -> Iterator[None]:
        """What the hub, the network and the libraries below say, as one line.

        Args:
            expected: What the repository lacks where it has no such file, for the message.
        """
        try:
            import huggingface_hub
            from huggingface_hub import constants, errors
        except ImportError:
            raise MissingExtraError(
                f"{self.name}: is not on this machine, and downloading needs the extra 'hub': "
                "pip install 'swmjax[hub]'",
                name="huggingface_hub",
            ) from None
        del huggingface_hub
        if constants.HF_HUB_OFFLINE:
            raise UserError(f"{self.name}: is not on this machine, and HF_HUB_OFFLINE forbids to download it")
        try:
            yield
        except UserError:
            raise
        except errors.HFValidationError:
            raise UserError(
                f"{self.name}: is neither a {self.kind} on this machine nor the name of a repository"
            ) from None
        except errors.GatedRepoError:
            raise UserError(f"{self.name}: needs a login at {constants.ENDPOINT}; run `hf auth login`") from None
        except errors.RepositoryNotFoundError:
            raise UserError(f"{self.name}: {constants.ENDPOINT} has no such public repository") from None
        except errors.EntryNotFoundError:
            raise UserError(f"{self.name}: the repository has no {expected}") from None
        except OSError as error:
            if error.errno is not None and error.filename is not None:
                raise  # the disk, not the network
            raise self._unreachable(error) from error
        except Exception as error:  # whatever the network and the libraries below make of it
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UserError:
        from huggingface_hub import constants

        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if len(reason) <= 200 else f"{reason[:197]}..."
        printable = "".join(letter if letter.isprintable() else "?" for letter in reason)
        return UserError(f"{self.name}: cannot be downloaded from {constants.ENDPOINT}: {printable}")

    def files(self, folder: str = "") -> list[HubFile]:
        """Files of a folder of the repository, and of those in it; of all if empty.

        Raises:
            MissingExtraError: No huggingface_hub.
            UserError: No network, or no such repository or folder.
        """
        with self._errors(f"folder {folder}"):
            import huggingface_hub
            from huggingface_hub import constants

            api = huggingface_hub.HfApi(endpoint=constants.ENDPOINT)
            # Fails at once where a listing would be tried again and again.
            api.repo_info(self.name, repo_type=self._type, timeout=TIMEOUT)
            entries = api.list_repo_tree(self.name, folder or None, recursive=True, repo_type=self._type)
            found = [entry for entry in entries if isinstance(entry, huggingface_hub.RepoFile)]
        for entry in found:
            # The names become paths on this machine.
            if PurePosixPath(entry.path).is_absolute() or ".." in PurePosixPath(entry.path).parts:
                raise UserError(f"{self.name}: the repository has a file that would lie elsewhere, {entry.path!r}")
        return [HubFile(each.path, each.size, each.lfs.sha256 if each.lfs else each.blob_id) for each in found]

    def download(self, name: str, folder: Path, allowed: Sequence[str] = (), listed: HubFile | None = None) -> HubFile:
        """Download a file of the repository.

        Args:
            name: Its path there.
            folder: It becomes `folder / name`. What is there already is not fetched again; what is fetched in part lies
                beside it, and a later call goes on from there.
            allowed: The files that a repository must have, for the message.
            listed: The file as `files` told of it.

        Returns:
            The file, whose size and content have been checked.

        Raises:
            MissingExtraError: No huggingface_hub.
            UserError: No network, no such repository or file, or a damaged download.
            OSError: As the file system says it.
        """
        hint = f"; allowed is one with {' and '.join(allowed)}" if allowed else ""
        with self._errors(f"{name}{hint}"):
            import huggingface_hub

            url = huggingface_hub.hf_hub_url(self.name, name, repo_type=self._type)
            metadata = huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT)
            found = HubFile(name, metadata.size, metadata.etag)
            if listed is not None and (listed.size, listed.digest) != (found.size, found.digest):
                raise UserError(f"{self.name}/{name}: has just changed on the hub; try again")
            _fetch(url, metadata, folder / name)
        problem = damage(folder / name, found)
        if problem:
            (folder / name).unlink()
            raise UserError(f"{self.name}/{name}: was damaged on the way, it {problem}; try again")
        return found


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


def damage(file: Path, expected: HubFile) -> str | None:
    """What is wrong with the size or content of a file, as the end of a sentence; None if nothing is."""
    if expected.size is not None and file.stat().st_size != expected.size:
        return f"has {file.stat().st_size} bytes instead of {expected.size}"
    found = _digest(file, len(expected.digest or ""))
    if found not in (None, expected.digest):
        return f"has the checksum {found} instead of {expected.digest}"
    return None


def _digest(file: Path, length: int) -> str | None:
    """The hub's name of a content: git's for small files, SHA-256 for large ones; None for any other."""
    with file.open("rb") as content:
        if length == 64:
            return hashlib.file_digest(content, "sha256").hexdigest()
        if length != 40:
            return None
        head = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
        return hashlib.file_digest(content, lambda: head).hexdigest()
