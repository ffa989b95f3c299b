"""The persistent compilation cache of JAX: what was compiled once is not compiled again by the next process."""

import os
import sys
from pathlib import Path

import platformdirs


def enable_compilation_cache(folder: Path | None = None) -> None:
    """Keep compiled programs on disk; a cache that the user configured already stays as it is.

    On for the command line; scripts and notebooks call it, best before they compile anything. It works through JAX's
    environment variables, so that JAX is not imported for it; where JAX is imported already, its settings are changed
    too. A folder that cannot be made leaves the cache off.

    Args:
        folder: where to keep programs; `$JAX_COMPILATION_CACHE_DIR`, else the user's cache folder, when None.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = platformdirs.user_cache_path("swmjax") / "jax" if folder is None else folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # Small programs are many, and reading one takes a fraction of the time of compiling it.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    jax = sys.modules.get("jax")
    if jax is not None and jax.config.jax_compilation_cache_dir is None:
        from jax.experimental.compilation_cache import compilation_cache

        jax.config.update("jax_compilation_cache_dir", str(folder))
        seconds = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
        # JAX looks for a cache once, when it first compiles; it shall look again.
        compilation_cache.reset_cache()
