"""Turn a torch checkpoint into one of swmjax, and say what became of every tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from swmjax.checkpoints.errors import CheckpointError, warn
from swmjax.checkpoints.names import CheckpointFiles, checkpoint_path, resolve_checkpoint
from swmjax.checkpoints.native import check_free, save
from swmjax.checkpoints.torch.read import TorchCheckpoint
from swmjax.checkpoints.torch.source import Loaded

LEFT_OUT = "left out"
"""What becomes of tensors beside the model: losses and callbacks of a training module, states of optimisers."""


@dataclass(frozen=True)
class ModuleRow:
    """The tensors of one part of a file.

    Attributes:
        module: the part, as the file names it.
        tensors: how many.
        parameters: their elements.
        dtypes: their dtypes, the most frequent first.
        becomes: the part of the model that they fill, '' for those that inference does not use and an export writes
            back, or `LEFT_OUT` for those that are no part of the model.
    """

    module: str
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    becomes: str


@dataclass(frozen=True)
class Import:
    """An import, done or planned.

    Attributes:
        files: what was read.
        dest: the checkpoint of swmjax.
        loaded: the model.
        rows: what became of the tensors, part by part.
        entry: the entry of the file that held the state dict; '' for its top level.
    """

    files: CheckpointFiles
    dest: Path
    loaded: Loaded
    rows: tuple[ModuleRow, ...]
    entry: str = ""

    @property
    def parameters(self) -> int:
        """Elements of all of the model's arrays."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.loaded.model)))

    def save(self) -> Path:
        """Write the checkpoint, with the action statistics that lie beside the source, if there are any."""
        statistics = self.files.config.with_name("action_stats.json")
        beside = {statistics.name: statistics.read_bytes()} if statistics.is_file() else {}
        return save(self.loaded, self.dest, beside=beside).wait()


def import_checkpoint(
    src: str | Path,
    dest: str | Path | None = None,
    *,
    root: Path | None = None,
    extra_args: Mapping[str, Any] | None = None,
    key: str | None = None,
    allow_nonfinite: bool = False,
    note: Callable[[str], None] = warn,
) -> Import:
    """Read a torch checkpoint for `Import.save`.

    Args:
        src: as for `load_pretrained`.
        dest: the checkpoint to write, relative to `root` unless it is absolute or starts with `.` or `~`; None for
            the name of the source with '-jax' behind it.
        root: the folder of checkpoints; None for `$STABLEWM_HOME/checkpoints`.
        extra_args: as for `load_pretrained`; the checkpoint that is written records them.
        key: as for `load_pretrained`.
        allow_nonfinite: as for `load_pretrained`.
        note: as for `load_pretrained`.

    Raises:
        CheckpointError: the source cannot be used; one line per problem.
        FileExistsError: something is at the destination.
    """
    files = resolve_checkpoint(src, root)
    if files.weights is None:
        raise CheckpointError(f"{files.config.parent}: is a checkpoint of swmjax already; load it as it is")
    folder = checkpoint_path(_default_name(src, files.weights) if dest is None else dest, root)
    check_free(folder, overwrite=False)
    checkpoint = TorchCheckpoint.read(files, extra_args, key=key, note=note)
    loaded = checkpoint.load(allow_nonfinite=allow_nonfinite)
    return Import(files, folder, loaded, _rows(checkpoint, loaded.model), checkpoint.entry)


def _default_name(src: str | Path, weights: Path) -> str:
    folder = weights.resolve().parent.name
    name = folder.rsplit("--", 1)[-1] if folder.startswith("models--") else folder
    named = Path(src).suffix == weights.suffix and weights.stem != "weights"
    return f"{name}-{weights.stem}-jax" if named else f"{name}-jax"


def _rows(checkpoint: TorchCheckpoint, model: Any) -> tuple[ModuleRow, ...]:
    rules = checkpoint.rules
    groups: dict[tuple[str, str], list[np.ndarray]] = {}
    for name, array in checkpoint.tensors.items():
        module, attribute = rules.module(name)
        kind = type(getattr(model, attribute, None)).__name__
        becomes = f"{attribute} ({kind})" if rules.canonical(name) is not None else ""
        groups.setdefault((module, becomes), []).append(array)
    for name, array in checkpoint.left_out.items():
        groups.setdefault((name.partition(".")[0], LEFT_OUT), []).append(array)
    rows = []
    for (module, becomes), arrays in groups.items():
        dtypes = Counter(array.dtype.name for array in arrays)
        kinds = tuple(name for name, _ in dtypes.most_common())
        rows.append(ModuleRow(module, len(arrays), sum(array.size for array in arrays), kinds, becomes))
    return tuple(rows)
