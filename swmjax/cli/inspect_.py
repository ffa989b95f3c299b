"""`swmjax inspect`: what is in a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli.console import Json, command, out, print_facts, print_json, print_table, size_of

if TYPE_CHECKING:
    from swmjax.data import Format, Reader


@command
def inspect_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset: a name, a path, an address or user/repo.")],
    form: Annotated[str | None, typer.Option("--format", help="Its format, if it does not look like it.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Write a sheet of frames, NAME.png.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write a page about the dataset, NAME.html.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where these go; $STABLEWM_HOME/previews.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show episodes, columns and size of a dataset."""
    from swmjax.data.load import located
    from swmjax.runs.paths import home

    kind, path = located(name, format=form)
    reader = kind.reader(path)
    facts = _facts(name, kind, reader)
    folder = home() / "previews" if output is None else output
    stem = folder / Path(reader.path).stem
    written = []
    if preview:
        from swmjax.report import write_sheet

        written.append(stem.with_name(f"{stem.name}.png"))
        write_sheet(reader, written[-1])
    if report:
        from swmjax.report import write_page

        written.append(stem.with_name(f"{stem.name}.html"))
        write_page(reader, written[-1], name)
    if as_json:
        print_json(facts | {"written": [str(file) for file in written]})
        return
    shown = [
        (key.capitalize(), _shown(key, value)) for key, value in facts.items() if key not in ("columns", "factors")
    ]
    if facts["factors"]:
        shown.append(("Factors", ", ".join(facts["factors"])))
    print_facts(f"Dataset {name}", shown)
    rows = [(c["name"], c["kind"], f"({', '.join(map(str, c['shape']))})", c["dtype"]) for c in facts["columns"]]
    print_table("Columns", ("Column", "Kind", "Shape", "Type"), rows)
    for file in written:
        out().print(f"written to {file}", highlight=False, markup=False)


def _facts(name: str, kind: "type[Format]", reader: "Reader") -> dict[str, Any]:
    from swmjax.data.info import dataset_size, factors

    lengths = reader.lengths
    return {
        "name": name,
        "format": kind.name,
        "path": reader.path,
        "size": dataset_size(reader.path, kind),
        "episodes": len(lengths),
        "steps": reader.rows,
        "lengths": [int(lengths.min()), int(lengths.max())] if len(lengths) else [],
        "factors": factors(reader),
        "columns": [
            {
                "name": each,
                "kind": column.kind,
                "shape": [reader.rows, *column.shape],
                "dtype": "text" if column.kind == "text" else str(column.dtype),
            }
            for each, column in reader.columns.items()
        ],
    }


def _shown(key: str, value: Any) -> str:
    if key == "size":
        return "elsewhere" if value is None else size_of(value)
    if key == "lengths":
        return " to ".join(f"{each:,}" for each in value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
