"""Formats of datasets by name: the registry of the files of this folder."""

from pathlib import Path

from envs_mjx.checks import UserError, check_choice
from swmjax.data.formats.arrow import Arrow
from swmjax.data.formats.base import EPISODE_DATA, MODES, Column, Episode, Format, Mode, Reader, Version, Writer
from swmjax.data.formats.folder import Folder
from swmjax.data.formats.hdf5 import HDF5
from swmjax.data.formats.lance import Lance
from swmjax.data.formats.lance_reader import LanceReader
from swmjax.data.formats.lance_video import LanceVideo
from swmjax.data.formats.lance_writer import LanceWriter
from swmjax.data.formats.lerobot import LeRobot
from swmjax.data.formats.video import Video

_ALL: tuple[type[Format], ...] = (Lance, Folder, LeRobot, HDF5, Video, LanceVideo, Arrow)
FORMATS: dict[str, type[Format]] = {kind.name: kind for kind in _ALL}


def register_format(kind: type[Format]) -> type[Format]:
    """Add a format under its name; a decorator of classes.

    Raises:
        UserError: It has no name, or there is one of this name already.
    """
    if not kind.name:
        raise UserError(f"{kind.__qualname__} has no name; a format is registered under its attribute `name`")
    if kind.name in FORMATS:
        raise UserError(f"a format {kind.name} is registered already: {FORMATS[kind.name].__qualname__}")
    FORMATS[kind.name] = kind
    return kind


def list_formats() -> list[str]:
    """Names of the formats, in the order in which paths are tried."""
    return list(FORMATS)


def get_format(name: str) -> type[Format]:
    """The format of a name.

    Raises:
        UserError: There is none; the message lists those that there are.
    """
    check_choice("format", name, tuple(FORMATS), show=str)
    return FORMATS[name]


def detect_format(path: str | Path) -> type[Format] | None:
    """The first format whose dataset a path may be; None if it is that of none."""
    return next((kind for kind in FORMATS.values() if kind.detect(path)), None)


def format_of(path: str | Path, name: str | None = None) -> type[Format]:
    """The format of a dataset.

    Args:
        path: The dataset, be there one or not.
        name: Of the format; found out from the path if None.

    Raises:
        UserError: There is no such format, or the path is that of none.
    """
    found = detect_format(path) if name is None else get_format(name)
    if found is None:
        places = ", ".join(each.place for each in FORMATS.values() if each.place)
        raise UserError(
            f"{path}: the name of a dataset must {places}; or say which format it is to have, of {', '.join(FORMATS)}"
        )
    return found


__all__ = [
    "EPISODE_DATA",
    "FORMATS",
    "MODES",
    "Column",
    "Episode",
    "Format",
    "LanceReader",
    "LanceWriter",
    "Mode",
    "Reader",
    "Version",
    "Writer",
    "detect_format",
    "format_of",
    "get_format",
    "list_formats",
    "register_format",
]
