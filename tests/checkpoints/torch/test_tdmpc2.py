"""TD-MPC2 in checkpoints: the forms of its configuration, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from swmjax.checkpoints import CheckpointError, build_config, load_pretrained, read_state_dict
from swmjax.models.blocks.two_hot import Bins
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2Config

GOLDEN = Path(__file__).parents[2] / "golden"
CONFIG = json.loads((GOLDEN / "tdmpc2_pixels" / "config.json").read_text())


def changed(place: str, value: Any) -> dict[str, Any]:
    """The configuration with one field set, or dropped for a value of None."""
    config = copy.deepcopy(CONFIG)
    *owners, name = place.split(".")
    node = config
    for owner in owners:
        node = node[owner]
    if value is None:
        del node[name]
    else:
        node[name] = value
    return config


def test_configuration_of_the_reference() -> None:
    assert build_config(CONFIG) == TDMPC2Config(
        action_dim=2,
        encoding=(("proprio", 4), ("pixels", 12), ("state", 8)),
        extra_dims=(("action", 2), ("state", 5), ("proprio", 3)),
        image_size=48,
        mlp_dim=24,
        enc_dim=12,
        simnorm_dim=4,
        num_q=3,
        bins=Bins(11, -6.0, 2.0),
        discount=0.96875,
        uncertainty_penalty=0.5,
        tau=0.05,
        num_pi_trajs=3,
    )


@pytest.mark.parametrize("target", ["wm.tdmpc2.tdmpc2.TDMPC2", "wm.TDMPC2"])
def test_other_class_paths_and_flags(target: str) -> None:
    config = {**CONFIG, "_target_": f"stable_worldmodel.{target}", "_convert_": "none", "extra_encoders": None}
    del config["_recursive_"]
    assert build_config(config) == build_config(CONFIG)


def test_defaults_are_those_of_the_constructor() -> None:
    config = copy.deepcopy(CONFIG)
    for name in ("simnorm_dim", "discount", "uncertainty_penalty", "name", "horizon"):
        del config["cfg"]["wm"][name]
    del config["cfg"]["num_pi_trajs"]
    built = build_config(config)
    found = (built.simnorm_dim, built.discount, built.uncertainty_penalty, built.num_pi_trajs)
    assert found == (8, 0.99, 0.5, 1)


def test_every_tensor_arrives_once() -> None:
    tensors = read_state_dict(GOLDEN / "tdmpc2_pixels" / "weights.pt")
    leaves = jax.tree.leaves(nnx.state(load_pretrained(GOLDEN / "tdmpc2_pixels")))
    assert len(leaves) == len(tensors)
    assert sorted(float(np.sum(np.asarray(leaf), dtype=np.float64)) for leaf in leaves) == pytest.approx(
        sorted(float(np.sum(array, dtype=np.float64)) for array in tensors.values()), abs=1e-5
    )


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("cfg", None, "cfg: is missing"),
        ("cfg.action_dim", None, "cfg.action_dim: is missing"),
        ("cfg.wm.vmin", "low", "cfg.wm.vmin: is 'low'; allowed is a finite number"),
        ("cfg.wm.vmin", 3, "stable_worldmodel.wm.tdmpc2.TDMPC2: Bins.low must be below high (2.0), got 3.0"),
        ("cfg.wm.encoding.state", 0, "cfg.wm.encoding.state: is 0; allowed is an integer from 1 to 65536"),
        ("cfg.wm.num_bin", 3, "cfg.wm.num_bin: is not a known field; did you mean num_bins?"),
        (
            "cfg.extra_dims.state",
            None,
            "extra_dims must have the length of every encoded vector; ['state'] are missing",
        ),
        ("extra_encoders", {"state": 1}, "extra_encoders: is not supported; allowed is null"),
        ("_recursive_", "no", "_recursive_: is 'no'; allowed are true and false"),
    ],
)
def test_bad_configurations_name_the_field(place: str, value: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        build_config(changed(place, value))
    assert message in str(caught.value)
