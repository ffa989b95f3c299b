"""`swmjax datasets`: what lies in the folder of datasets, and what a dataset was at its commits."""

from typing import Annotated

import typer

from swmjax.cli.console import Json, command, out, print_json, print_table, size_of

Dataset = Annotated[str, typer.Argument(metavar="NAME", help="A dataset; see `swmjax datasets`.")]


@command
def datasets_command(as_json: Json = False) -> None:
    """List the datasets in $STABLEWM_HOME/datasets."""
    from swmjax.data.info import entries
    from swmjax.data.names import datasets_root

    found = entries()
    if as_json:
        print_json([{"name": e.name, "format": e.format.name, "path": str(e.path), "size": e.size} for e in found])
    elif not found:
        out().print(f"No datasets found in {datasets_root()}", markup=False, highlight=False)
    else:
        rows = [(entry.name, entry.format.name, size_of(entry.size)) for entry in found]
        print_table(f"Datasets in {datasets_root()}", ("Name", "Format", "Size"), rows)


@command
def versions_command(name: Dataset, as_json: Json = False) -> None:
    """List what a dataset was at each of its commits; Lance keeps that."""
    from pathlib import Path

    from swmjax.data.load import located

    kind, path = located(name)
    found = kind.versions(Path(path))
    if as_json:
        print_json(
            [{"version": v.number, "time": v.time.isoformat(), "episodes": v.episodes, "steps": v.rows} for v in found]
        )
    else:
        rows = [(v.number, f"{v.time.astimezone():%Y-%m-%d %H:%M:%S}", v.episodes, v.rows) for v in found]
        print_table(f"Versions of {path}", ("Version", "Time", "Episodes", "Steps"), rows)


@command
def restore_command(
    name: Dataset,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="One of `swmjax datasets versions NAME`.")],
    as_json: Json = False,
) -> None:
    """Have a dataset be what it was at a commit; what came after stays among its versions."""
    from pathlib import Path

    from swmjax.data.load import located

    kind, path = located(name)
    kind.restore(Path(path), version)
    if as_json:
        print_json({"path": str(path), "version": version})
    else:
        out().print(f"{path} is version {version} again", highlight=False, markup=False)
