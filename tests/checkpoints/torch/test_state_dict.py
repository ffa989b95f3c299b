"""Where a state dict lies in a file: found if it is the only one, chosen by name, and what lies beside it told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints.torch.nested import write_nested

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.archive import read_archive, read_state_dict
from swmjax.checkpoints.torch.state_dict import find_state_dict

ONE, TWO = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float32)}, {"w": np.zeros(2)}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (ONE, ""),
        *(({name: ONE, "epoch": 3}, name) for name in ("state_dict", "model_state_dict", "model", "module", "ema")),
        ({"model": {"state_dict": ONE, "name": "vit"}, "step": np.array(7)}, "model.state_dict"),
        ({"ema": {"decay": 1, "module": ONE}, "model": {"config": {"dim": 3}}}, "ema.module"),
        ({"state_dict": ONE, "model": {"_target_": "x"}, "optimizer": {"state": {0: TWO}}}, "state_dict"),
    ],
)
def test_the_only_one_is_found(tmp_path: Path, content: dict[str, Any], entry: str) -> None:
    write_nested(tmp_path / "weights.pt", content)
    found = read_archive(tmp_path / "weights.pt")
    assert found.entry == entry
    assert list(found.tensors) == ["w", "b"]
    for name, array in ONE.items():
        np.testing.assert_array_equal(found.tensors[name], array)


def test_two_are_an_error_that_names_both_and_a_key_chooses(tmp_path: Path) -> None:
    content = {"model": ONE, "ema": {"module": TWO}, "optimizer": {"state": [{"exp_avg": np.ones(4)}]}, "epoch": 1}
    write_nested(tmp_path / "weights.pt", content)
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(tmp_path / "weights.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'weights.pt'}: 2 state dicts, under 'model' and 'ema.module'; choose one with --key model "
        "(in Python key='model')"
    )
    for key, wanted in (("model", ONE), ("ema", TWO), ("ema.module", TWO)):
        assert read_state_dict(tmp_path / "weights.pt", key=key).keys() == wanted.keys()
    others = read_archive(tmp_path / "weights.pt", key="ema").others
    assert list(others) == ["model.w", "model.b", "optimizer.state.0.exp_avg"]


@pytest.mark.parametrize(
    ("content", "key", "problem"),
    [
        ({"net": ONE}, None, "holds a dict under 'net'; .* may be under 'net': name it with --key"),
        ({"net": ONE}, "model", "no entry 'model' at the top level; the state dict may be under 'net'"),
        ({"ema": {"shadow": ONE}}, "ema.module", "no entry 'module' in entry 'ema'; .* may be under 'shadow'"),
        ({"model": {"w": ONE["w"], "lr": 1}}, None, "entry 'model' holds a int under 'lr'; allowed is a dict of names"),
        ({"epoch": 1}, "epoch", "entry 'epoch' is a int; allowed is a dict of names to tensors"),
    ],
)
def test_anything_else_is_one_line(content: dict[str, Any], key: str | None, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem) as caught:
        find_state_dict(content, key)
    assert "\n" not in str(caught.value)
    assert find_state_dict({"net": ONE}, "net").tensors is ONE


def test_a_file_that_refers_to_itself_ends() -> None:
    top: dict[str, Any] = {"w": np.ones(2)}
    top["model"] = top["ema"] = top
    with pytest.raises(CheckpointError, match="holds a dict under 'model'"):
        find_state_dict(top)


@pytest.mark.parametrize("name", ["model_ema", "ema_state_dict"])
def test_the_same_tensors_under_another_name_are_a_second_candidate(name: str) -> None:
    content = {"model": ONE, name: {key: 2 * value for key, value in ONE.items()}, "optimizer": {"state": {0: TWO}}}
    with pytest.raises(
        CheckpointError, match=f"2 state dicts, under 'model' and '{name}'; choose one with --key model"
    ):
        find_state_dict(content)
    for key in ("model", name):
        assert find_state_dict(content, key).tensors is content[key]
