"""The program as a whole: start-up, version, usage errors and how mistakes are reported."""

import json
import math
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import swmjax
from swmjax.cli import console
from swmjax.cli.app import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, list(arguments))


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"swmjax {swmjax.__version__}\n")


def test_no_command_prints_the_help():
    result = run()
    assert result.exit_code == 2
    assert "checkpoints" in result.output


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["chekpoints"], "checkpoints"), (["envs", "--jsno"], "--json"), (["collect"], "ENV_ID")],
)
def test_usage_errors_exit_2_and_offer_the_nearest(arguments, nearest):
    result = run(*arguments)
    assert result.exit_code == 2
    assert nearest in result.stderr
    assert result.stdout == ""


def test_help_does_not_import_jax():
    code = (
        "import sys\nfrom swmjax.cli.app import main\nsys.argv = ['swmjax', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_program_runs_as_a_process():
    code = "from swmjax.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "fovs", "PushT-v9"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: unknown environment 'swm/PushT-v9'; did you mean 'swm/PushT-v1'?\n"


def raised(error):
    """A command that raises an error."""

    @console.command
    def failing():
        raise error

    return failing


@pytest.mark.parametrize(
    ("error", "code"),
    [(FileNotFoundError(2, "No such file or directory", "a.yaml"), 2), (KeyboardInterrupt(), 130)],
)
def test_known_errors_become_exit_codes(error, code, capsys):
    with pytest.raises(typer.Exit) as exit_info:
        raised(error)()
    assert exit_info.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_value_error_from_elsewhere_is_not_hidden():
    with pytest.raises(ValueError, match="a defect"):
        raised(ValueError("a defect"))()


def test_messages_are_not_read_as_markup(capsys):
    with pytest.raises(typer.Exit):
        console.fail("expected [3] and [bold]")
    assert capsys.readouterr().err == "error: expected [3] and [bold]\n"


def test_in_a_pipe_a_line_now_and_then_tells_where_a_run_is(capsys, monkeypatch):
    for seconds, expected in ((math.inf, ""), (0.0, "compiling, 3 s (1/1,000 steps)\nplaying (20/1,000 steps)\n")):
        monkeypatch.setattr(console, "LINE_SECONDS", seconds)
        with console.progress_bar(1000, "steps") as (progress, _):
            progress("compiling, 3 s", 1)
            progress("playing", 20)
        captured = capsys.readouterr()
        assert captured.err == expected
        assert captured.out == ""


def test_a_note_is_one_line_and_no_markup(capsys):
    with console.progress_bar(10, "steps") as (_, note):
        note("give [3]")
    console.note("give [bold]")
    assert capsys.readouterr().err == "note: give [3]\nnote: give [bold]\n"


def test_piped_tables_are_not_cut(capsys):
    console.print_table("T", ("A", "B"), [("x" * 100, "[1, 2]")])
    out = capsys.readouterr().out
    assert "x" * 100 in out
    assert "[1, 2]" in out


def test_json_is_json(capsys):
    console.print_json({"a": [1, 2.5, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, 2.5, None]}
