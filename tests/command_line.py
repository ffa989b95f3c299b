"""The command line as users run it."""

import math
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from swmjax.cli import console
from swmjax.cli.app import app


class Command:
    """A command of `swmjax`, in the current folder."""

    def __init__(self, name):
        self.name = name

    def run(self, *arguments, code=0):
        """The result of a call that ends with an exit code."""
        # A slow machine would otherwise say in between that it is still compiling.
        with mock.patch.object(console, "LINE_SECONDS", math.inf):
            result = CliRunner().invoke(app, [self.name, *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    def refused(self, *arguments):
        """The one line on stderr that a mistake leads to; nothing else happens."""
        before = sorted(Path.cwd().rglob("*"))
        result = self.run(*arguments, code=2)
        assert result.stdout == ""
        assert sorted(Path.cwd().rglob("*")) == before
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return line
