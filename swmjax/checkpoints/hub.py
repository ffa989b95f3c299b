"""Download a checkpoint from the Hugging Face hub; interrupted downloads go on, and files are checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from envs_mjx.checks import MissingExtraError, UserError
from swmjax.checkpoints.errors import CheckpointError
from swmjax.runs.hub import Repository

FILES = ("weights.pt", "config.json")
"""What a repository of the reference has; moved into place in this order, so that the last completes the checkpoint."""


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
    part = folder.with_name(f".{folder.name}.part")
    try:
        for name in FILES:
            Repository(repo, "checkpoint").download(name, part, FILES)
    except MissingExtraError:
        raise
    except UserError as error:
        raise CheckpointError(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        os.replace(part / name, folder / name)
    shutil.rmtree(part, ignore_errors=True)
