"""Programs that compile in about a quarter of the time, unoptimised, for tests of numbers and not of bits or speed."""

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

import jax
from jax._src import compiler

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
quick_jit = functools.partial(jax.jit, compiler_options=QUICK)


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """All programs that are compiled meanwhile, those that the packages compile themselves among them."""
    original = compiler.get_compile_options

    def quick(*args, env_options_overrides=None, **kwargs):
        return original(*args, env_options_overrides=QUICK | (env_options_overrides or {}), **kwargs)

    with mock.patch.object(compiler, "get_compile_options", quick):
        yield
