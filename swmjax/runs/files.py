"""Files that are either old or new, never half written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from envs_mjx.checks import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    A process that dies on the way leaves the old file, or none, and at most a hidden temporary file.

    Args:
        path: the file to make or to replace; its folder must exist.

    Yields:
        The path to write to: hidden, in the same folder, with the same suffix.

    Raises:
        OSError: as the file system says it: no space, no permission, no such folder.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())  # else a power cut could keep the new name without the new content
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path, expected: str) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        expected: what should be there, for the message.

    Raises:
        UserError: there is no such file.
    """
    if not path.exists():
        raise UserError(f"{path} is missing; expected {expected}")
    return path.read_bytes()
