"""What users' packages bring: modules named as in `module:Name`, and entry points of installed packages.

Importing a module runs what is in it. So one is imported where the user names it, on the command line or in a call of
Python, and where an installed package names it as an entry point of the group `swmjax.plugins`. A name that stands in a
file imports nothing: it is good for modules that are imported already.
"""

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envs_mjx.checks import UserError
from envs_mjx.names import unknown_name

GROUP = "swmjax.plugins"
"""Entry points that are modules, or functions without arguments, which register what a package brings."""


def import_module(module: str, what: str) -> None:
    """Import a module that the user has named.

    Args:
        module: its full name.
        what: what named it, for the message.

    Raises:
        UserError: there is no such module, or one that it needs is missing.
    """
    try:
        importlib.import_module(module)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"module {module!r} of {what} cannot be imported: {error}{_beside(module)}") from error


def _beside(module: str) -> str:
    """Where a module of the current folder is found, which a program does not look into."""
    first = Path(module.partition(".")[0])
    there = first.with_suffix(".py").is_file() or first.is_dir() if first.name else False
    return f"; PYTHONPATH=. lets modules of the current folder be found ({first})" if there else ""


def import_module_of(place: str, name: object) -> None:
    """Import the module of a name that the user has given, if it reads `module:Name`.

    Args:
        place: the setting that it was given for, for the message.
        name: what was given.

    Raises:
        UserError: the module cannot be imported.
    """
    module, colon, _ = _parts(name)
    if colon:
        import_module(module, f"{place} {name!r}")


def load_named(kind: str, name: str) -> Any:
    """What `module:Name` stands for; the module is imported.

    For names that the user has given in this call or on this command line; those of files go to `refuse_unimported`
    first.

    Args:
        kind: what is named, for messages.
        name: the module's full name, a colon, and the name in it.

    Raises:
        UserError: the module cannot be imported, or holds no such name.
    """
    module, _, inner = name.rpartition(":")
    import_module(module, f"{kind} {name!r}")
    try:
        return getattr(sys.modules[module], inner)
    except AttributeError:
        raise UserError(f"{kind} {name!r}: module {module!r} has no {inner!r}") from None


def refuse_unimported(place: str, name: object) -> None:
    """Raise where a name from a file would import a module.

    Args:
        place: the setting that holds the name, for the message.
        name: what the file says.

    Raises:
        UserError: it reads `module:Name`, of a module that has not been imported.
    """
    module, colon, _ = _parts(name)
    if colon and module not in sys.modules:
        raise UserError(
            f"{place} is {name!r}, and nothing is imported because a file names it; allow it with "
            f"--allow-module {module}, or import it before in Python"
        )


def _parts(name: object) -> tuple[str, str, str]:
    return name.rpartition(":") if isinstance(name, str) else ("", "", "")


@functools.cache
def load() -> tuple[str, ...]:
    """Have installed packages register what they bring, once.

    Returns:
        One line for each entry point that failed.
    """
    problems = []
    for entry in sorted(_entry_points()):
        try:
            found = entry.load()
            if callable(found):
                found()
        except Exception as error:  # what others wrote raises what it likes, and the rest shall work without it
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            problems.append(f"entry point {entry.name} = {entry.value} of {GROUP} failed: {said}")
    return tuple(problems)


def _entry_points() -> set[importlib.metadata.EntryPoint]:
    """Those of installed packages; whatever lies in the current folder is not installed."""
    here = os.getcwd()
    path = [entry for entry in sys.path if os.path.abspath(entry) != here]
    installed = importlib.metadata.distributions(path=path)
    return {entry for found in installed for entry in found.entry_points.select(group=GROUP)}


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that nobody has registered, with what failed to register anything.

    Args:
        kind: what the name should be.
        name: what was given.
        known: all names.
    """
    return UserError("; ".join((unknown_name(kind, name, known), *load())))
