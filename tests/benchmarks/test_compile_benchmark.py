"""The compile benchmark counts what is in a program, and measures it in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

ROOT = Path(__file__).parents[2]
# For this import alone: the folder has modules of the same names as folders of tests.
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    from compile_worker import equations
finally:
    sys.path.remove(str(ROOT / "benchmarks"))


def run(*arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / "compile.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_equations_inside_of_others_are_counted():
    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda i, x: jax.lax.cond(x > 0, jnp.sin, lambda x: jnp.cos(x) + i, x), x)

    names = [equation.primitive.name for equation in equations(jax.make_jaxpr(looped)(1.0).jaxpr)]
    assert {"sin", "cos", "cond"} <= set(names)
    assert sum(name in ("scan", "while") for name in names) == 1


def test_a_program_is_measured_in_both_source_trees():
    done = run("--programs", "solver-random", "--checkout", str(ROOT), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    here, there = (json.loads(done.stdout)["solver-random"][tree] for tree in ("here", "there"))
    assert min(here[stage] for stage in ("trace", "lower", "compile")) > 0
    assert (here["equations"], here["lines"]) == (there["equations"], there["lines"])
    assert here["loops"] >= 1


def test_unknown_programs_are_refused():
    done = run("--programs", "solver-random,solver-radnom")
    assert done.returncode == 2
    assert "unknown solver-radnom; allowed are pusht-reset" in done.stderr
