"""The `swmjax` program; commands import what they need when they run, so that `--help` is quick."""

import os
import sys
from typing import Annotated

import typer

import swmjax
from swmjax.cli.checkpoints import checkpoints_command
from swmjax.cli.collect import collect_command
from swmjax.cli.console import INTERRUPTED
from swmjax.cli.envs import envs_command, fovs_command
from swmjax.cli.eval import eval_command
from swmjax.cli.export import export_command
from swmjax.cli.import_ import import_command
from swmjax.cli.solvers import solvers_command
from swmjax.cli.train_expert import train_expert_command
from swmjax.runs.compilation_cache import enable_compilation_cache

app = typer.Typer(
    name="swmjax",
    help="Plan with world models in JAX.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("eval")(eval_command)
app.command("train-expert")(train_expert_command)
app.command("collect")(collect_command)
app.command("envs")(envs_command)
app.command("fovs")(fovs_command)
app.command("solvers")(solvers_command)
app.command("checkpoints")(checkpoints_command)
app.command("import")(import_command)
app.command("export")(export_command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"swmjax {swmjax.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Plan with world models in JAX."""
    # XLA's log, such as its request to report slow compiling; what matters of it becomes an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    enable_compilation_cache()


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # What was interrupted may go on in a thread, and the interpreter would wait for it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
