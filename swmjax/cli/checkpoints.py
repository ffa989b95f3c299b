"""`swmjax checkpoints`: what lies in the folder of checkpoints."""

from typing import Annotated

import typer

from swmjax.cli.console import Json, command, out, print_json, print_table, size_of


@command
def checkpoints_command(
    pattern: Annotated[
        str | None, typer.Argument(metavar="[REGEX]", help="Only runs or files whose name contains this expression.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the checkpoints in $STABLEWM_HOME/checkpoints."""
    from swmjax.checkpoints.names import checkpoints_root, list_checkpoints

    rows = list_checkpoints(pattern)
    if as_json:
        print_json(
            [{"run": r.run, "file": r.file, "size": r.size, "modified": r.modified.isoformat()} for r in rows],
        )
    elif not rows:
        matching = "" if pattern is None else f" matching {pattern!r}"
        out().print(f"No checkpoints{matching} in {checkpoints_root()}", markup=False, highlight=False)
    else:
        cells = [(r.run or ".", r.file, size_of(r.size), f"{r.modified.astimezone():%Y-%m-%d %H:%M}") for r in rows]
        print_table(f"Checkpoints in {checkpoints_root()}", ("Run", "Checkpoint", "Size", "Modified"), cells)
