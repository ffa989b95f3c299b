"""Files and folders that are either old or new, never half written; and what processes that died have left of them."""

import contextlib
import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from envs_mjx.checks import UserError

_HOST = re.sub(r"[^\w-]+", "-", socket.gethostname())
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a file system says when it takes nothing more, as libraries quote it in errors of their own."""


@contextlib.contextmanager
def replacing(path: Path, new: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    A process that dies on the way leaves the old file, or none, and at most a hidden temporary file, which the next
    one to write the same file removes.

    Args:
        path: the file to make or to replace; its folder must exist.
        new: whether there must be none by then.

    Yields:
        The path to write to: hidden, in the same folder, with the same suffix.

    Raises:
        FileExistsError: another process has made one meanwhile, where `new`.
        OSError: as the file system says it: no space, no permission, no such folder; names `path`.
    """
    remove_leftovers(path)
    temporary = hidden(path)
    try:
        with disk_errors(path):
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())  # else a power cut could keep the new name without the new content
            _place(temporary, path, new)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _place(temporary: Path, path: Path, new: bool) -> None:
    if new:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        else:
            temporary.unlink()
            return
    os.replace(temporary, path)


def exchange(new: Path, path: Path) -> None:
    """Have a folder take the place of another one, which is removed; at no moment is there none, or half of one.

    Where the system cannot exchange two folders there is a moment at which the old one bears the new one's name.

    Args:
        new: The folder that comes, beside the other.
        path: The folder that goes.
    """
    if not _exchanged(new, path):
        old = new.with_name(f"{new.name}.old")
        os.rename(path, old)
        os.rename(new, path)
        os.rename(old, new)
    shutil.rmtree(new, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux
        return False
    here, swap = -100, 2
    return rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def hidden(path: Path) -> Path:
    """Where this process makes what is to become `path`: beside it, with the same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{_HOST}{path.suffix}")


def remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine were making to become `path` when they died.

    What other machines make is not touched, nor what a process makes that lives. Earlier releases named no machine.
    """
    name = re.compile(rf"\.{re.escape(path.stem)}\.(\d{{1,7}})(?:-([\w-]+))?{re.escape(path.suffix)}")
    with contextlib.suppress(OSError):
        for entry in list(path.parent.iterdir()):
            found = name.fullmatch(entry.name)
            if found is None or found[2] not in (None, _HOST) or _lives(int(found[1])):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    if os.name != "posix":
        return True  # asking there would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the file system says within the block becomes an `OSError` that names a path, whoever reports it.

    Libraries report a full disk as errors of their own kinds, with the system's words somewhere in the text.

    Args:
        path: what is written.

    Raises:
        OSError: the file system refused; names the path, unless it was about another one.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        about = getattr(error, "filename", None)
        if number is None:
            number = next((each for each in _DISK if os.strerror(each) in str(error)), None)
        if number is None or (about is not None and str(about) not in (str(path), str(hidden(path)))):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def check_writable(folder: Path, size: int = 0) -> None:
    """Raise unless a file can be made in a folder, or in the one where it would be made; nothing is left of it.

    Args:
        folder: the folder.
        size: bytes that must be free.

    Raises:
        OSError: as the file system says it: no permission, no space, a file in the way; names the folder.
    """
    while not folder.exists():
        folder = folder.parent
    probe = folder / "probe.tmp"
    remove_leftovers(probe)
    try:
        hidden(probe).write_bytes(bytes(4096))
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(folder)) from error
    finally:
        with contextlib.suppress(OSError):
            hidden(probe).unlink()


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Keep others from writing to a folder meanwhile; a process that dies holds nothing any more.

    Yields:
        Whether the folder is held; False where the file system knows no locks.

    Raises:
        UserError: it is held already, or was replaced a moment ago.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        held = _lock(folder, handle)
        if held and not _is_still(folder, handle):
            raise UserError(f"{folder}: another process has just written to it; look at it and try again")
        yield held
    finally:
        os.close(handle)


def _lock(folder: Path, handle: int) -> bool:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another process is writing to it; wait until it ends, or stop it") from error
    except OSError:
        return False
    return True


def identity(path: Path) -> tuple[int, int]:
    """What tells a file or a folder from another one that takes its place.

    Raises:
        UserError: there is none any more.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path} is not there any more") from error
    return found.st_dev, found.st_ino


def _is_still(folder: Path, handle: int) -> bool:
    """Whether an open folder is the one at a path; one that was replaced meanwhile holds nothing."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


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
