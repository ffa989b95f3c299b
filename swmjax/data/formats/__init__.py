"""Formats of datasets by name."""

from pathlib import Path

from envs_mjx.checks import UserError
from swmjax.data.formats.base import MODES, Format, Mode, Writer
from swmjax.data.formats.lance import Lance, LanceWriter

FORMATS: dict[str, type[Format]] = {"lance": Lance}


def format_of(path: Path) -> type[Format]:
    """The format of a path.

    Raises:
        UserError: It is that of no format.
    """
    for found in FORMATS.values():
        if found.detect(path):
            return found
    raise UserError(f"{path}: the name of a dataset must {' or '.join(found.place for found in FORMATS.values())}")


__all__ = ["FORMATS", "MODES", "Format", "LanceWriter", "Mode", "Writer", "format_of"]
