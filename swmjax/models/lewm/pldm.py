"""PLDM: LeWM's architecture, trained with other losses."""

from dataclasses import dataclass

from swmjax.models.lewm.lewm import LeWM, LeWMConfig


@dataclass(frozen=True)
class PLDMConfig(LeWMConfig):
    """The parts of a PLDM; a projector of None is the identity."""


class PLDM(LeWM):
    """Latent world model whose parts, names and rollout are those of LeWM.

    Its inverse dynamics model exists in training only and is in no checkpoint.

    Source: reference, `wm/pldm/pldm.py`.
    """
