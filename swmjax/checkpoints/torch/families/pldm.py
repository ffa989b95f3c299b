"""PLDM in checkpoints."""

from __future__ import annotations

from swmjax.checkpoints.torch.families.lewm import describe_parts, parts
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node
from swmjax.models.lewm.pldm import PLDM, PLDMConfig


def _pldm(node: Node) -> PLDMConfig:
    module = "stable_worldmodel.wm.pldm.module"
    return PLDMConfig(**parts(node, (module,), (f"{module}.Predictor",)))


FAMILY = Family(
    targets={
        "stable_worldmodel.wm.pldm.pldm.PLDM": _pldm,
        "stable_worldmodel.wm.pldm.PLDM": _pldm,
        "stable_worldmodel.wm.PLDM": _pldm,
    },
    config=PLDMConfig,
    model=PLDM,
    rules=lambda _: KeyRules(vits=("encoder",)),
    describe=lambda config: describe_parts(config, "stable_worldmodel.wm.pldm", "stable_worldmodel.wm.pldm.pldm.PLDM"),
)
