"""The `swmjax` program; commands import what they need when they run, so that `--help` is quick."""

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

import swmjax
from swmjax.cli.console import INTERRUPTED
from swmjax.runs.compilation_cache import enable_compilation_cache

COMMANDS = {
    "eval": "eval:eval_command",
    "compare": "compare:compare_command",
    "train-expert": "train_expert:train_expert_command",
    "collect": "collect:collect_command",
    "inspect": "inspect_:inspect_command",
    "preview": "preview:preview_command",
    "convert": "convert:convert_command",
    "merge": "convert:merge_command",
    "delete": "delete:delete_command",
    "versions": "datasets:versions_command",
    "restore": "datasets:restore_command",
    "list": "kept:list_command",
    "show": "kept:show_command",
    "envs": "envs:envs_command",
    "fovs": "envs:fovs_command",
    "solvers": "solvers:solvers_command",
    "checkpoints": "checkpoints:checkpoints_command",
    "import": "import_:import_command",
    "export": "export:export_command",
}
"""Every command: a module of `swmjax.cli` and a function in it, whose signature and docstring are the help."""
GROUPS = {"datasets": ("datasets:datasets_command", {name: COMMANDS[name] for name in ("versions", "restore")})}
"""Commands with commands of their own; they run if none of those is given."""


def make_app() -> typer.Typer:
    """The program with all its commands."""
    app = typer.Typer(
        name="swmjax",
        help="Plan with world models in JAX.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name, place in COMMANDS.items():
        app.command(name)(_function(place))
    for name, (own, inner) in GROUPS.items():
        group = typer.Typer()
        group.callback(invoke_without_command=True)(_alone(_function(own)))
        for inner_name, place in inner.items():
            group.command(inner_name)(_function(place))
        app.add_typer(group, name=name)
    app.callback()(root)
    return app


def _function(place: str) -> Callable[..., None]:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(f"swmjax.cli.{module}"), function)


def _alone(function: Callable[..., None]) -> Callable[..., None]:
    """A command that does nothing where one of its own commands is given."""

    def wrapped(context: Any, **given: Any) -> None:
        if context.invoked_subcommand is None:
            function(**given)

    # Typer gives the context to whoever asks for it by this type, which the context itself does not have.
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = inspect.signature(function)
    wrapped.__signature__ = signature.replace(parameters=[context, *signature.parameters.values()])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {"context": typer.Context} | get_type_hints(function, include_extras=True)
    wrapped.__doc__ = function.__doc__
    return wrapped


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"swmjax {swmjax.__version__}")
        raise typer.Exit
    return wanted


def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Plan with world models in JAX."""
    # XLA's log, such as its request to report slow compiling; what matters of it becomes an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    enable_compilation_cache()
    # A cache on a full or read-only disk costs the next run its compiling, not this one its result.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry", UserWarning)


app = make_app()


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # What was interrupted may go on in a thread, and the interpreter would wait for it.
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
