"""Keep the programs that a check compiled for the next one, in the user's cache folder.

`take` prints a fresh folder with links to what is kept, `keep FOLDER` adds what a check left there and removes it.
Checks never write into one folder, so several may run at once, and one that is killed leaves no half-written program
behind. A program compiled for one processor need not run on another: each kind of processor, version of jaxlib and set
of XLA flags has a store of its own.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import platformdirs

LIMIT = 4 * 10**9
DAY = 24 * 3600


def store_of_this_machine(root: Path) -> Path:
    kind = [platform.machine(), version("jaxlib"), os.environ.get("XLA_FLAGS", "")]
    with contextlib.suppress(FileNotFoundError):
        known = ("model name", "flags", "Features")
        kind += sorted({line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(known)})
    store = root / "stores" / hashlib.sha256("\n".join(kind).encode()).hexdigest()[:16]
    store.mkdir(parents=True, exist_ok=True)
    return store


def link(source: Path, target: Path) -> None:
    """Give the compiled programs of one folder to another one that lacks them.

    Folders in it hold programs that belong to one state of the sources: the next check has no use for them.
    """
    for path in filter(Path.is_file, source.iterdir()):
        # Another check may have added or removed it meanwhile.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(path, target / path.name)


def trim(root: Path, limit: int) -> None:
    """Remove what was not used for longest until at most `limit` bytes are left, and folders of killed checks."""
    found = []
    for path in root.glob("stores/*/*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > limit:
            path.unlink(missing_ok=True)
    for folder in root.glob("check-*"):
        if folder.stat().st_mtime < time.time() - DAY:
            shutil.rmtree(folder, ignore_errors=True)


def take(root: Path) -> Path:
    store = store_of_this_machine(root)
    folder = Path(tempfile.mkdtemp(prefix="check-", dir=root))
    link(store, folder)
    return folder


def keep(root: Path, folder: Path, limit: int = LIMIT) -> None:
    link(folder, store_of_this_machine(root))
    shutil.rmtree(folder)
    trim(root, limit)


if __name__ == "__main__":
    root = platformdirs.user_cache_path("swmjax-ci")
    if sys.argv[1] == "take":
        print(take(root))
    else:
        keep(root, Path(sys.argv[2]))
