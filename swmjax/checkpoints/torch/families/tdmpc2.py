"""TD-MPC2 in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import Array

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.torch.family import CANDIDATES, HORIZON, Family, Settings, normal
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node
from swmjax.models.blocks.two_hot import Bins
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2, TDMPC2Config

_TRAINING = ("rho", "consistency_coef", "reward_coef", "value_coef", "entropy_coef")


def _tdmpc2(node: Node) -> TDMPC2Config:
    # The constructor reads the node as data; encoders of one's own would be dicts there.
    node.flag("_recursive_", False)
    if node.take("extra_encoders", None) is not None:
        raise CheckpointError(f"{node.at('extra_encoders')}: is not supported; allowed is null")
    return _from_settings(node.object("cfg"))


def _from_settings(node: Node) -> TDMPC2Config:
    """The model of what the reference's constructor gets as `cfg`: the sizes, among settings of training."""
    wm = node.object("wm")
    for name in _TRAINING:
        wm.number(name, 0.0)
    wm.take("name", None)
    wm.size("horizon", 1)
    encoding = wm.object("encoding")
    sizes = tuple((name, encoding.size(name)) for name in encoding.values)
    extra = node.object("extra_dims") if "extra_dims" in node.values else Node({}, node.at("extra_dims"))
    config = TDMPC2Config(
        action_dim=node.size("action_dim"),
        encoding=sizes,
        extra_dims=tuple((name, extra.size(name)) for name in extra.values),
        image_size=node.size("image_size", 64),
        mlp_dim=wm.size("mlp_dim"),
        enc_dim=wm.size("enc_dim", 256),
        simnorm_dim=wm.size("simnorm_dim", 8),
        num_q=wm.size("num_q", limit=64),
        bins=Bins(wm.size("num_bins"), wm.number("vmin"), wm.number("vmax")),
        discount=wm.number("discount", 0.99),
        uncertainty_penalty=wm.number("uncertainty_penalty", 0.5),
        tau=wm.number("tau"),
        num_pi_trajs=node.size("num_pi_trajs", 1),
    )
    wm.refuse_the_rest()
    # Settings of the training script lie beside the sizes in files of the online script.
    node.known |= set(node.values)
    return config


def _are_settings(config: Mapping[str, Any]) -> bool:
    """Whether this is what the constructor gets as `cfg`, as the online script saves it."""
    wm = config.get("wm")
    return isinstance(wm, dict) and "num_q" in wm


def _describe(config: TDMPC2Config) -> dict[str, Any]:
    same = ("mlp_dim", "enc_dim", "simnorm_dim", "num_q", "discount", "uncertainty_penalty", "tau")
    bins = {"num_bins": config.bins.count, "vmin": config.bins.low, "vmax": config.bins.high}
    wm = {name: getattr(config, name) for name in same} | bins | {"encoding": dict(config.encoding)}
    cfg = {
        "image_size": config.image_size,
        "action_dim": config.action_dim,
        "extra_dims": dict(config.extra_dims),
        "num_pi_trajs": config.num_pi_trajs,
        "wm": wm,
    }
    return {"_target_": "stable_worldmodel.wm.tdmpc2.TDMPC2", "_recursive_": False, "cfg": cfg}


def _inputs(config: TDMPC2Config, draw: np.random.Generator) -> dict[str, np.ndarray]:
    frame, lengths = (3, config.image_size, config.image_size), dict(config.extra_dims)
    given = {name: normal(draw, 1, *(frame if name == "pixels" else (lengths[name],))) for name, _ in config.encoding}
    actions = draw.uniform(-1, 1, (1, CANDIDATES, HORIZON, config.action_dim)).astype(np.float32)
    return given | {"actions": actions}


def _outputs(model: TDMPC2, given: Mapping[str, Array]) -> dict[str, Array]:
    latents = model.encode(given)
    return {"latents": latents, "cost": model.plan_cost(latents, given["actions"])}


_REFERENCE = """
info = {name: value for name, value in given.items() if name != "actions"}
out["latents"] = model.encode(dict(info))
out["cost"] = model.get_cost({name: candidates(value) for name, value in info.items()}, given["actions"])
"""
FAMILY = Family(
    model=TDMPC2,
    config=TDMPC2Config,
    targets={
        "stable_worldmodel.wm.tdmpc2.TDMPC2": _tdmpc2,
        "stable_worldmodel.wm.tdmpc2.tdmpc2.TDMPC2": _tdmpc2,
        "stable_worldmodel.wm.TDMPC2": _tdmpc2,
    },
    rules=lambda _: KeyRules(),
    describe=_describe,
    example=lambda: TDMPC2Config(
        2, (("state", 8),), (("state", 5),), mlp_dim=8, enc_dim=8, simnorm_dim=4, num_q=2, bins=Bins(5)
    ),
    inputs=_inputs,
    outputs=_outputs,
    reference=_REFERENCE,
    settings=Settings(_are_settings, _from_settings),
)
