"""Torch names and layouts to NNX parameters, strictly in both directions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import match_tensors, tensor_specs

RULES = KeyRules(vits=("encoder",))


def parameters(**shapes: tuple[int, ...]) -> dict[tuple[str, ...], Any]:
    return {tuple(name.split("__")): SimpleNamespace(shape=shape) for name, shape in shapes.items()}


def rising(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("encoder.encoder.layer.3.attention.attention.query.weight", "encoder.layers.3.attention.q_proj.weight"),
        ("encoder.encoder.layer.3.attention.attention.key.bias", "encoder.layers.3.attention.k_proj.bias"),
        ("encoder.encoder.layer.3.attention.attention.value.bias", "encoder.layers.3.attention.v_proj.bias"),
        ("encoder.encoder.layer.3.attention.output.dense.weight", "encoder.layers.3.attention.o_proj.weight"),
        ("encoder.encoder.layer.3.intermediate.dense.weight", "encoder.layers.3.mlp.fc1.weight"),
        ("encoder.encoder.layer.3.output.dense.weight", "encoder.layers.3.mlp.fc2.weight"),
        ("encoder.encoder.layer.11.layernorm_before.weight", "encoder.layers.11.layernorm_before.weight"),
    ],
)
def test_vit_names_of_both_versions(name: str, canonical: str) -> None:
    assert RULES.canonical(name) == canonical
    assert RULES.canonical(canonical) == canonical
    assert RULES.canonical(canonical.replace("encoder.layers", "encoder.encoder.layers")) == canonical
    assert RULES.spelled(canonical, 4) == name
    assert RULES.spelled(canonical, 5) == canonical


DINO = KeyRules(dinos=("backbone",), unused=(r"\.mask$",))


@pytest.mark.parametrize(
    ("name", "canonical", "of_5"),
    [
        ("attention.attention.query.weight", "attention.q_proj.weight", "attention.q_proj.weight"),
        ("attention.output.dense.bias", "attention.o_proj.bias", "attention.o_proj.bias"),
        ("mlp.fc1.weight", "mlp.fc1.weight", "mlp.fc1.weight"),
        ("mlp.weights_out.bias", "mlp.down_proj.bias", "mlp.down_proj.bias"),
        ("layer_scale1.lambda1", "layer_scale1.lambda1", "layer_scale1.lambda1"),
        ("norm2.weight", "norm2.weight", "norm2.weight"),
    ],
)
def test_dinov2_names_of_both_versions(name: str, canonical: str, of_5: str) -> None:
    place = "backbone.encoder.layer.7."
    assert DINO.canonical(place + name) == f"backbone.layers.7.{canonical}"
    assert DINO.canonical(place + of_5) == f"backbone.layers.7.{canonical}"
    assert DINO.spelled(f"backbone.layers.7.{canonical}", 4) == place + name
    assert DINO.spelled(f"backbone.layers.7.{canonical}", 5) == place + of_5
    assert DINO.version_of(place + name) == (4 if name != of_5 else None)


def test_unused_tensors_have_no_name() -> None:
    assert DINO.canonical("model.backbone.encoder.layer.0.norm1.bias") == "backbone.layers.0.norm1.bias"
    assert DINO.canonical("backbone.mask") is None


def test_fused_rows_are_shared_out() -> None:
    specs = tensor_specs(
        parameters(
            backbone__layers__0__mlp__gate_proj__kernel=(3, 2),
            backbone__layers__0__mlp__up_proj__kernel=(3, 2),
        )
    )
    fused = rising(4, 3)
    matched = match_tensors({"backbone.encoder.layer.0.mlp.weights_in.weight": fused}, specs, DINO)
    gate, up = (matched["backbone", "layers", "0", "mlp", part, "kernel"] for part in ("gate_proj", "up_proj"))
    np.testing.assert_array_equal(gate, fused[:2].T)
    np.testing.assert_array_equal(up, fused[2:].T)
    with pytest.raises(CheckpointError, match=r"weights_in\.weight: expected shape \(2, 3\), found \(1, 3\)"):
        match_tensors({"backbone.encoder.layer.0.mlp.weights_in.weight": rising(2, 3)}, specs, DINO)


def test_wrappers_are_dropped_and_counters_skipped() -> None:
    for name in ("model.projector.net.0.bias", "module.model.projector.net.0.bias", "_orig_mod.projector.net.0.bias"):
        assert RULES.canonical(name) == "projector.net.0.bias"
    assert RULES.canonical("encoder._orig_mod.layernorm.bias") == "encoder.layernorm.bias"
    assert RULES.canonical("projector.net.1.num_batches_tracked") is None
    assert RULES.canonical("predictor.transformer.layers.0.mlp.net.1.bias") == (
        "predictor.transformer.layers.0.mlp.net.1.bias"
    )


def test_layouts() -> None:
    specs = tensor_specs(
        parameters(
            dense__kernel=(3, 2),
            patch_embed__kernel=(3, 2),
            projection__kernel=(5, 4, 3, 2),
            norm__scale=(3,),
            norm__mean=(3,),
            norm__var=(3,),
            cls_token=(1, 1, 3),
        )
    )
    tensors = {
        "dense.weight": rising(2, 3),
        "patch_embed.weight": rising(2, 3, 1),
        "projection.weight": rising(2, 3, 5, 4),
        "norm.weight": rising(3),
        "norm.running_mean": rising(3),
        "norm.running_var": rising(3),
        "norm.num_batches_tracked": np.array(7),
        "cls_token": rising(1, 1, 3),
    }
    matched = match_tensors(tensors, specs, RULES)
    np.testing.assert_array_equal(matched["dense", "kernel"], rising(2, 3).T)
    np.testing.assert_array_equal(matched["patch_embed", "kernel"], rising(2, 3).T)
    np.testing.assert_array_equal(matched["projection", "kernel"][1, 2], rising(2, 3, 5, 4)[:, :, 1, 2].T)
    assert set(matched) == {spec.path for spec in specs.values()}


def test_every_problem_has_its_line() -> None:
    specs = tensor_specs(parameters(a__kernel=(3, 2), b__bias=(4,), c__bias=(2,), d__bias=(2,)))
    tensors = {
        "a.weight": rising(3, 2),
        "b.bias": np.zeros(4, np.int64),
        "c.bias": rising(2),
        "model.c.bias": rising(2),
        "extra\n": rising(5),
    }
    with pytest.raises(CheckpointError) as caught:
        match_tensors(tensors, specs, RULES)
    assert str(caught.value).splitlines() == [
        "a.weight: expected shape (2, 3), found (3, 2)",
        "b.bias: expected a floating-point tensor of shape (4,), found int64",
        "model.c.bias: is the same tensor as c.bias; expected one of them",
        "d.bias: is missing; expected shape (2,)",
        "extra\\n: is not a tensor of this model; found shape (5,)",
    ]


def test_a_missing_name_is_spelled_as_the_file_does() -> None:
    specs = tensor_specs(parameters(encoder__layers__0__mlp__fc1__bias=(2,), encoder__layers__0__mlp__fc2__bias=(2,)))
    with pytest.raises(CheckpointError, match=r"^encoder\.encoder\.layer\.0\.intermediate\.dense\.bias: is missing"):
        match_tensors({"encoder.encoder.layer.0.output.dense.bias": rising(2)}, specs, RULES)
    with pytest.raises(CheckpointError, match=r"^encoder\.layers\.0\.mlp\.fc1\.bias: is missing"):
        match_tensors({"encoder.layers.0.mlp.fc2.bias": rising(2)}, specs, RULES)


def test_a_long_list_is_cut() -> None:
    with pytest.raises(CheckpointError, match="and 490 more problems of this kind"):
        match_tensors({f"x{i}": rising(1) for i in range(500)}, {}, RULES)
