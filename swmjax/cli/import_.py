"""`swmjax import`: a checkpoint of the reference becomes one of swmjax."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli.console import command, err, fail, note, out, print_json, print_table, quiet_saving

if TYPE_CHECKING:
    from swmjax.checkpoints.torch.importing import Import


@command
def import_command(
    src: Annotated[
        str, typer.Argument(metavar="SRC", help="A .pt file, a folder with config.json, or user/repo on the hub.")
    ],
    dest: Annotated[
        str | None, typer.Argument(metavar="[DEST]", help="Name of the new checkpoint; SRC-jax if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report, but write nothing.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare a forward pass with the reference's before writing.")
    ] = False,
    reference_python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Python that has the reference; $SWMJAX_REFERENCE_PYTHON else.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="ENTRY", help="Entry of the file that holds the state dict, such as ema or ema.module."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a key of config.json, such as model.pixel_token=null; null drops it. May be given several times.",
        ),
    ] = None,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Import weights that are NaN or infinite.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Import a PyTorch checkpoint: read it without torch, check every tensor, write it in swmjax's format.

    Names are relative to $STABLEWM_HOME/checkpoints, unless they begin with / or a dot.
    """
    from swmjax.checkpoints.torch.importing import import_checkpoint
    from swmjax.checkpoints.torch.verification import reference_python as find
    from swmjax.checkpoints.torch.verification import verify as compare
    from swmjax.runs.settings import read_assignments

    if reference_python is not None and not verify:
        fail("--reference-python is for --verify; give both or neither")
    python = find(reference_python) if verify else None
    settings = dict(read_assignments(assignments or (), "model.pixel_token=null"))
    done = import_checkpoint(src, dest, extra_args=settings, key=key, allow_nonfinite=allow_nonfinite, note=note)
    if not as_json:
        _print(done)
    differences: dict[str, float] | None = None
    if python is not None:
        comparison = compare(done.loaded, python)
        differences = comparison.differences
        if not as_json:
            rows = [(name, f"{value:.2e}") for name, value in differences.items()]
            print_table("Compared with the reference", ("Output", "Max relative difference"), rows)
        if not comparison.passed:
            fail(f"{src}: differs from the reference by {comparison.worst:.2e}; nothing was written", 1)
    if not dry_run:
        quiet_saving()
        done.save()
    if as_json:
        print_json(_facts(done, differences, written=not dry_run))
    elif dry_run:
        err().print(f"nothing was written; without --dry-run it would be {done.dest}", markup=False, highlight=False)
    else:
        out().print(f"Imported as {done.dest}", markup=False, highlight=False)


def _print(done: "Import") -> None:
    columns = ("In the file", "Tensors", "Parameters", "Dtype", "Becomes")
    rows = [
        (r.module, r.tensors, f"{r.parameters:,}", ", ".join(r.dtypes), r.becomes or "kept for export")
        for r in done.rows
    ]
    total = (sum(r.tensors for r in done.rows), f"{sum(r.parameters for r in done.rows):,}")
    family = type(done.loaded.model).__name__
    rows.append(("all", *total, "", f"{family} of {done.parameters:,} values"))
    print_table(f"{family} in {done.files.weights}", columns, rows)
    for name, value in done.loaded.source.settings.items():
        out().print(f"config.json was read with {name} = {json.dumps(value)}", markup=False, highlight=False)


def _facts(done: "Import", differences: dict[str, float] | None, *, written: bool) -> dict[str, Any]:
    return {
        "source": str(done.files.weights),
        "destination": str(done.dest),
        "written": written,
        "family": type(done.loaded.model).__name__,
        "parameters": done.parameters,
        "entry": done.entry,
        "settings": dict(done.loaded.source.settings),
        "modules": [vars(row) | {"dtypes": list(row.dtypes)} for row in done.rows],
        "differences": differences,
    }
