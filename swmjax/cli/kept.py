"""`swmjax list` and `swmjax show`: what is kept on this machine, as the reference's first releases tell it."""

from typing import Annotated, Any

import typer

from swmjax.cli.console import Json, command, out, print_facts, print_json, print_table

_ALL = ("model", "dataset", "world")
_SHOWN = ("dataset", "world")


@command
def list_command(
    kind: Annotated[str, typer.Argument(metavar="model|dataset|world", help="What is listed.")], as_json: Json = False
) -> None:
    """List models, datasets or worlds by name."""
    from envs_mjx.checks import check_choice
    from swmjax.runs.paths import home

    check_choice("kind", kind, _ALL, show=str)
    names = _names(kind)
    if as_json:
        print_json(names)
    elif not names:
        out().print(f"No cached {kind}s in {home()}", markup=False, highlight=False)
    else:
        print_table(f"Cached {kind}s in {home()}", ("Name",), [(name,) for name in names])


@command
def show_command(
    kind: Annotated[str, typer.Argument(metavar="dataset|world", help="What is shown.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help="Which of them.")] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="All of them.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is in datasets, or what worlds look like."""
    from envs_mjx.checks import UserError, check_choice, check_name
    from swmjax.data import dataset_info, world_info
    from swmjax.data.names import find_dataset
    from swmjax.runs.plain import plain

    check_choice("kind", kind, _SHOWN, show=str)
    if not names and not every:
        raise UserError(f"give the names of {kind}s, or --all")
    known = _names(kind)
    for name in names or ():
        if kind == "world" or find_dataset(name) is None:
            check_name(kind, name, known)
    infos = [
        dataset_info(name) if kind == "dataset" else dict(world_info(name))
        for name in (known if every else names or ())
    ]
    if as_json:
        print_json([plain(info, kind) for info in infos])
        return
    for info in infos:
        facts = [
            (key.replace("_", " "), text) for key, value in info.items() if key != "name" for text in _lines(value)
        ]
        print_facts(f"{kind.capitalize()} {info['name']}", facts)


def _names(kind: str) -> list[str]:
    from swmjax.checkpoints.kept import list_models
    from swmjax.data import list_datasets, list_worlds

    return {"model": list_models, "dataset": list_datasets, "world": list_worlds}[kind]()


def _lines(value: Any) -> list[str]:
    """A value as short lines of text."""
    if isinstance(value, dict):
        return [f"{key}: {line}" for key, item in value.items() for line in _lines(item)] or ["none"]
    if isinstance(value, list):
        return [", ".join(map(str, value)) or "none"]
    if hasattr(value, "shape"):
        return [f"{value.min():.4g} to {value.max():.4g}" if value.size else "none"]
    return ["none" if value is None else str(value)]
