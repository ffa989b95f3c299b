"""The goal-conditioned baselines in checkpoints: configurations of both kinds, phases of training, and bad files."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import reference_python

from swmjax.checkpoints import CheckpointError, build_config, load_pretrained, read_state_dict
from swmjax.checkpoints.torch.families.gcrl import BACKBONES, FAMILY
from swmjax.checkpoints.torch.matching import tensor_specs
from swmjax.checkpoints.torch.read import build_model
from swmjax.models.blocks.dinov2 import DINOv2Config
from swmjax.models.blocks.layers import LinearEmbedderConfig
from swmjax.models.blocks.resnet import ResNet, ResNetConfig
from swmjax.models.blocks.two_hot import Bins
from swmjax.models.gcrl.gcrl import GCRLConfig
from swmjax.models.gcrl.predictors import (
    GoalPredictor,
    GoalPredictorConfig,
    MetricValuePredictor,
    MetricValuePredictorConfig,
    QPredictor,
    QPredictorConfig,
)
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2, TDMPC2Config

GOLDEN = Path(__file__).parents[2] / "golden"
GCBC = json.loads((GOLDEN / "gcrl_gcbc" / "config.json").read_text())
# The settings of `scripts/train/gciql.py`, as far as they matter and a few that do not.
SETTINGS: dict[str, Any] = {
    "output_model_name": "dinoiql",
    "trainer": {"max_epochs": 100},
    "image_size": 224,
    "patch_size": 14,
    "frameskip": 1,
    "dinowm": {
        "history_size": 3,
        "td_offset": 1,
        "use_proprio_encoder": False,
        "proprio_dim": 4,
        "proprio_embed_dim": 10,
        "action_dim": 2,
        "action_embed_dim": 10,
    },
    "predictor": {"depth": 6, "heads": 16, "mlp_dim": 2048, "dim_head": 64, "dropout": 0.0, "emb_dropout": 0.0},
    "encoder_type": "dino",
    "discount": 0.99,
}
TRUNK: dict[str, Any] = {"num_patches": 256, "num_frames": 3, "dim": 384, "depth": 6, "heads": 16, "mlp_dim": 2048}


def changed(config: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The configuration with one field set, or dropped for a value of None."""
    config = copy.deepcopy(config)
    *owners, name = place.split(".")
    node = config
    for owner in owners:
        node = node[owner]
    if value is None:
        del node[name]
    else:
        node[name] = value
    return config


def names_of(folder: str) -> list[str]:
    return list(read_state_dict(GOLDEN / folder / "weights.pt"))


def test_gcbc_of_the_reference() -> None:
    module = "stable_worldmodel.wm.gcrl.module"
    config = {
        "_target_": "stable_worldmodel.wm.gcrl.gcrl.GCRL",
        "history_size": 3,
        "encoder": {
            "_target_": "stable_worldmodel.wm.prejepa.module.create_backbone",
            "name": "facebook/dinov2-small",
        },
        "action_predictor": {"_target_": f"{module}.Predictor", **TRUNK, "out_dim": 2, "dim_head": 64, "dropout": 0.0},
    }
    built = build_config(config)
    assert built == GCRLConfig(encoder=DINOv2Config(), action_predictor=GoalPredictorConfig(**TRUNK, out_dim=2))
    assert build_config({"model": config, "wm": {"history_size": 3}, "trainer": {}}) == built
    for alias in ("wm.gcrl.GCRL", "wm.GCRL"):
        assert build_config({**config, "_target_": f"stable_worldmodel.{alias}"}) == built
    older = changed(config, "action_predictor._target_", "stable_worldmodel.wm.gcrl.Predictor")
    assert build_config(older) == built
    resnet = changed(changed(config, "encoder.name", "resnet_50"), "action_predictor.dim", 2048)
    assert build_config(resnet).encoder == ResNetConfig()


def test_extra_encoders_are_read() -> None:
    built = build_config(GCBC)
    assert built.extra_encoders == (("proprio", LinearEmbedderConfig(5, 4)),)
    assert (built.encoder_wrapper, built.value_wrapper, built.value) == ("none", "none", None)


def test_settings_of_a_training_script_are_completed_by_the_tensors() -> None:
    config = build_config(SETTINGS)
    value = GoalPredictorConfig(**TRUNK, out_dim=1, pool="mean")
    plain = GCRLConfig(encoder=DINOv2Config(), action_predictor=GoalPredictorConfig(**TRUNK, out_dim=2))
    phases = {
        "gcrl_gcbc": (None, None, "none", "none"),
        "gcrl_iql_value": (value, QPredictorConfig(**TRUNK, action_dim=2, pool="mean"), "frozen", "teacher"),
        "gcrl_ivl_policy": (value, None, "frozen", "frozen"),
        "gcrl_hilp_value": (MetricValuePredictorConfig(**TRUNK), None, "frozen", "teacher"),
    }
    for folder, expected in phases.items():
        full = FAMILY.complete(config, [f"model.{name}" for name in names_of(folder)])
        assert type(full) is GCRLConfig
        assert (full.value, full.critic, full.encoder_wrapper, full.value_wrapper) == expected
        assert (full.encoder, full.action_predictor) == (plain.encoder, plain.action_predictor)


def test_names_of_a_whole_model_are_the_references() -> None:
    """Heads as recorded (depth 3), behind a ViT trained from scratch."""
    settings = changed(changed(SETTINGS, "encoder_type", "vit_tiny"), "predictor.depth", 3)
    settings = changed(settings, "dinowm.use_proprio_encoder", True)
    recorded = names_of("gcrl_iql_value")
    config = FAMILY.complete(build_config(settings), recorded)
    model = nnx.eval_shape(lambda: FAMILY.model(config, rngs=nnx.Rngs(0)))
    specs = tensor_specs(dict(nnx.to_flat_state(nnx.state(model))))
    rules = FAMILY.rules(config)
    expected = {name for name in map(rules.canonical, recorded) if name}
    later = {name for name in specs if ".layers." in name and name.startswith("encoder.") and ".layers.0." not in name}
    assert set(specs) - later == expected
    assert len(later) == 11 * 16
    assert specs["extra_encoders.proprio.patch_embed.weight"].shape == (10, 4, 1)


@pytest.mark.parametrize("folder", ["gcrl_gcbc", "gcrl_iql_value", "gcrl_ivl_policy", "gcrl_hilp_value"])
def test_every_tensor_arrives_once(folder: str) -> None:
    tensors = read_state_dict(GOLDEN / folder / "weights.pt")
    model = load_pretrained(GOLDEN / folder)
    used = [array for name, array in tensors.items() if not name.endswith("causal_mask")]
    leaves = jax.tree.leaves(nnx.state(model))
    assert len(leaves) == len(used)
    assert sorted(float(np.sum(np.asarray(leaf), dtype=np.float64)) for leaf in leaves) == pytest.approx(
        sorted(float(np.sum(array, dtype=np.float64)) for array in used), abs=1e-5
    )


def test_a_missing_part_is_named() -> None:
    tensors = read_state_dict(GOLDEN / "gcrl_ivl_policy" / "weights.pt")
    config = build_config(json.loads((GOLDEN / "gcrl_ivl_policy" / "config.json").read_text()))
    config = FAMILY.complete(config, tensors)
    del tensors["value_predictor.backbone.out_proj.bias"]
    tensors["critic_predictor.out_proj.bias"] = np.ones(1, np.float32)
    with pytest.raises(CheckpointError) as caught:
        build_model(config, tensors, jnp.float32)
    assert str(caught.value).splitlines() == [
        "value_predictor.backbone.out_proj.bias: is missing; expected shape (1,)",
        "critic_predictor.out_proj.bias: is not a tensor of this model; found shape (1,)",
    ]


@pytest.mark.parametrize(
    ("config", "place", "value", "message"),
    [
        (GCBC, "action_predictor.causal", False, "action_predictor.causal: is False; allowed is True"),
        (
            GCBC,
            "action_predictor.pool_type",
            "max",
            "action_predictor.pool_type: is 'max'; allowed are attention, mean",
        ),
        (
            GCBC,
            "action_predictor.dim",
            12,
            "action_predictor.dim must be 16, the sizes of the encoders together, got 12",
        ),
        (GCBC, "encoder._target_", "timm.create_model", "encoder._target_: 'timm.create_model' is not known"),
        (GCBC, "log_std_min", 5, "log_std_min must not exceed log_std_max (2.0), got 5.0"),
        (SETTINGS, "encoder_type", "clip", "encoder_type: is 'clip'; allowed are dino, vit_tiny"),
        (SETTINGS, "predictor.heads", None, "predictor.heads: is missing"),
        (SETTINGS, "patch_size", 0, "patch_size: is 0; allowed is an integer from 1"),
        (SETTINGS, "dinowm", None, "_target_: is missing; allowed are "),
    ],
)
def test_bad_configurations_name_the_field(config: dict[str, Any], place: str, value: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        build_config(changed(config, place, value))
    assert message in str(caught.value)


def test_settings_with_too_small_an_image() -> None:
    config = changed(changed(SETTINGS, "encoder_type", "vit_tiny"), "image_size", 7)
    with pytest.raises(CheckpointError, match=r"ViTConfig.image_size must be at least patch_size \(14\), got 7"):
        build_config(config)


SHAPES = """
import json, torch, transformers
from omegaconf import OmegaConf
from stable_worldmodel.wm.gcrl import module
from stable_worldmodel.wm.tdmpc2 import TDMPC2
trunk = dict(num_patches=256, num_frames=3, dim=384, depth=6, heads=16, mlp_dim=2048)
wm = dict(mlp_dim=384, enc_dim=256, simnorm_dim=8, num_q=5, tau=.01, num_bins=101, vmin=-6, vmax=2)
wm["encoding"] = dict(pixels=128, state=128)
basic = dict(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
with torch.device("meta"):
    models = {
        "tdmpc2": TDMPC2(OmegaConf.create(dict(image_size=64, action_dim=2, extra_dims=dict(state=14), wm=wm))),
        "action": module.Predictor(**trunk, out_dim=2),
        "value": module.Predictor(**trunk, out_dim=1, pool_type="mean"),
        "critic": module.QPredictor(**trunk, action_dim=2, pool_type="mean"),
        "metric": module.MetricValuePredictor(**trunk),
    }
    for name, sizes in {"18": basic, "50": {}, "101": dict(depths=[3, 4, 23, 3])}.items():
        model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes))
        model.classifier[1] = torch.nn.LayerNorm(model.config.hidden_sizes[-1])
        models["resnet_" + name] = model
kept = lambda key: not key.endswith(("causal_mask", "num_batches_tracked"))
print(json.dumps({n: {k: list(v.shape) for k, v in m.state_dict().items() if kept(k)} for n, m in models.items()}))
"""


def _resnet(size: str) -> ResNet:
    return ResNet(BACKBONES[f"microsoft/resnet-{size}"], rngs=nnx.Rngs(0))


@pytest.mark.reference
def test_models_of_the_reference_settings_have_its_tensors() -> None:
    python = reference_python()
    printed = subprocess.run([python, "-W", "ignore", "-c", SHAPES], check=True, capture_output=True, text=True).stdout
    tdmpc2 = TDMPC2Config(
        action_dim=2, encoding=(("pixels", 128), ("state", 128)), extra_dims=(("state", 14),), bins=Bins(101, -6, 2)
    )
    made: dict[str, Callable[[], nnx.Module]] = {
        "tdmpc2": lambda: TDMPC2(tdmpc2, rngs=nnx.Rngs(0)),
        "action": lambda: GoalPredictor(GoalPredictorConfig(**TRUNK, out_dim=2), rngs=nnx.Rngs(0)),
        "value": lambda: GoalPredictor(GoalPredictorConfig(**TRUNK, out_dim=1, pool="mean"), rngs=nnx.Rngs(0)),
        "critic": lambda: QPredictor(QPredictorConfig(**TRUNK, action_dim=2, pool="mean"), rngs=nnx.Rngs(0)),
        "metric": lambda: MetricValuePredictor(MetricValuePredictorConfig(**TRUNK), rngs=nnx.Rngs(0)),
        **{f"resnet_{size}": partial(_resnet, size) for size in ("18", "50", "101")},
    }
    for name, shapes in json.loads(printed).items():
        model = nnx.eval_shape(made[name])
        specs = tensor_specs(dict(nnx.to_flat_state(nnx.state(model))))
        assert {key: list(spec.shape) for key, spec in specs.items()} == shapes, name
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        print(f"{name}: {count} parameters, {len(shapes)} tensors")
