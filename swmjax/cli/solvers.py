"""`swmjax solvers`: which solvers there are."""

from typing import Annotated, Any

import typer

from swmjax.cli.console import command, print_json, print_table


@command
def solvers_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the solvers."""
    from swmjax.planning.solvers import SOLVERS, source, summary

    rows: list[dict[str, Any]] = [
        {
            "solver": name,
            "actions": solver.actions,
            "takes": sorted(solver.takes),
            "summary": summary(solver),
            "source": source(solver),
            "import": f"from swmjax.planning import {solver.__name__}",
        }
        for name, solver in SOLVERS.items()
    ]
    if as_json:
        print_json(rows)
    else:
        header = ("Solver", "Actions", "What it does", "Source", "Class")
        shown = [(r["solver"], r["actions"], r["summary"], r["source"], r["import"].split()[-1]) for r in rows]
        print_table("Solvers, all from swmjax.planning", header, shown)
