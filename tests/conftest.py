"""Settings of all tests: checked types, no implicit rank promotion, a compilation cache that survives the run."""

import contextlib
import gc
import os
import re
import signal
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import jaxtyping
import pytest
from quick import quickly

# Before any import of the packages, so that every annotation in them is checked at run time.
jaxtyping.install_import_hook(["swmjax", "envs_mjx"], "typechecking.check")


# What takes long here is compiling, at the first example.
hypothesis.settings.register_profile("swmjax", deadline=None)
hypothesis.settings.load_profile("swmjax")


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and nohup the end of a terminal; some tests send both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Through the environment as well, so that processes started by tests share the cache and leave the user's alone.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.rootpath / ".pytest_cache" / "d" / "jax")
        jax.config.update("jax_compilation_cache_dir", folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


_last = {"quick": False}
"""Whether the file of tests before had quick programs."""


@pytest.fixture(autouse=True, scope="module")
def programs(request: pytest.FixtureRequest):
    """Programs are unoptimised, see `quick`, but in files with the mark `optimised`, which get none of the others.

    Slow tests and those beside the reference run what users run.

    They serve all files of their kind until they take 3 GB, or half of the memory maps that a process may have: each
    maps memory in pieces, of which Linux allows 65,530, and XLA crashes when they are used up.
    """
    quick = "not slow" in request.config.option.markexpr and request.node.get_closest_marker("optimised") is None
    if _last["quick"] and not quick:
        jax.clear_caches()
    _last["quick"] = quick
    with quickly() if quick else contextlib.nullcontext():
        yield
    here = Path("/proc/self")
    if here.exists():
        maps, most = (here / "maps").read_bytes().count(b"\n"), int(Path("/proc/sys/vm/max_map_count").read_text())
        resident = int((here / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if maps > most // 2 or resident > 3 * 2**30:
            jax.clear_caches()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one environment go to one worker, which traces and compiles its programs once; others go by file."""
    from xdist.scheduler import LoadScopeScheduling

    import envs_mjx

    ids = [id.lower() for id in envs_mjx.registered_ids() if id.startswith("swm/")]
    names = [re.sub(r"^swm/(simple)?|(dmcontrol|control)?-v\d+$", "", id) for id in ids]

    class ByEnvironment(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            test = nodeid.lower().replace("_", "")
            found = [name for name in names if name in test] if file.startswith("tests/envs/") else []
            return max(found, key=len, default=file)

    return ByEnvironment(config, log)


def pytest_collection_finish() -> None:
    """What is there by now stays; tracing makes many objects, among which garbage is looked for less often."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
