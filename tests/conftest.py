"""Settings of all tests: checked types, no implicit rank promotion, a compilation cache that survives the run."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import pytest

# Before any import of the packages, so that every annotation in them is checked at run time.
jaxtyping.install_import_hook(["swmjax", "envs_mjx"], "typechecking.check")


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    if jax.config.jax_compilation_cache_dir is None and getattr(config, "cache", None) is not None:
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
