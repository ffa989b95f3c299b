"""The `_target_` strings of `config.json` that swmjax knows, and what each one is configured by.

Targets are looked up here; nothing is imported by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.models.layers import EmbedderConfig, MLPConfig
from swmjax.models.lewm import LeWMConfig
from swmjax.models.predictor import PredictorConfig
from swmjax.models.vit import ViTConfig

_Norm: TypeAlias = Literal["batch", "layer"]

_VIT_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
MAX_SIZE = 2**16
"""Largest width or image side accepted; keeps a damaged file from asking for a model that cannot exist."""
MAX_DEPTH = 256
"""Largest number of layers accepted."""

_REQUIRED = object()
_HYDRA = {"_target_", "_partial_", "_recursive_", "_convert_"}


def build_config(config: Mapping[str, Any]) -> LeWMConfig:
    """Turn the content of `config.json` into the hyperparameters of the model it describes.

    Args:
        config: the JSON object.

    Returns:
        The configuration of a model that `swmjax.models` has.

    Raises:
        CheckpointError: an unknown target or field, a missing field, or a value out of range; names the key.

    Source: reference, `config/train/model/*.yaml` and the constructors these files name.
    """
    if "_target_" not in config:
        nested = isinstance(config.get("model"), dict)
        hint = "; this looks like a training configuration: its part under 'model' is what is needed" if nested else ""
        raise CheckpointError(f"_target_: is missing; allowed are {', '.join(_MODELS)}{hint}")
    return _build(_Node(config, ""), _MODELS)


@dataclass
class _Node:
    """A dict of the configuration, its place, and the fields that were asked for so far."""

    values: Mapping[str, Any]
    place: str
    known: set[str] = field(default_factory=set)

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        self.known.add(name)
        value = self.values.get(name, default)
        if value is _REQUIRED:
            raise CheckpointError(f"{self.at(name)}: is missing")
        return value

    def size(self, name: str, default: Any = _REQUIRED, limit: int = MAX_SIZE) -> int:
        value = self.take(name, default)
        if type(value) is not int or not 1 <= value <= limit:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is an integer from 1 to {limit}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if type(value) is not bool:
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed are true and false")
        return value

    def rates(self, *names: str) -> None:
        """Numbers that act only in training: checked, then dropped."""
        for name in names:
            value = self.take(name, 0.0)
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is a number in [0, 1)")

    def fixed(self, **values: Any) -> None:
        """Settings of which swmjax implements one value only."""
        for name, allowed in values.items():
            value = self.take(name, allowed)
            if type(value) is not type(allowed) or value != allowed:
                raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is {shown(allowed)}")

    def child(self, name: str, targets: _Targets) -> Any:
        value = self.take(name)
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.at(name)}: is {shown(value)}; allowed is an object with a _target_")
        return _build(_Node(value, self.at(name)), targets)

    def child_or_none(self, name: str, targets: _Targets) -> Any:
        return None if self.take(name, None) is None else self.child(name, targets)

    def refuse_the_rest(self) -> None:
        for name in sorted(set(self.values) - self.known - _HYDRA):
            near = difflib.get_close_matches(name, self.known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; allowed are {', '.join(sorted(self.known - _HYDRA))}"
            raise CheckpointError(f"{self.at(shown(name).strip(chr(39)))}: is not a known field{hint}")


_Targets: TypeAlias = Mapping[str, Callable[[_Node], Any]]


def _build(node: _Node, targets: _Targets) -> Any:
    target = node.take("_target_")
    if not isinstance(target, str) or target not in targets:
        near = difflib.get_close_matches(str(target), targets, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CheckpointError(
            f"{node.at('_target_')}: {shown(target)} is not known; allowed are {', '.join(targets)}{hint}"
        )
    try:
        built = targets[target](node)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{node.place or target}: {error}") from None
    node.refuse_the_rest()
    return built


def _vit(node: _Node) -> ViTConfig:
    size = node.take("size", "tiny")
    if not isinstance(size, str) or size not in _VIT_SIZES:
        raise CheckpointError(f"{node.at('size')}: is {shown(size)}; allowed are {', '.join(_VIT_SIZES)}")
    width, layers, heads = _VIT_SIZES[size]
    node.flag("pretrained", False)
    node.rates("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
    node.fixed(hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True)
    return ViTConfig(
        image_size=node.size("image_size", 224),
        patch_size=node.size("patch_size", 16),
        hidden_size=node.size("hidden_size", width),
        num_hidden_layers=node.size("num_hidden_layers", layers, MAX_DEPTH),
        num_attention_heads=node.size("num_attention_heads", heads),
        intermediate_size=node.size("intermediate_size", 4 * width),
        use_mask_token=node.flag("use_mask_token", True),
        num_channels=node.size("num_channels", 3),
    )


def _predictor(node: _Node) -> PredictorConfig:
    node.rates("dropout", "emb_dropout")
    input_dim = node.size("input_dim")
    return PredictorConfig(
        num_frames=node.size("num_frames"),
        input_dim=input_dim,
        hidden_dim=node.size("hidden_dim"),
        output_dim=_size_or(node, "output_dim", input_dim),
        depth=node.size("depth", limit=MAX_DEPTH),
        heads=node.size("heads"),
        mlp_dim=node.size("mlp_dim"),
        dim_head=node.size("dim_head", 64),
    )


def _embedder(node: _Node) -> EmbedderConfig:
    return EmbedderConfig(
        input_dim=node.size("input_dim", 10),
        emb_dim=node.size("emb_dim", 10),
        smoothed_dim=node.size("smoothed_dim", 10),
        mlp_scale=node.size("mlp_scale", 4),
    )


def _mlp(node: _Node) -> MLPConfig:
    input_dim = node.size("input_dim")
    has_norm = "norm_fn" in node.values
    return MLPConfig(
        input_dim=input_dim,
        hidden_dim=node.size("hidden_dim"),
        output_dim=_size_or(node, "output_dim", input_dim),
        norm=node.child_or_none("norm_fn", _NORMS) if has_norm else "layer",
    )


def _size_or(node: _Node, name: str, default: int) -> int:
    """A size that may be null or absent, as the reference's `output_dim=None`."""
    return default if node.take(name, None) is None else node.size(name)


def _norm(kind: _Norm) -> Callable[[_Node], _Norm]:
    def build(node: _Node) -> _Norm:
        node.fixed(_partial_=True)
        return kind

    return build


def _lewm(node: _Node) -> LeWMConfig:
    config = LeWMConfig(
        encoder=node.child("encoder", _ENCODERS),
        predictor=node.child("predictor", _PREDICTORS),
        action_encoder=node.child("action_encoder", _EMBEDDERS),
        projector=node.child_or_none("projector", _MLPS),
        pred_proj=node.child_or_none("pred_proj", _MLPS),
    )
    # The reference's constructor swallows every other argument; released files carry a few.
    node.known |= set(node.values)
    return config


_PARTS = ("stable_worldmodel.wm.lewm.module", "module")
_NORMS: _Targets = {"torch.nn.BatchNorm1d": _norm("batch"), "torch.nn.LayerNorm": _norm("layer")}
_MLPS: _Targets = {f"{module}.MLP": _mlp for module in _PARTS}
_EMBEDDERS: _Targets = {f"{module}.Embedder": _embedder for module in _PARTS}
_PREDICTORS: _Targets = {f"{_PARTS[0]}.Predictor": _predictor, f"{_PARTS[1]}.ARPredictor": _predictor}
_ENCODERS: _Targets = {"stable_pretraining.backbone.utils.vit_hf": _vit}
_MODELS: _Targets = {
    "stable_worldmodel.wm.lewm.LeWM": _lewm,
    "stable_worldmodel.wm.lewm.lewm.LeWM": _lewm,
    "stable_worldmodel.wm.LeWM": _lewm,
    "jepa.JEPA": _lewm,
}
