"""What a world model takes: the size of its actions, its frames and its vectors."""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from envs_mjx.checks import UserError
from swmjax.models.lewm.lewm import LeWM
from swmjax.models.prejepa.prejepa import PreJEPA
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2


@dataclass(frozen=True)
class ModelInputs:
    """Sizes of what a world model takes from an environment.

    Attributes:
        action_size: Entries of a planner action.
        image_size: Side of a frame, px; None if the model looks at none.
        channels: Colour channels of a frame.
        vectors: Name and length of every vector that is observed beside the frame, in order.
        has_rewards: Whether the model predicts rewards, so that a plan needs no goal.
    """

    action_size: int
    image_size: int | None
    channels: int = 3
    vectors: tuple[tuple[str, int], ...] = ()
    has_rewards: bool = False


@singledispatch
def model_inputs(model: Any) -> ModelInputs:
    """What a model takes.

    Args:
        model: A world model of `swmjax.models`.

    Raises:
        UserError: It is none that can be planned with.
    """
    raise UserError(
        f"a {type(model).__name__} cannot be planned with; allowed are LeWM, PLDM, PreJEPA and TDMPC2, "
        "which predict what actions lead to"
    )


@model_inputs.register
def _(model: LeWM) -> ModelInputs:
    encoder = model.config.encoder
    return ModelInputs(model.config.action_encoder.input_dim, encoder.image_size, encoder.num_channels)


@model_inputs.register
def _(model: PreJEPA) -> ModelInputs:
    config = model.config
    lengths = {name: embedder.in_chans for name, embedder in config.extra_encoders}
    # The backbone takes frames of any size; the predictor says how many patches they had in training.
    side = math.isqrt(config.predictor.num_patches) * config.encoder.patch_size
    vectors = tuple((name, lengths[name]) for name in config.sources)
    return ModelInputs(lengths["action"], side, config.encoder.num_channels, vectors)


@model_inputs.register
def _(model: TDMPC2) -> ModelInputs:
    config = model.config
    vectors = tuple((name, dict(config.extra_dims)[name]) for name in config.vectors)
    return ModelInputs(
        config.action_dim, config.image_size if config.has_pixels else None, vectors=vectors, has_rewards=True
    )
