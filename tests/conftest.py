"""Settings of all tests: checked types, no implicit rank promotion, a compilation cache that survives the run."""

import os

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
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(autouse=True, scope="module")
def programs_are_let_go():
    """Compiled programs go with the file of tests that made them.

    Each maps memory in pieces, of which Linux allows a process 65,530: the whole suite in one process needs more, and
    then XLA crashes.
    """
    yield
    jax.clear_caches()
