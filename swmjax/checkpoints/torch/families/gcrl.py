"""GCBC, GCIQL, GCIVL and HILP in checkpoints.

GCBC's files describe the model. Those of the other three hold the settings of the training script, which do not say
which parts a file has; `complete` asks the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jax import Array

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.backbones import DINOV2, VIT, describe_backbone, describe_vit, frame_side
from swmjax.checkpoints.torch.families.prejepa import block_causal, describe_embedders, embedders, trunk_sizes
from swmjax.checkpoints.torch.family import Family, Settings, normal
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node, Targets
from swmjax.models.blocks.dinov2 import DINOv2Config
from swmjax.models.blocks.layers import LinearEmbedderConfig
from swmjax.models.blocks.resnet import ResNetConfig
from swmjax.models.blocks.transformer import TrunkConfig
from swmjax.models.blocks.vit import ViTConfig
from swmjax.models.gcrl.gcrl import GCRL, GCRLConfig, Wrapper
from swmjax.models.gcrl.predictors import GoalPredictorConfig, MetricValuePredictorConfig, QPredictorConfig
from swmjax.models.gcrl.transformer import layer_kinds

_MODULES = ("stable_worldmodel.wm.gcrl.module", "stable_worldmodel.wm.gcrl")
_FROZEN = "stable_pretraining.backbone.utils.EvalOnly"
_TEACHER = "stable_pretraining.backbone.utils.TeacherStudentWrapper"
_CLASSES: dict[type, str] = {
    GoalPredictorConfig: "Predictor",
    QPredictorConfig: "QPredictor",
    MetricValuePredictorConfig: "MetricValuePredictor",
}
_POOLS = {"attention": "attention", "mean": "mean"}
_RESNETS = {
    "50": ResNetConfig(),
    "101": ResNetConfig(depths=(3, 4, 23, 3)),
    "152": ResNetConfig(depths=(3, 8, 36, 3)),
    "18": ResNetConfig(hidden_sizes=(64, 128, 256, 512), depths=(2, 2, 2, 2), layer_type="basic"),
    "34": ResNetConfig(hidden_sizes=(64, 128, 256, 512), depths=(3, 4, 6, 3), layer_type="basic"),
    "26": ResNetConfig(depths=(2, 2, 2, 2)),
}
BACKBONES = {
    **DINOV2,
    **{f"microsoft/resnet-{size}": config for size, config in _RESNETS.items()},
    "resnet_50": _RESNETS["50"],
    "resnet_101": _RESNETS["101"],
}
"""Names of `create_backbone` that a goal-conditioned baseline may have."""


@dataclass(frozen=True)
class TrainedGCRLConfig(GCRLConfig):
    """All parts that a run of the training scripts may have saved; `complete` leaves those that a file has."""


def _predictor(node: Node) -> GoalPredictorConfig:
    node.fixed(causal=True)
    pool = node.choice("pool_type", _POOLS, "attention")
    return GoalPredictorConfig(**trunk_sizes(node), out_dim=node.size("out_dim"), pool=pool)


def _q_predictor(node: Node) -> QPredictorConfig:
    node.fixed(causal=True)
    return QPredictorConfig(
        **trunk_sizes(node),
        action_dim=node.size("action_dim"),
        q_hidden_dim=node.size("q_hidden_dim", 256),
        pool=node.choice("pool_type", _POOLS, "attention"),
    )


def _metric(node: Node) -> MetricValuePredictorConfig:
    node.fixed(causal=True)
    return MetricValuePredictorConfig(**trunk_sizes(node), embed_dim=node.size("embed_dim", 64))


def _every(name: str, make: Any) -> Targets:
    return {f"{module}.{name}": make for module in _MODULES}


_ENCODERS: Targets = {
    **VIT,
    "stable_worldmodel.wm.prejepa.module.create_backbone": lambda node: node.choice("name", BACKBONES),
    "stable_worldmodel.wm.prejepa.create_backbone": lambda node: node.choice("name", BACKBONES),
}


def _wrappable(targets: Targets) -> Targets:
    """Targets of a part and of its wrappers; each builds a pair of the part's configuration and the wrapper."""

    def frozen(node: Node) -> tuple[Any, Wrapper]:
        return node.child("backbone", targets), "frozen"

    def teacher(node: Node) -> tuple[Any, Wrapper]:
        node.flag("warm_init", True)
        for name in ("base_ema_coefficient", "final_ema_coefficient"):
            node.number(name, 1.0)
        return node.child("student", targets), "teacher"

    def alone(make: Callable[[Node], Any]) -> Callable[[Node], tuple[Any, Wrapper]]:
        return lambda node: (make(node), "none")

    plain: Targets = {target: alone(make) for target, make in targets.items()}
    return {**plain, _FROZEN: frozen, _TEACHER: teacher}


def _gcrl(node: Node) -> GCRLConfig:
    node.fixed(pixel_token="patch")
    node.flag("interpolate_pos_encoding", True)
    values = {**_every("Predictor", _predictor), **_every("MetricValuePredictor", _metric)}
    encoder, encoder_wrapper = node.child("encoder", _wrappable(_ENCODERS))
    value_wrapper: Wrapper
    critic_wrapper: Wrapper
    value, value_wrapper = node.child_or_none("value_predictor", _wrappable(values)) or (None, "none")
    critics = _wrappable(_every("QPredictor", _q_predictor))
    critic, critic_wrapper = node.child_or_none("critic_predictor", critics) or (None, value_wrapper)
    if value is not None and critic_wrapper != value_wrapper:
        raise CheckpointError(
            f"{node.at('critic_predictor')}: is wrapped as {critic_wrapper}; allowed is {value_wrapper}, as the value"
        )
    return GCRLConfig(
        encoder=encoder,
        action_predictor=node.child("action_predictor", _every("Predictor", _predictor)),
        value=value,
        critic=critic,
        encoder_wrapper=encoder_wrapper,
        value_wrapper=critic_wrapper,
        extra_encoders=node.child_or_none("extra_encoders", embedders(*_MODULES)) or (),
        history_size=node.size("history_size", 3),
        log_std_min=node.number("log_std_min", -5.0),
        log_std_max=node.number("log_std_max", 2.0),
    )


def _are_settings(config: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a training script of this family."""
    return all(isinstance(config.get(name), dict) for name in ("dinowm", "predictor"))


def _from_settings(node: Node) -> TrainedGCRLConfig:
    """The model that the scripts `gciql`, `gcivl`, `hilp` and the older `gcbc` build from their settings."""
    settings, predictor = node.object("dinowm"), node.object("predictor")
    image, patch = node.size("image_size"), node.size("patch_size")
    dino = node.choice("encoder_type", {"dino": DINOV2["dinov2_small"], "vit_tiny": None}, "dino")
    encoder: DINOv2Config | ViTConfig = dino or ViTConfig(image, patch, 192, 12, 3, 768)
    extra: tuple[tuple[str, LinearEmbedderConfig], ...] = ()
    if settings.flag("use_proprio_encoder", True):
        proprio = LinearEmbedderConfig(settings.size("proprio_dim"), settings.size("proprio_embed_dim"))
        extra = (("proprio", proprio),)
    sizes = trunk_sizes(
        Node(
            {
                **predictor.values,
                "num_patches": (image // patch) ** 2,
                "num_frames": settings.size("history_size"),
                "dim": encoder.hidden_size + sum(embedder.emb_dim for _, embedder in extra),
            },
            "predictor",
        )
    )
    actions = node.size("frameskip", 1) * settings.size("action_dim")
    # Everything else is about data and optimisation.
    node.known |= set(node.values)
    return TrainedGCRLConfig(
        encoder=encoder,
        action_predictor=GoalPredictorConfig(**sizes, out_dim=actions),
        value=GoalPredictorConfig(**sizes, out_dim=1, pool="mean"),
        critic=QPredictorConfig(**sizes, action_dim=actions, pool="mean"),
        extra_encoders=extra,
        history_size=settings.size("history_size"),
    )


def _complete(config: GCRLConfig, names: Collection[str]) -> GCRLConfig:
    """The configuration with the wrappers of training that the names of its tensors show.

    One from the settings of a training script loses the parts that the file lacks, and gets HILP's value where it has
    that.
    """
    found = [name for name in map(KeyRules().canonical, names) if name]

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in found)

    def wrapper(place: str) -> Wrapper:
        if has(f"{place}.student."):
            return "teacher"
        return "frozen" if has(f"{place}.backbone.") else "none"

    value, critic = config.value, config.critic
    if isinstance(config, TrainedGCRLConfig):
        critic = critic if has("critic_predictor.") else None
        if not has("value_predictor."):
            value = None
        elif any(name.startswith("value_predictor.") and ".embed_proj." in name for name in found):
            sizes = {size.name: getattr(config.action_predictor, size.name) for size in fields(TrunkConfig)}
            value = MetricValuePredictorConfig(**sizes)
    told = {
        "value": value,
        "critic": critic,
        "encoder_wrapper": "frozen" if has("encoder.backbone.") else "none",
        "value_wrapper": wrapper("value_predictor"),
    }
    return GCRLConfig(**{**vars(config), **told})


def _rules(config: GCRLConfig) -> KeyRules:
    place = "encoder.backbone" if config.encoder_wrapper == "frozen" else "encoder"
    masks = (r"\.causal_mask$",)
    if isinstance(config.encoder, DINOv2Config):
        return KeyRules(dinos=(place,), unused=masks)
    return KeyRules(vits=(place,), unused=masks)


def _describe(config: GCRLConfig) -> dict[str, Any]:
    module = _MODULES[0]

    def wrapped(part: dict[str, Any] | None, wrapper: Wrapper) -> dict[str, Any] | None:
        if part is None or wrapper == "none":
            return part
        return (
            {"_target_": _FROZEN, "backbone": part} if wrapper == "frozen" else {"_target_": _TEACHER, "student": part}
        )

    def predictor(part: Any) -> dict[str, Any] | None:
        if part is None:
            return None
        fields = {"pool_type" if name == "pool" else name: value for name, value in vars(part).items()}
        return {"_target_": f"{module}.{_CLASSES[type(part)]}", **fields}

    encoder = (
        describe_vit(config.encoder)
        if isinstance(config.encoder, ViTConfig)
        else describe_backbone(config.encoder, BACKBONES, "stable_worldmodel.wm.prejepa.module")
    )
    described = {
        "_target_": "stable_worldmodel.wm.gcrl.gcrl.GCRL",
        "encoder": wrapped(encoder, config.encoder_wrapper),
        "action_predictor": predictor(config.action_predictor),
        "value_predictor": wrapped(predictor(config.value), config.value_wrapper),
        "critic_predictor": wrapped(predictor(config.critic), config.value_wrapper),
        "extra_encoders": describe_embedders(config.extra_encoders, module) if config.extra_encoders else None,
    }
    return described | {name: getattr(config, name) for name in ("history_size", "log_std_min", "log_std_max")}


def _buffers(config: GCRLConfig) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    below = {"none": (".",), "frozen": (".backbone.",), "teacher": (".student.", ".teacher.")}[config.value_wrapper]
    places: dict[str, Any] = {"action_predictor.": config.action_predictor}
    for name, part in (("value_predictor", config.value), ("critic_predictor", config.critic)):
        places |= {name + suffix: part for suffix in below if part is not None}
    for place, part in places.items():
        full = block_causal(part.num_frames, part.num_patches)
        kinds = layer_kinds(part.depth, getattr(part, "pool", "attention"), not hasattr(part, "embed_dim"))
        for i, kind in enumerate(kinds):
            if kind != "cross":
                mask = full if kind == "self" else full[:, :, :: part.num_patches]
                masks[f"{place}transformer.layers.{i}.0.causal_mask"] = mask
    return masks


def _example() -> GCRLConfig:
    predictor = GoalPredictorConfig(num_patches=4, num_frames=3, dim=10, depth=2, heads=2, mlp_dim=16, out_dim=2)
    encoder, embedders = ViTConfig(16, 8, 8, 1, 2, 16), (("proprio", LinearEmbedderConfig(3, 2)),)
    return GCRLConfig(encoder, predictor, extra_encoders=embedders)


def _inputs(config: GCRLConfig, draw: np.random.Generator) -> dict[str, np.ndarray]:
    side = frame_side(config.encoder, config.action_predictor.num_patches)
    given = {name: normal(draw, 1, 1, config.encoder.num_channels, side, side) for name in ("pixels", "goal")}
    for name, embedder in config.extra_encoders:
        given |= {name: normal(draw, 1, 1, embedder.in_chans), f"goal_{name}": normal(draw, 1, 1, embedder.in_chans)}
    return given


def _outputs(model: GCRL, given: Mapping[str, Array]) -> dict[str, Array]:
    out = {"action": model.get_action(given)}
    if model.config.value is not None:
        out["value"] = model.predict_values(model.encode(given), model.encode_goal(given))
    return out


_REFERENCE = """
out["action"] = model.get_action(dict(given))
if "value" in wanted:
    info = dict(given)
    model.encode(info, target="embed")
    model.encode(info, pixels_key="goal", prefix="goal_", target="goal_embed")
    out["value"] = model.predict_values(info["embed"], info["goal_embed"])
"""
FAMILY = Family(
    model=GCRL,
    config=GCRLConfig,
    targets={
        "stable_worldmodel.wm.gcrl.gcrl.GCRL": _gcrl,
        "stable_worldmodel.wm.gcrl.GCRL": _gcrl,
        "stable_worldmodel.wm.GCRL": _gcrl,
    },
    rules=_rules,
    describe=_describe,
    example=_example,
    inputs=_inputs,
    outputs=_outputs,
    reference=_REFERENCE,
    buffers=_buffers,
    complete=_complete,
    settings=Settings(_are_settings, _from_settings),
    backbone=lambda config: config.encoder,
)
