"""A process that was forked after JAX had been used there: JAX would wait for threads that only the parent has."""

import os

from jax._src import xla_bridge  # JAX tells in public only after it has started its backends

from envs_mjx.checks import UserError

_broken = False


def _note_fork() -> None:
    global _broken
    _broken = _broken or xla_bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def check_process() -> None:
    """Raise in a process that JAX can only hang in.

    Raises:
        UserError: names what to do instead.
    """
    if _broken:
        raise UserError(
            "this process was forked after JAX had been used, and JAX hangs in it: start processes with spawn "
            "(for gymnasium.make_vec, vector_kwargs={'context': 'spawn'}), or leave out vectorization_mode, "
            "since gymnasium.make_vec(id, num_envs=...) steps all environments of this library in one compiled call"
        )
