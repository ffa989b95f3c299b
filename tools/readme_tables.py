"""Write the tables of README.md that follow from the registries.

    python tools/readme_tables.py [--check]

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`; `--check` only says whether it is up to date.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium

import envs_mjx
from swmjax.planning.solvers import SOLVERS, source, summary

README = Path(__file__).parents[1] / "README.md"


def environments() -> str:
    """Every environment of the namespace `swm`: its id, actions, factors and what it is."""
    rows = []
    for name in (name for name in envs_mjx.registered_ids() if name.startswith("swm/")):
        env = envs_mjx.make(name)
        factors = str(len(env.variation_space.names()))
        rows.append((f"`{name}`", _actions(env.action_space), factors, first_line(type(env))))
    return markdown(("environment", "actions", "factors", "task"), rows)


def solvers() -> str:
    """Every solver: its name, the actions that it plans, what it does, and where it was published."""
    rows = [(f"`{name}`", one.actions, summary(one), source(one)) for name, one in SOLVERS.items()]
    return markdown(("solver", "actions", "what it does", "source"), rows)


TABLES = {"environments": environments, "solvers": solvers}


def first_line(thing: type) -> str:
    """First line of a docstring, without the full stop."""
    return (inspect.getdoc(thing) or "").splitlines()[0].rstrip(".")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(text: str) -> str:
    """The text with every table made anew.

    Raises:
        KeyError: a marker names a table that does not exist.
    """

    def fresh(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{TABLES[match[2]]()}\n\n{match[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end of table -->)", fresh, text, flags=re.DOTALL)


def _actions(space: gymnasium.Space) -> str:
    if isinstance(space, gymnasium.spaces.Dict):
        return f"Dict of {', '.join(space)}"
    return re.sub(r"(?<=\d)\.0\b|, float32|, int64", "", str(space)).replace("|", "/")


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if README.md is out of date")
    check = parser.parse_args().check
    text = README.read_text()
    made = with_tables(text)
    if check and made != text:
        sys.exit("README.md is out of date: run python tools/readme_tables.py")
    if not check:
        README.write_text(made)


if __name__ == "__main__":
    main()
