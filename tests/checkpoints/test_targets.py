"""`config.json` to hyperparameters: known targets only, and errors that name the key."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.targets import build_config
from swmjax.models.layers import EmbedderConfig, MLPConfig
from swmjax.models.lewm import LeWMConfig
from swmjax.models.predictor import PredictorConfig
from swmjax.models.vit import ViTConfig

GOLDEN = Path(__file__).parents[1] / "golden"
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
    for value, norm in (
        (None, None),
        (KeyError, "layer"),
        ({"_target_": "torch.nn.LayerNorm", "_partial_": True}, "layer"),
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
    ],
)
def test_errors_name_the_key(path: str, value: Any, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        build_config(changed(path, value))
    assert "\n" not in str(caught.value)


def test_a_training_configuration_says_where_the_model_is() -> None:
    with pytest.raises(CheckpointError, match=r"_target_: is missing; .* its part under 'model'"):
        build_config({"model": MINI, "trainer": {}})
