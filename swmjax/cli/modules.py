"""The option that lets a command know what a module of the user brings."""

from collections.abc import Sequence
from typing import Annotated

import typer

AllowModule = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-module",
        metavar="MODULE",
        help="Import a module of yours first, so that files may name what is in it; repeatable.",
    ),
]


def import_allowed(modules: Sequence[str] | None) -> None:
    """Import the modules that `--allow-module` names.

    Raises:
        UserError: one cannot be imported.
    """
    if modules:
        from envs_mjx import plugins  # not above: `--help` does not import JAX

        for module in modules:
            plugins.import_module(module, "--allow-module")
