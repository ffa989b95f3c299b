"""`swmjax solvers`: which solvers there are."""

from typing import Annotated, Any

import typer

from swmjax.cli.console import command, note, print_json, print_table

_OURS = "swmjax.planning"


@command
def solvers_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the solvers."""
    from envs_mjx import plugins
    from swmjax.planning.solvers import SOLVERS, source, summary

    for problem in plugins.load():
        note(problem)
    rows: list[dict[str, Any]] = [
        {
            "solver": name,
            "actions": solver.actions,
            "takes": sorted(solver.takes),
            "summary": summary(solver),
            "source": source(solver),
            "import": f"from {_home(solver)} import {solver.__name__}",
        }
        for name, solver in SOLVERS.items()
    ]
    if as_json:
        print_json(rows)
    else:
        header = ("Solver", "Actions", "What it does", "Source", "Class")
        classes = [one.__name__ if _home(one) == _OURS else f"{_home(one)}:{one.__name__}" for one in SOLVERS.values()]
        shown = [(r["solver"], r["actions"], r["summary"], r["source"], c) for r, c in zip(rows, classes, strict=True)]
        print_table(f"Solvers, from {_OURS} where no module is named", header, shown)


def _home(solver: type) -> str:
    """Where a class is imported from."""
    return _OURS if solver.__module__.startswith(f"{_OURS}.") else solver.__module__
