"""Where datasets lie, and which one a name means."""

from __future__ import annotations

import difflib
from pathlib import Path

from envs_mjx.checks import UserError
from swmjax.data import downloads
from swmjax.data.formats import detect_format
from swmjax.data.remote import is_address
from swmjax.runs.paths import home

SUFFIXES = ("", ".lance", ".h5", ".hdf5")
"""What a name may lack of the name of a file or folder."""


def get_cache_dir(override_root: str | Path | None = None, sub_folder: str | None = None) -> Path:
    """The folder where things are kept, made if it is not there.

    Args:
        override_root: Takes the place of `$STABLEWM_HOME`, or `~/.stable_worldmodel`.
        sub_folder: A folder in it, such as `datasets` or `checkpoints`.
    """
    folder = home(override_root) if sub_folder is None else home(override_root) / sub_folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ensure_dir_exists(path: str | Path) -> None:
    """Make a folder, and those above it, if it is not there."""
    Path(path).mkdir(parents=True, exist_ok=True)


def datasets_root(cache_dir: str | Path | None = None) -> Path:
    """The folder that names of datasets start from; it may not exist.

    Args:
        cache_dir: Takes the place of `$STABLEWM_HOME`.
    """
    return home(cache_dir) / "datasets"


def find_dataset(name: str | Path, cache_dir: str | Path | None = None) -> Path | None:
    """The file or folder of a dataset on this machine; None if there is none.

    Args:
        name: Absolute, or relative to the folder of datasets, or else to the working directory; its suffix may be left
            out.
        cache_dir: Takes the place of `$STABLEWM_HOME`.

    Raises:
        UserError: The name is empty.
    """
    text = str(name)
    if not text.strip():
        raise UserError("the name of a dataset is empty; allowed is a path, an address or user/repo")
    given = Path(text).expanduser()
    for place in (datasets_root(cache_dir) / given, given):  # an absolute path stays what it is
        found = [path for suffix in SUFFIXES if (path := place.with_name(place.name + suffix)).exists()]
        if found:
            # What is a dataset, before a folder that only bears the name.
            return next((path for path in found if detect_format(path) is not None), found[0])
    return None


def resolve_dataset(name: str | Path, cache_dir: str | Path | None = None) -> str | Path:
    """The path, or address, that the name of a dataset means; a repository on the hub is downloaded.

    Args:
        name: An address, a path as in `find_dataset`, or `user/repo`.
        cache_dir: Takes the place of `$STABLEWM_HOME`.

    Raises:
        UserError: There is nothing of that name.
        MissingExtraError: It is a repository, and huggingface_hub is not installed.
        OSError: As the file system says it, while it is downloaded.
    """
    text = str(name)
    if is_address(text):
        return text
    found = find_dataset(text, cache_dir)
    if found is not None:
        return found
    root = datasets_root(cache_dir)
    nowhere = f"there is no {root / text}, nor {Path(text)} in the working directory{_nearest(text, root)}"
    if text.count("/") == 1 and not text.startswith((".", "~", "/")):
        try:
            return downloads.download(text, root)
        except UserError as error:
            raise type(error)(f"{error}; {nowhere}") from None
    raise UserError(f"{text}: is no dataset; {nowhere}")


def _nearest(name: str, root: Path) -> str:
    """Names of datasets that look like one, as the end of a message."""
    known = [entry for entry in root.iterdir() if not entry.name.startswith(".")] if root.is_dir() else []
    named = {text: entry.name for entry in known for text in (entry.name, entry.stem)}
    near = [named[text] for text in difflib.get_close_matches(name, named, n=3, cutoff=0.6)]
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
