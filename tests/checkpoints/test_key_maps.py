"""Torch names and layouts to NNX parameters, strictly in both directions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.key_maps import KeyRules, match_tensors, tensor_specs

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
    with pytest.raises(CheckpointError, match="and 300 more problems of this kind"):
        match_tensors({f"x{i}": rising(1) for i in range(500)}, {}, RULES)
