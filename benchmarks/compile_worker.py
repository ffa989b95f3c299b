"""Measure one program of `compile.py`, in a process of its own: nothing traced or compiled before can help it.

    python benchmarks/compile_worker.py NAME

Prints one line of JSON. The CPU time of a process is that of all its threads.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from compile_programs import programs
from jax.extend.core import jaxprs_in_params

LOOPS = ("while", "scan")


def main(name: str) -> None:
    """Trace, lower and compile."""
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        made = programs()[name]()
    # What a source tree with other names, or with other arguments, raises.
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}))
        return
    # The arguments were made by tracing, too; what is left must not hold the start of the backend.
    jax.block_until_ready(jnp.zeros(()) + 1)
    jax.clear_caches()
    figures: defaultdict[str, float] = defaultdict(int)
    for function, arguments in made if isinstance(made, list) else [made]:
        traced = timed(figures, "trace", partial(jax.jit(function).trace, *arguments))
        lowered = timed(figures, "lower", traced.lower)
        timed(figures, "compile", lowered.compile)
        names = [equation.primitive.name for equation in equations(traced.jaxpr.jaxpr)]
        figures["equations"] += len(names)
        figures["loops"] += sum(name in LOOPS for name in names)
        figures["lines"] += lowered.as_text().count("\n")
    print(json.dumps(figures))


def timed(figures: defaultdict[str, float], stage: str, call: Callable[[], Any]) -> Any:
    """The result of a call, whose CPU seconds are added to the figures."""
    start = time.process_time()
    result = call()
    figures[stage] += time.process_time() - start
    return result


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, those inside of others included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


if __name__ == "__main__":
    main(sys.argv[1])
