"""`swmjax preview`: episodes of a dataset as videos."""

from pathlib import Path
from typing import Annotated

import typer

from swmjax.cli import console


@console.command
def preview_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset; see `swmjax datasets`.")],
    num: Annotated[int, typer.Option("--num", "-n", help="How many episodes are drawn.")] = 4,
    episodes: Annotated[
        str | None, typer.Option(metavar="0,3,...", help="Numbers of episodes instead of drawn ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="$STABLEWM_HOME/previews/NAME if not given.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns of images, side by side; all if not given.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 15,
    open_: Annotated[bool, typer.Option("--open", help="Open the folder.")] = False,
    as_json: console.Json = False,
) -> None:
    """Write episodes of a dataset as MP4 files."""
    from swmjax.data import open_dataset
    from swmjax.report import write_previews
    from swmjax.runs.paths import home

    numbers = None if episodes is None else _numbers(episodes)
    reader = open_dataset(name)
    folder = output or home() / "previews" / Path(reader.path).stem
    keys = None if key is None else [each.strip() for each in key.split(",")]
    total = min(num, len(reader.lengths)) if numbers is None else len(numbers)
    with console.progress_bar(total, "videos") as (progress, note):
        files = write_previews(
            reader, folder, numbers, num=num, seed=seed, keys=keys, fps=fps, progress=progress, note=note
        )
    if as_json:
        console.print_json({"files": [str(file) for file in files.values()], "episodes": list(files)})
    else:
        names = ", ".join(file.name for file in files.values())
        console.out().print(f"written to {folder}: {names}", highlight=False, markup=False)
    if open_:
        typer.launch(str(folder))


def _numbers(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        console.fail(f"--episodes must be whole numbers between commas, such as 0,3, got {text!r}")
