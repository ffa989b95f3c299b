"""How the files of one family name their tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_WRAPPERS = re.compile(r"^(?:(?:module|model|_orig_mod)\.)+|(?<=\.)(?:module|_orig_mod)\.")
_MODULE = re.compile(r"(?:(?:module|model|_orig_mod)\.)*([^.]+)(?:\.(?:module|_orig_mod)(?=\.))*")
_MODULES_OF_4 = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.weights_out": "mlp.down_proj",
}
_VIT_MODULES_OF_5 = {new: old for old, new in _MODULES_OF_4.items()}
# DINOv2 always called its feed-forward layers so.
_DINO_MODULES_OF_5 = {new: old for new, old in _VIT_MODULES_OF_5.items() if not new.startswith("mlp.fc")}
FUSED_OF_4 = {"mlp.weights_in": ("mlp.gate_proj", "mlp.up_proj")}
"""Modules of transformers 4 whose rows version 5 shares out to several."""


@dataclass(frozen=True)
class KeyRules:
    """Names of one family's tensors.

    Args:
        vits: places of a ViT of transformers, for example 'encoder'. Below them the names of versions 4 and 5 are
            understood; swmjax calls layer i `layers.i`.
        dinos: places of a DINOv2 of transformers, likewise.
        unused: expressions; a tensor whose name matches one is not needed for inference.
    """

    vits: tuple[str, ...] = ()
    dinos: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def canonical(self, name: str) -> str | None:
        """The one name that swmjax knows a torch tensor by.

        Args:
            name: a key of a state dict. Wrappers of training are dropped: `model.` in front, and `module.` and
                `_orig_mod.` (of parallel and of compiled modules) wherever they stand.

        Returns:
            The name, or None for a tensor that inference does not use.

        Source: transformers, `models/vit` and `models/dinov2`.
        """
        name = self.bare(name)
        if name.endswith(".num_batches_tracked") or any(re.search(pattern, name) for pattern in self.unused):
            return None
        if layer := self._layer(name):
            place, index, module, leaf = layer.group("place", "index", "module", "leaf")
            return f"{place}.layers.{index}.{_MODULES_OF_4.get(module, module)}.{leaf}"
        return name

    def bare(self, name: str) -> str:
        """A name without the wrappers of training."""
        return _WRAPPERS.sub("", name)

    def module(self, name: str) -> tuple[str, str]:
        """The part of the file that a tensor belongs to, wrappers included, and the model's attribute that it is."""
        found = _MODULE.match(name)
        return (found[0], found[1]) if found else (name, name)

    def spelled(self, name: str, transformers: Literal[4, 5]) -> str:
        """A canonical name as a file has it that was written with that version of transformers."""
        if not (layer := self._layer(name)):
            return name
        place, index, module, leaf = layer.group("place", "index", "module", "leaf")
        dino = place in self.dinos
        if transformers == 4:
            module = (_DINO_MODULES_OF_5 if dino else _VIT_MODULES_OF_5).get(module, module)
        layers = "encoder.layer" if dino or transformers == 4 else "layers"
        return f"{place}.{layers}.{index}.{module}.{leaf}"

    def version_of(self, name: str) -> Literal[4, 5] | None:
        """The version of transformers that gives a tensor this name; None if both do."""
        layer = self._layer(self.bare(name))
        if not layer:
            return None
        old, new = layer["module"] in _MODULES_OF_4, layer["module"] in _VIT_MODULES_OF_5
        return 4 if old else 5 if new and layer["module"].startswith("attention.") else None

    def _layer(self, name: str) -> re.Match[str] | None:
        if not (places := "|".join(map(re.escape, self.vits + self.dinos))):
            return None
        pattern = rf"(?P<place>{places})\.(?:encoder\.)?layers?\.(?P<index>\d+)\.(?P<module>.+)\.(?P<leaf>\w+)"
        return re.fullmatch(pattern, name)
