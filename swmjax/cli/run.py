"""What commands with a run folder share: begun or resumed, and what they say at the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from swmjax.cli import console

if TYPE_CHECKING:
    import swmjax.runs.settings
    from swmjax.runs.folder import RunFolder
    from swmjax.runs.settings import Settings

RESULTS = Path("results")
"""Where run folders are made that the user gives no place."""
S = TypeVar("S", bound="swmjax.runs.settings.Settings")


def settings_of_run(
    kind: type[S], load: Callable[[], S], resume: Path | None, output: Path | None, given: Sequence[object]
) -> "tuple[S, RunFolder | None]":
    """The settings of a run, and its folder if it is resumed, be it that the same command is given again.

    Args:
        kind: class of the settings.
        load: makes those of a new run.
        resume: folder of the run to resume.
        output: folder that the user asked for.
        given: options that make no sense beside it; None for each that was not given.
    """
    from swmjax.runs.folder import RunFolder

    if resume is None:
        settings = load().from_anywhere()
        return settings, _stopped(kind, settings, output)
    if any(value is not None for value in given):
        console.fail("--resume takes its settings from the run folder; give it without other settings")
    folder = RunFolder(resume)
    settings = kind.from_dict(folder.read_config(), console.note)
    if folder.complete:
        console.fail(f"{resume}: this run is complete, nothing is left to resume")
    return settings, folder


def _stopped(kind: type[S], settings: S, output: Path | None) -> "RunFolder | None":
    """The folder that the user asked for if it holds a run of the same settings that was stopped."""
    from envs_mjx.checks import UserError
    from swmjax.runs.folder import RunFolder

    if output is None or RunFolder(output).complete:
        return None
    try:
        if kind.from_dict(RunFolder(output).read_config(), lambda message: None) != settings:
            return None
    except UserError:
        return None  # whatever lies there, it is no such run
    console.note(f"{output} holds this run, which was stopped; going on with it")
    return RunFolder(output)


@contextmanager
def keeping(folder: "RunFolder", command: str) -> Iterator[None]:
    """A run that ends with what the system refused says how to go on.

    Args:
        folder: of the run.
        command: that resumes it.
    """
    try:
        yield
    except OSError as error:
        hint = f"what was finished is kept in {folder.path}; go on with `swmjax {command} --resume {folder.path}`"
        console.fail(f"{console.system_reason(error)}; {hint}")


def check_output(output: Path | None) -> None:
    """Refuse the output of a new run where `folder_of_run` would, before anything is computed; nothing is made.

    Args:
        output: what the user asked for.
    """
    from swmjax.runs.files import check_writable
    from swmjax.runs.folder import check_run_folder

    check_writable(RESULTS) if output is None else check_run_folder(output)


def folder_of_run(
    settings: "Settings", resumed: "RunFolder | None", output: Path | None, remarks: Sequence[str] = ()
) -> "RunFolder":
    """The folder of a run, made and with the settings in it unless the run is resumed.

    Args:
        settings: of the run.
        resumed: folder of the resumed run.
        output: what the user asked for; `results/<time>-<name>` if None.
        remarks: what the settings came to on this machine, for whoever reads them.
    """
    from swmjax.runs.folder import RunFolder, create_run_folder, explicit_run_folder

    if resumed is not None:
        return resumed
    path = create_run_folder(RESULTS, settings.run_name) if output is None else explicit_run_folder(output)
    folder = RunFolder(path)
    folder.write_config(settings.to_dict(), remarks)
    return folder


def print_written(folder: "RunFolder") -> None:
    """Say which files a run has left."""
    files = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
    console.out().print(f"written to {folder.path}: {', '.join(files)}", highlight=False, markup=False)
