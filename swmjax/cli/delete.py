"""`swmjax delete`: datasets and models, after a question."""

from typing import Annotated

import typer

from swmjax.cli.console import Json, command, out, print_json

KINDS = ("dataset", "model")


@command
def delete_command(
    names: Annotated[
        list[str], typer.Argument(metavar="[dataset|model] NAMES...", help="What goes; datasets if not said.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove datasets, or models, from this machine."""
    from envs_mjx.checks import UserError, check_name
    from swmjax.checkpoints.kept import delete_model, list_models
    from swmjax.data.info import delete_dataset, list_datasets
    from swmjax.data.names import find_dataset

    kind, given = (names[0], names[1:]) if names[0] in KINDS else ("dataset", names)
    if not given:
        raise UserError(f"give the names of what goes; `swmjax list {kind}` lists them")
    for name in given:
        if kind == "model":
            check_name("model", name, list_models())
        elif find_dataset(name) is None:
            check_name("dataset", name, list_datasets())
    if not yes:
        typer.confirm(f"Delete {kind} {', '.join(given)}?", abort=True, err=True)
    delete = delete_model if kind == "model" else delete_dataset
    gone = [path for name in given for path in delete(name)]
    if as_json:
        print_json({"deleted": [str(path) for path in gone]})
    for path in () if as_json else gone:
        out().print(f"deleted {path}", highlight=False, markup=False)
