"""Models that are kept on this machine, by the reference's names for listing and deleting them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from envs_mjx.checks import check_name
from swmjax.checkpoints.names import list_checkpoints
from swmjax.runs.files import check_writable
from swmjax.runs.paths import home

_OLD = re.compile(r"(.*?)_(?:weights(?:-[^.]*)?|object)\.ckpt", re.IGNORECASE)
"""Files of the reference's releases of 2025, which lie at the top."""


def list_models(cache_dir: str | Path | None = None) -> list[str]:
    """Names of models: of checkpoints, and of what the reference's releases of 2025 have left.

    Args:
        cache_dir: Takes the place of `$STABLEWM_HOME`.
    """
    return sorted(_kept(cache_dir))


def delete_model(name: str, cache_dir: str | Path | None = None) -> list[Path]:
    """Remove a model from this machine.

    Args:
        name: One that `list_models` gives.
        cache_dir: Takes the place of `$STABLEWM_HOME`.

    Returns:
        What was removed.

    Raises:
        UserError: There is no such model.
        OSError: As the file system says it.
    """
    kept = _kept(cache_dir)
    check_name("model", name, kept)
    for path in kept[name]:
        check_writable(path.parent)
    for path in kept[name]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return kept[name]


def _kept(cache_dir: str | Path | None) -> dict[str, list[Path]]:
    """Files and folders of models by name."""
    top = home(cache_dir)
    found: dict[str, list[Path]] = {}
    for row in list_checkpoints(root=top / "checkpoints"):
        name = row.run or Path(row.file).stem
        path = top / "checkpoints" / (row.run or row.file)
        if path not in found.setdefault(name, []):
            found[name].append(path)
    for file in sorted(top.iterdir()) if top.is_dir() else ():
        if file.is_file() and (old := _OLD.fullmatch(file.name)):
            found.setdefault(old[1], []).append(file)
    return found
