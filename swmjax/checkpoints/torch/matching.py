"""Torch tensors matched with the parameters of an NNX model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from swmjax.checkpoints.errors import CheckpointError, listed, shown
from swmjax.checkpoints.torch.key_rules import FUSED_OF_4, KeyRules

_Path = tuple[str | int, ...]
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


@dataclass(frozen=True)
class TensorSpec:
    """A torch tensor that a model needs: its shape, how it becomes the parameter at `path`, and the way back."""

    path: _Path
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]
    restore: Callable[[np.ndarray], np.ndarray]


def tensor_specs(parameters: Mapping[Any, Any]) -> dict[str, TensorSpec]:
    """The torch tensors that fill a model whose attributes are named as the reference's.

    Args:
        parameters: everything with a `shape`, by its path in the model.

    Returns:
        Specs by canonical torch name. Dense kernels are (out, in) in torch, images OIHW, and an embedder's
        convolution of width 1 is (out, in, 1).
    """
    specs = {}
    for path, value in parameters.items():
        *owner, leaf = path
        shape: tuple[int, ...] = tuple(value.shape)
        convert, restore = _as_it_is, _as_it_is
        if leaf == "kernel" and len(shape) == 4:
            shape, convert, restore = (shape[3], shape[2], *shape[:2]), _from_oihw, _to_oihw
        elif leaf == "kernel" and owner[-1:] == ["patch_embed"]:
            shape, convert, restore = (*shape[::-1], 1), _from_width_1, _to_width_1
        elif leaf == "kernel":
            shape, convert, restore = shape[::-1], _transposed, _transposed
        name = ".".join(map(str, (*owner, _LEAVES.get(str(leaf), leaf))))
        specs[name] = TensorSpec(path, shape, convert, restore)
    return specs


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


def _transposed(array: np.ndarray) -> np.ndarray:
    return array.T


def _from_oihw(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0)


def _to_oihw(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1)


def _to_width_1(array: np.ndarray) -> np.ndarray:
    return array.T[:, :, None]


def _from_width_1(array: np.ndarray) -> np.ndarray:
    return array[:, :, 0].T


def _pieces(tensors: Mapping[str, np.ndarray], rules: KeyRules) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name in the file, canonical name and value of every tensor that inference uses."""
    for original, array in tensors.items():
        name = rules.canonical(original)
        if name is None:
            continue
        fused = next((old for old in FUSED_OF_4 if f".{old}." in name and array.ndim), None)
        if fused is None:
            yield original, name, array
            continue
        for part, piece in zip(FUSED_OF_4[fused], np.array_split(array, len(FUSED_OF_4[fused])), strict=True):
            yield original, name.replace(fused, part), piece


def spell_tensors(
    tensors: Mapping[str, np.ndarray], rules: KeyRules, transformers: Literal[4, 5]
) -> dict[str, np.ndarray]:
    """Tensors under the names that a version of transformers gives them.

    Args:
        tensors: tensors by canonical name.
        rules: how files of the model's family name their tensors.
        transformers: the version.
    """
    spelled: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        fused = None
        if transformers == 4:
            fused = next((old for old, parts in FUSED_OF_4.items() if any(f".{part}." in name for part in parts)), None)
        if fused is None:
            spelled[rules.spelled(name, transformers)] = array
        elif f".{FUSED_OF_4[fused][0]}." in name:
            first, *others = FUSED_OF_4[fused]
            rows = np.concatenate([array, *(tensors[name.replace(first, other)] for other in others)])
            spelled[rules.spelled(name.replace(first, fused), transformers)] = rows
    return spelled


def version_in(names: Iterable[str], rules: KeyRules) -> Literal[4, 5]:
    """The version of transformers that named the tensors of a file; 5 if both would name them so."""
    return 4 if any(rules.version_of(name) == 4 for name in names) else 5


def match_tensors(
    tensors: Mapping[str, np.ndarray], specs: Mapping[str, TensorSpec], rules: KeyRules
) -> dict[_Path, np.ndarray]:
    """Pair the tensors of a file with the parameters of a model, strictly in both directions.

    Args:
        tensors: a torch state dict.
        specs: what the model needs, from `tensor_specs`.
        rules: how files of the model's family name their tensors.

    Returns:
        For every parameter its value in the model's layout, as a view where that is possible.

    Raises:
        CheckpointError: a missing, extra, misshapen, doubled or non-floating tensor; one line for each.
    """
    originals: dict[str, str] = {}
    matched: dict[_Path, np.ndarray] = {}
    wrong, extra = [], []
    for original, name, array in _pieces(tensors, rules):
        shown_name = shown(original, 200)[1:-1]
        spec = specs.get(name)
        if name in originals:
            wrong.append(
                f"{shown_name}: is the same tensor as {shown(originals[name], 200)[1:-1]}; expected one of them"
            )
        elif spec is None:
            extra.append(f"{shown_name}: is not a tensor of this model; found shape {array.shape}")
        elif array.shape != spec.shape:
            wrong.append(f"{shown_name}: expected shape {spec.shape}, found {array.shape}")
        elif array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
            wrong.append(f"{shown_name}: expected a floating-point tensor of shape {spec.shape}, found {array.dtype}")
        else:
            matched[spec.path] = spec.convert(array)
        originals.setdefault(name, original)
    version = version_in(tensors, rules)
    missing = [
        f"{rules.spelled(name, version)}: is missing; expected shape {spec.shape}"
        for name, spec in specs.items()
        if name not in originals
    ]
    problems = [*wrong, *missing, *extra]
    if problems:
        raise CheckpointError(listed(problems))
    return matched
