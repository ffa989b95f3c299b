"""Datasets of the Hugging Face hub: complete, checked, and gone on with where a download stopped."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from envs_mjx.checks import UserError
from swmjax.runs.files import check_writable, holding, replacing
from swmjax.runs.hub import HubFile, Repository, damage

LIST = ".hub.json"
"""Where a downloaded dataset lists its files."""
_TABLE, _FILES = ".lance", (".h5", ".hdf5")
_BESIDE = ("_episodes", "_videos")


def download(repo: str, root: Path) -> Path:
    """Download the dataset of a repository, unless it is there.

    Args:
        repo: `user/repo`.
        root: The folder of datasets; it becomes `user--repo` in it. Until all files are there and have the hub's
            checksums they lie in `.user--repo.part`, from where a later call goes on. A folder that lacks files, such
            as one that the reference did not finish, is completed.

    Returns:
        The folder.

    Raises:
        MissingExtraError: No huggingface_hub.
        UserError: No network, no such repository, no dataset in it, a damaged download, or another process that is at
            it.
        OSError: As the file system says it.
    """
    folder = root / repo.replace("/", "--")
    if _is_complete(folder):
        return folder
    source = Repository(repo, "dataset")
    there = folder.is_dir() and any(folder.iterdir())
    try:
        files = _chosen(repo, source.files())
    except UserError as error:
        if not there:
            raise
        # Whoever is offline may still have all of it; what is missing will be noticed when it is read.
        warnings.warn(f"{folder}: is not checked for completeness, since {error}", UserWarning, stacklevel=4)
        return folder
    part = root / f".{folder.name}.part"
    wanted = _lacking(folder, files) if there else files
    begun = sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) if part.is_dir() else 0
    check_writable(root, max(0, sum(file.size or 0 for file in wanted) - begun))
    part.mkdir(parents=True, exist_ok=True)
    with holding(part):
        for file in wanted:
            source.download(file.name, part, listed=file)
        if not there:
            _write_list(part, repo, files)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(part, folder)
            return folder
        for file in wanted:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(part / file.name, folder / file.name)
        _write_list(folder, repo, files)
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _chosen(repo: str, files: Sequence[HubFile]) -> list[HubFile]:
    """The files of the first Lance dataset, with the tables beside it, or else the first HDF5 file.

    Source: reference, `data/utils.py`.
    """
    tops = sorted({file.name.partition("/")[0] for file in files})
    tables = [top for top in tops if top.endswith(_TABLE) and not top.removesuffix(_TABLE).endswith(_BESIDE)]
    if tables:
        stem = tables[0].removesuffix(_TABLE)
        folders = {f"{stem}{kind}{_TABLE}" for kind in ("", *_BESIDE)}
        return [file for file in files if file.name.partition("/")[0] in folders]
    single = [file for file in files if file.name.endswith(_FILES) and "/" not in file.name]
    if not single:
        raise UserError(
            f"{repo}: the repository holds no dataset; allowed is a folder *.lance or a file *.h5 at its top, it has "
            f"{', '.join(tops[:8]) or 'nothing'}"
        )
    return [min(single, key=lambda file: file.name)]


def _is_complete(folder: Path) -> bool:
    """Whether a folder has all files that its download listed, with their sizes."""
    try:
        said = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size, _ in said["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _lacking(folder: Path, files: Iterable[HubFile]) -> list[HubFile]:
    """Files that a folder does not have, or with another content."""
    return [file for file in files if not (folder / file.name).is_file() or damage(folder / file.name, file)]


def _write_list(folder: Path, repo: str, files: Sequence[HubFile]) -> None:
    listed = {"repository": repo, "files": [[file.name, file.size, file.digest] for file in files]}
    with replacing(folder / LIST) as temporary:
        temporary.write_text(json.dumps(listed), encoding="utf-8")
