"""`config.json` to hyperparameters: known targets only, and errors that name the key."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.families import build_config
from swmjax.models import PLDMConfig, PreJEPAConfig
from swmjax.models.blocks import DINOv2Config, LinearEmbedderConfig
from swmjax.models.blocks.layers import EmbedderConfig, MLPConfig
from swmjax.models.blocks.vit import ViTConfig
from swmjax.models.lewm.lewm import LeWMConfig
from swmjax.models.lewm.predictor import PredictorConfig
from swmjax.models.prejepa import CausalPredictorConfig

GOLDEN = Path(__file__).parents[2] / "golden"
GCBC = json.loads((GOLDEN / "gcrl_gcbc" / "config.json").read_text())
MINI = json.loads((GOLDEN / "lewm_mini_hf4" / "config.json").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(MINI)
    *parents, last = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    if value is KeyError:
        del node[last]
    else:
        node[last] = value
    return config


def test_golden_config() -> None:
    mlp = MLPConfig(input_dim=32, hidden_dim=48, output_dim=32, norm="batch")
    assert build_config(MINI) == LeWMConfig(
        encoder=ViTConfig(
            image_size=56,
            patch_size=14,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            use_mask_token=False,
        ),
        predictor=PredictorConfig(
            num_frames=3, input_dim=32, hidden_dim=32, output_dim=32, depth=2, heads=2, mlp_dim=64, dim_head=16
        ),
        action_encoder=EmbedderConfig(input_dim=10, emb_dim=32),
        projector=mlp,
        pred_proj=mlp,
    )


def test_released_config_of_the_paper_repository() -> None:
    norm = {"_target_": "torch.nn.BatchNorm1d", "_partial_": True}
    mlp = {"_target_": "module.MLP", "input_dim": 192, "output_dim": 192, "hidden_dim": 2048, "norm_fn": norm}
    config = build_config(
        {
            "_target_": "jepa.JEPA",
            "embed_dim": 192,
            "history_size": 3,
            "encoder": {
                "_target_": "stable_pretraining.backbone.utils.vit_hf",
                "size": "tiny",
                "patch_size": 14,
                "image_size": 224,
                "pretrained": False,
                "use_mask_token": False,
            },
            "predictor": {
                "_target_": "module.ARPredictor",
                "num_frames": 3,
                "input_dim": 192,
                "hidden_dim": 192,
                "output_dim": 192,
                "depth": 6,
                "heads": 16,
                "mlp_dim": 2048,
                "dim_head": 64,
                "dropout": 0.1,
                "emb_dropout": 0.0,
            },
            "action_encoder": {"_target_": "module.Embedder", "input_dim": 10, "emb_dim": 192},
            "projector": mlp,
            "pred_proj": mlp,
        }
    )
    assert (config.encoder.hidden_size, config.encoder.num_hidden_layers, config.encoder.intermediate_size) == (
        192,
        12,
        768,
    )
    assert config.predictor.depth == 6
    assert config.projector == MLPConfig(input_dim=192, hidden_dim=2048, output_dim=192, norm="batch")


@pytest.mark.parametrize(
    "target", ["stable_worldmodel.wm.LeWM", "stable_worldmodel.wm.lewm.lewm.LeWM", "stable_worldmodel.wm.lewm.LeWM"]
)
def test_aliases(target: str) -> None:
    assert build_config(changed("_target_", target)) == build_config(MINI)


def test_defaults_are_those_of_the_reference() -> None:
    config = build_config(changed("predictor.output_dim", None))
    assert config.predictor.output_dim == 32
    assert build_config(changed("predictor.dim_head", KeyError)).predictor.dim_head == 64
    assert build_config(changed("encoder.use_mask_token", KeyError)).encoder.use_mask_token
    assert build_config(changed("encoder.patch_size", KeyError)).encoder.patch_size == 16
    assert build_config(changed("projector", None)).projector is None
    assert build_config(changed("projector", KeyError)).projector is None
    gelu = {"_target_": "torch.nn.GELU", "_partial_": True, "approximate": "none"}
    for act in (gelu, {"_target_": "hydra.utils.get_class", "path": "torch.nn.GELU"}, None):
        assert build_config(changed("projector.act_fn", act)) == build_config(MINI)
    for name, value in (
        ("hidden_act", "gelu"),
        ("qkv_bias", True),
        ("encoder_stride", 16),
        ("pooler_act", "tanh"),
        ("pooler_output_size", None),
        ("attn_implementation", "sdpa"),
        ("interpolate_pos_encoding", True),
        ("num_channels", None),
        ("of_another_release", None),
    ):
        assert build_config(changed(f"encoder.{name}", value)) == build_config(MINI)
    batch = {"_target_": "torch.nn.BatchNorm1d", "_partial_": True, "eps": 1e-5, "momentum": 0.1, "affine": True}
    for value, norm in (
        (None, None),
        (KeyError, "layer"),
        ({"_target_": "torch.nn.LayerNorm", "_partial_": True}, "layer"),
        ({"_target_": "torch.nn.LayerNorm", "_partial_": True, "eps": 1e-5, "elementwise_affine": True}, "layer"),
        (batch, "batch"),
    ):
        projector = build_config(changed("projector.norm_fn", value)).projector
        assert projector is not None
        assert projector.norm == norm


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            "_target_",
            "stable_worldmodel.wm.lewm.LeWN",
            r"^_target_: 'stable_worldmodel.wm.lewm.LeWN' is not known; .*"
            r"did you mean stable_worldmodel.wm.lewm.LeWM\?",
        ),
        ("_target_", "os.system", "^_target_: 'os.system' is not known; allowed are stable_worldmodel.wm.lewm.LeWM, "),
        ("_target_", 3, "^_target_: 3 is not known"),
        ("_target_", KeyError, "^_target_: is missing; allowed are"),
        ("encoder._target_", "torch.nn.Identity", "^encoder._target_: .* allowed are stable_pretraining"),
        ("encoder._target_", KeyError, "^encoder._target_: is missing"),
        ("encoder", "vit", "^encoder: is 'vit'; allowed is an object"),
        ("encoder", KeyError, "^encoder: is missing"),
        ("encoder.patch_size", "14", "^encoder.patch_size: is '14'; allowed is an integer"),
        ("encoder.patch_size", True, "^encoder.patch_size: is True"),
        ("encoder.patch_size", 0, "^encoder.patch_size: is 0"),
        ("encoder.image_size", 10**9, "^encoder.image_size: is 1000000000"),
        ("encoder.num_hidden_layers", 10**4, "^encoder.num_hidden_layers: is 10000; .* to 256"),
        ("encoder.num_attention_heads", 3, "^encoder: ViTConfig.hidden_size must be a multiple"),
        ("encoder.size", "giant", "^encoder.size: is 'giant'; allowed are tiny, small, base, large, huge"),
        ("encoder.size", ["tiny"], "^encoder.size: is list"),
        ("encoder.pretrained", 1, "^encoder.pretrained: is 1; allowed are true and false"),
        ("encoder.hidden_act", "relu", "^encoder.hidden_act: is 'relu'; allowed is 'gelu'"),
        ("encoder.patchsize", 14, "^encoder.patchsize: is not a known field; did you mean patch_size"),
        ("encoder.x\n", 14, r"^encoder.x\\n: is not a known field; allowed are "),
        ("predictor.depth", KeyError, "^predictor.depth: is missing"),
        ("predictor.dropout", 2, r"^predictor.dropout: is 2; allowed is a number in \[0, 1\)"),
        ("predictor.input_dim", 16, "predictor.input_dim must be 32"),
        (
            "projector.norm_fn._target_",
            "torch.nn.BatchNorm2d",
            "^projector.norm_fn._target_: .*did you mean torch.nn.Batch",
        ),
        ("projector.norm_fn._partial_", False, "^projector.norm_fn._partial_: is False; allowed is True"),
        ("projector.norm_fn", "batch", "^projector.norm_fn: is 'batch'"),
        ("projector.norm_fn.eps", 1e-3, "^projector.norm_fn.eps: is 0.001; allowed is 1e-05"),
        ("projector.act_fn", {"_target_": "torch.nn.ReLU"}, "^projector.act_fn._target_: 'torch.nn.ReLU' is not known"),
        ("encoder.interpolate_pos_encoding", False, "^encoder.interpolate_pos_encoding: is False; allowed is True"),
        ("encoder", None, "^encoder: is null"),
    ],
)
def test_errors_name_the_key(path: str, value: Any, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        build_config(changed(path, value))
    assert "\n" not in str(caught.value)


def test_the_model_may_lie_in_a_training_configuration() -> None:
    assert build_config({"model": MINI, "trainer": {}}) == build_config(MINI)
    with pytest.raises(CheckpointError, match=r"_target_: is missing; .* with such a _target_ under 'model'"):
        build_config({"trainer": {}})


PREJEPA = {
    "_target_": "stable_worldmodel.wm.PreJEPA",
    "encoder": {"_target_": "stable_worldmodel.wm.prejepa.module.create_backbone", "name": "dinov2_small"},
    "predictor": {
        "_target_": "stable_worldmodel.wm.prejepa.module.CausalPredictor",
        "num_patches": 256,
        "num_frames": 3,
        "dim": 404,
        "depth": 6,
        "heads": 16,
        "mlp_dim": 2048,
        "dropout": 0.1,
        "emb_dropout": 0,
        "pool": "mean",
    },
    "extra_encoders": {
        "_target_": "torch.nn.ModuleDict",
        "modules": {
            name: {"_target_": "stable_worldmodel.wm.prejepa.module.Embedder", "in_chans": size, "emb_dim": 10}
            for name, size in (("proprio", 4), ("action", 10))
        },
    },
    "decoder": None,
    "history_size": 3,
    "num_pred": 1,
}


def test_prejepa() -> None:
    assert build_config(PREJEPA) == PreJEPAConfig(
        encoder=DINOv2Config(),
        predictor=CausalPredictorConfig(256, 3, 404, 6, 16, 2048),
        extra_encoders=(("proprio", LinearEmbedderConfig(4, 10)), ("action", LinearEmbedderConfig(10, 10))),
        history_size=3,
    )
    assert build_config({**PREJEPA, "_target_": "stable_worldmodel.wm.prejepa.prejepa.PreJEPA", "decoder": {}})


def test_keys_that_mean_the_default() -> None:
    for value in ("patch", None):
        assert build_config({**PREJEPA, "pixel_token": value}) == build_config(PREJEPA)
        assert build_config({**GCBC, "pixel_token": value}) == build_config(GCBC)
    with pytest.raises(CheckpointError, match="^pixel_token: is 'cls'; allowed is 'patch'$"):
        build_config({**PREJEPA, "pixel_token": "cls"})


@pytest.mark.parametrize(
    ("name", "width", "layers", "registers"),
    [
        ("dinov2_base", 768, 12, 0),
        ("facebook/dinov2-large", 1024, 24, 0),
        ("dinov2_giant", 1536, 40, 0),
        ("facebook/dinov2-with-registers-small", 384, 12, 4),
    ],
)
def test_backbones_by_name(name: str, width: int, layers: int, registers: int) -> None:
    config = copy.deepcopy(PREJEPA)
    config["encoder"]["name"], config["predictor"]["dim"] = name, width + 20
    encoder = build_config(config).encoder
    assert (encoder.hidden_size, encoder.num_hidden_layers, encoder.num_register_tokens) == (width, layers, registers)
    assert encoder.use_swiglu_ffn == ("giant" in name)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("encoder", "name"), "resnet_50", "^encoder.name: is 'resnet_50'; allowed are dinov2_small, "),
        (("predictor", "dim"), 394, "PreJEPAConfig: predictor.dim must be 404"),
        (("extra_encoders", "modules"), [], "^extra_encoders.modules: is list; allowed is an object"),
        (("extra_encoders", "modules", "action", "tubelet_size"), 2, "modules.action.tubelet_size: is 2; allowed is 1"),
        (("num_pred",), 2, "^num_pred: is 2; allowed is 1"),
        (("histroy_size",), 2, "^histroy_size: is not a known field; did you mean history_size"),
    ],
)
def test_errors_of_prejepa_name_the_key(path: tuple[str, ...], value: Any, problem: str) -> None:
    config = copy.deepcopy(PREJEPA)
    node: Any = config
    for parent in path[:-1]:
        node = node[parent]
    node[path[-1]] = value
    with pytest.raises(CheckpointError, match=problem):
        build_config(config)


def test_pldm_is_lewm_under_its_own_names() -> None:
    text = json.dumps(MINI).replace("wm.lewm.LeWM", "wm.pldm.pldm.PLDM").replace("wm.lewm.", "wm.pldm.")
    config = build_config(json.loads(text))
    assert type(config) is PLDMConfig
    assert config == PLDMConfig(**vars(build_config(MINI)))
    with pytest.raises(CheckpointError, match="^embed_dim: is not a known field"):
        build_config({**json.loads(text), "embed_dim": 3})
