"""Settings of all tests: checked types, no implicit rank promotion, a compilation cache that survives the run."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import jaxtyping
import pytest

# Before any import of the packages, so that every annotation in them is checked at run time.
jaxtyping.install_import_hook(["swmjax", "envs_mjx"], "typechecking.check")


# What takes long here is compiling, at the first example.
hypothesis.settings.register_profile("swmjax", deadline=None)
hypothesis.settings.load_profile("swmjax")


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Through the environment as well, so that processes started by tests share the cache and leave the user's alone.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.rootpath / ".pytest_cache" / "d" / "jax")
        jax.config.update("jax_compilation_cache_dir", folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(autouse=True, scope="module")
def programs_are_let_go():
    """Compiled programs serve all files of tests until they fill half of the memory maps that a process may have.

    Each maps memory in pieces, of which Linux allows 65,530: the whole suite in one process needs more, and then XLA
    crashes.
    """
    yield
    maps, most = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
    if maps.exists() and maps.read_bytes().count(b"\n") > int(most.read_text()) // 2:
        jax.clear_caches()
