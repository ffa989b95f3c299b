"""Programs that compile six times as fast, unoptimised, for tests that check numbers and not speed."""

import functools

import jax

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
quick_jit = functools.partial(jax.jit, compiler_options=QUICK)
