"""Completion in the shell: commands, options and their help, without importing JAX."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from swmjax.cli.app import app


def completed(*words):
    """What bash would offer for the last word."""
    environment = {
        "_SWMJAX_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("swmjax", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(app, [], env=environment, prog_name="swmjax")
    assert result.exit_code == 0, result.output
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["e"], ["eval", "envs", "export"]),
        (["train"], ["train-expert"]),
        (["eval", "--ho"], ["--horizon"]),
        (["collect", "--app"], ["--append"]),
        (["--show"], ["--show-completion"]),
    ],
)
def test_words_are_completed(words, offered):
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_the_program(shell, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    from swmjax.cli.app import make_app

    result = CliRunner().invoke(make_app(), ["--show-completion", shell], prog_name="swmjax")
    assert result.exit_code == 0
    assert f"_SWMJAX_COMPLETE=complete_{shell}" in result.stdout


def test_completion_imports_no_jax():
    code = (
        "import sys\nsys.argv = ['swmjax']\nfrom swmjax.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    environment = os.environ | {
        "_SWMJAX_COMPLETE": "complete_bash",
        "COMP_WORDS": "swmjax solv",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["solvers"]
