"""Training states on disk: one Orbax folder for each, the last two kept."""

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_mjx.checks import UserError
from swmjax.runs.files import disk_errors

KEPT = 2
"""Saved states that stay."""
_FOLDER = "checkpoints"
_NAME = re.compile(r"\d{6,}")
_YOUNGER = ("success",)
"""Attributes of environments' states that older runs lack; the next step writes them before anything reads them."""


def save_state(run: Path, epoch: int, state: Any) -> None:
    """Save a training state; it is there whole or not at all, and older ones but the last are removed.

    Args:
        run: the run folder.
        epoch: number of the epoch that it is the end of.
        state: pytree of arrays and typed keys.

    Raises:
        OSError: as the file system says it; names the folder of states.
    """
    import orbax.checkpoint as ocp

    root = run / _FOLDER
    target = root / f"{epoch:06d}"
    arrays = {name: np.asarray(leaf) for name, leaf in _named(state).items() if leaf.size}
    with disk_errors(root), ocp.PyTreeCheckpointer() as checkpointer:
        root.mkdir(exist_ok=True)
        checkpointer.save(target.absolute(), arrays, force=True)
    keep = {f"{number:06d}" for number in saved_epochs(run)[-KEPT:]}
    for path in root.iterdir():
        # What an interrupted save left goes as well.
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def saved_epochs(run: Path) -> list[int]:
    """Numbers of the epochs whose states are saved, ascending."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(int(path.name) for path in (run / _FOLDER).iterdir() if _NAME.fullmatch(path.name))
    return []


def load_state(run: Path, epoch: int, like: Any) -> Any:
    """A saved training state.

    Args:
        run: the run folder.
        epoch: one of `saved_epochs`.
        like: pytree of the same structure, of arrays or their shapes and dtypes.

    Returns:
        The state, equal to the saved one to the bit.

    Raises:
        UserError: it is damaged, or of other settings; names the folder.
    """
    import orbax.checkpoint as ocp

    folder = run / _FOLDER / f"{epoch:06d}"
    hint = f"; move it away to go on from an older one in {folder.parent}"
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            found = checkpointer.restore(folder.absolute())
    except Exception as error:  # tensorstore and Orbax raise whatever a damaged file leads them to
        raise UserError(f"{folder}: is damaged, {' '.join(str(error).split())[:200]}{hint}") from error
    wanted = {name: leaf for name, leaf in _named(like).items() if leaf.size}
    wanted = {name: leaf for name, leaf in wanted.items() if name in found or name.rpartition("/")[2] not in _YOUNGER}
    if set(found) != set(wanted):
        names = ", ".join(sorted(set(found) ^ set(wanted))[:3])
        raise UserError(f"{folder}: is a state of other settings (it differs in {names}){hint}")
    for name, leaf in wanted.items():
        if found[name].shape != leaf.shape or found[name].dtype != leaf.dtype:
            raise UserError(
                f"{folder}: is a state of other settings ({name} is {found[name].dtype}{list(found[name].shape)}, "
                f"expected {leaf.dtype}{list(leaf.shape)}){hint}"
            )

    def restored(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        value = found.get(name)
        if value is None:
            return jnp.zeros(leaf.shape, leaf.dtype)
        return jax.random.wrap_key_data(jnp.asarray(value)) if is_key else jnp.asarray(value)

    return jax.tree_util.tree_map_with_path(restored, like)


def _named(state: Any) -> dict[str, Any]:
    """Leaves by path, keys as the numbers that they are made of."""

    def plain(leaf: Any) -> Any:
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return (
            jax.eval_shape(jax.random.key_data, leaf)
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else (jax.random.key_data(leaf))
        )

    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): plain(leaf) for path, leaf in leaves}
