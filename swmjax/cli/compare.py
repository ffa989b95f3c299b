"""`swmjax compare`: runs of the same episodes side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from swmjax.cli.console import command, note, print_json, print_table


@command
def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders of `swmjax eval`.")],
    confidence: Annotated[float, typer.Option(help="Of the intervals, and of the table as a whole.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare runs with the first one, episode by episode.

    Runs are of the same episodes if environment, protocol and seeds are. Where the difference could be chance, the
    table says so, and how many episodes it would take to know.
    """
    from swmjax.world.comparing import compare_runs

    found = compare_runs(runs, confidence)
    if as_json:
        print_json(found)
        return
    first, share = found["runs"][0], found["measure"] == "success"
    measure = "Success rate" if share else "Return"
    print_table(
        f"{first['env']}, protocol {first['protocol']}, {confidence:.0%} intervals",
        ("Run", "Model", "Solver", "Episodes", measure, "Against the first", "p (Holm)", "Verdict"),
        [_row(run, share) for run in found["runs"]],
    )
    print_table(
        "What it took",
        ("Run", "Candidates x iterations", "Plans", "Model steps", "Run time", "Device"),
        [_budget(run["run"], run["budget"]) for run in found["runs"]],
    )
    for each in found["notes"]:
        note(each)


def _row(run: dict[str, Any], share: bool) -> tuple[str, ...]:
    said = _between(run["mean"], run["interval"], share, "")
    facts = (run["run"], str(run["model"]), str(run["solver"]), str(run["episodes"]), said)
    difference = run["difference"]
    if difference is None:
        return (*facts, "", "", "the first")
    against = _between(difference["difference"], difference["interval"], share, "+")
    return (*facts, against, f"{difference['p_adjusted']:.3g}", difference["words"])


def _between(value: float | None, interval: list[float] | None, share: bool, sign: str) -> str:
    """A figure and its interval, shares in percent."""
    form = f"{sign}.1%" if share else f"{sign}.4g"
    if value is None:
        return "-"
    return f"{value:{form}}" if interval is None else f"{value:{form}} ({interval[0]:{form}} to {interval[1]:{form}})"


def _budget(name: str, budget: dict[str, Any]) -> tuple[str, ...]:
    def shown(key: str, form: str = ",") -> str:
        return "-" if budget[key] is None else f"{budget[key]:{form}}"

    size = f"{shown('candidates')} x {shown('iterations')}"
    seconds = f"{shown('run_s', ',.1f')} s"
    return name, size, shown("plans"), shown("model_steps"), seconds, str(budget["device"] or "-")
