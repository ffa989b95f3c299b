"""`swmjax convert` and `swmjax merge`: datasets in other formats, and several as one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli import console

if TYPE_CHECKING:
    from swmjax.data import Copied, Format

_OVER = "A plain name goes into $STABLEWM_HOME/datasets; a path with a slash is what it says."
Mode = Annotated[
    str | None, typer.Option(metavar="error|overwrite|append", help="What to do where there is a dataset; error.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Short for --mode overwrite.")]


@console.command
def convert_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset: a name, a path, an address or user/repo.")],
    output: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help=f"The new dataset; NAME-FORMAT if not given. {_OVER}")
    ] = None,
    dest_format: Annotated[str, typer.Option("--dest-format", "-f", help="Its format.")] = "video",
    source_format: Annotated[str | None, typer.Option(help="Format of NAME, if it does not look like it.")] = None,
    overwrite: Overwrite = False,
    mode: Mode = None,
    as_json: console.Json = False,
) -> None:
    """Write a dataset in another format.

    It appears when it is whole, and has been compared with what it was made of. A command that was stopped, or killed,
    goes on where it was when it is given again.
    """
    from swmjax.data import convert, get_format
    from swmjax.data.load import located

    get_format(dest_format)
    kind, source = located(name, format=source_format)
    path = _path(output or f"{Path(source).stem}-{dest_format}")

    def run(**told: Any) -> "Copied":
        return convert(
            source, path, source_format=source_format, dest_format=dest_format, mode=_mode(mode, overwrite), **told
        )

    _copied(run, [(kind, source)], as_json)


@console.command
def merge_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="At least two datasets of the same columns.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUTPUT", help=f"The new dataset. {_OVER}")],
    dest_format: Annotated[
        str | None, typer.Option("--dest-format", "-f", help="Its format; that of the first dataset if not given.")
    ] = None,
    overwrite: Overwrite = False,
    mode: Mode = None,
    as_json: console.Json = False,
) -> None:
    """Write the episodes of several datasets as one dataset, in the order in which they are given."""
    from swmjax.data import merge
    from swmjax.data.load import located

    found = [located(name) for name in names]

    def run(**told: Any) -> "Copied":
        kind = dest_format or found[0][0].name
        return merge([path for _, path in found], _path(output), dest_format=kind, mode=_mode(mode, overwrite), **told)

    _copied(run, found, as_json)


def _mode(mode: str | None, overwrite: bool) -> Any:
    from envs_mjx.checks import check_choice
    from swmjax.data.formats import MODES

    given = mode or ("overwrite" if overwrite else "error")
    check_choice("mode", given, MODES, show=str)
    return given


def _path(output: str) -> Path:
    from swmjax.data.names import datasets_root

    given = Path(output).expanduser()
    return datasets_root() / given if len(given.parts) == 1 and not output.startswith(".") else given


def _copied(run: "Callable[..., Copied]", sources: "Sequence[tuple[type[Format], Any]]", as_json: bool) -> None:
    from swmjax.runs.interrupts import Stopped

    total = sum(len(kind.reader(source).lengths) for kind, source in sources)
    try:
        with console.progress_bar(total, "episodes") as (progress, note):
            copied = run(progress=progress, note=note)
    except Stopped as stop:
        console.fail(
            f"interrupted: {stop.done} of {total} episodes are written; the same command goes on", console.INTERRUPTED
        )
    if as_json:
        console.print_json(
            {
                "path": str(copied.path),
                "format": copied.format,
                "episodes": copied.episodes,
                "steps": copied.rows,
                "digest": copied.digest,
            }
        )
    else:
        said = f"{copied.episodes:,} episodes, {copied.rows:,} steps, checked against what they were made of"
        console.out().print(f"{copied.path}: {said}", highlight=False, markup=False)
