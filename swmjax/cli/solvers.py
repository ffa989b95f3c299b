"""`swmjax solvers`: which solvers there are."""

from typing import Annotated

import typer

from swmjax.cli.console import command, print_json, print_table


@command
def solvers_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the solvers."""
    from swmjax.planning import SOLVERS

    rows = [
        {
            "solver": name,
            "kind": entry.kind,
            "summary": entry.summary,
            "source": entry.source,
            "import": f"from swmjax.planning import {entry.solver.__name__}",
        }
        for name, entry in SOLVERS.items()
    ]
    if as_json:
        print_json(rows)
    else:
        header = ("Solver", "Kind", "What it does", "Source", "Class")
        shown = [(r["solver"], r["kind"], r["summary"], r["source"], r["import"].split()[-1]) for r in rows]
        print_table("Solvers, all from swmjax.planning", header, shown)
