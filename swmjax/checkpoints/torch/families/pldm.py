"""PLDM in checkpoints."""

from __future__ import annotations

from swmjax.checkpoints.torch.families import lewm
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node
from swmjax.models.lewm.pldm import PLDM, PLDMConfig


def _pldm(node: Node) -> PLDMConfig:
    module = "stable_worldmodel.wm.pldm.module"
    return PLDMConfig(**lewm.parts(node, (module,), (f"{module}.Predictor",)))


FAMILY = Family(
    model=PLDM,
    config=PLDMConfig,
    targets={
        "stable_worldmodel.wm.pldm.pldm.PLDM": _pldm,
        "stable_worldmodel.wm.pldm.PLDM": _pldm,
        "stable_worldmodel.wm.PLDM": _pldm,
    },
    rules=lambda _: KeyRules(vits=("encoder",)),
    describe=lambda config: lewm.describe_parts(
        config, "stable_worldmodel.wm.pldm", "stable_worldmodel.wm.pldm.pldm.PLDM"
    ),
    example=lambda: PLDMConfig(**lewm.example()),
    inputs=lewm.inputs,
    outputs=lewm.outputs,
    reference=lewm.REFERENCE,
)
