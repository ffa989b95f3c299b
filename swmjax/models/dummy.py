"""The smallest world model: linear encoder, linear dynamics. For trying out planners and pipelines."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import check_counts
from swmjax.models.blocks.layers import linear
from swmjax.models.inputs import ModelInputs
from swmjax.models.rollouts import markov_rollout
from swmjax.planning import GoalMSE, Objective

LATENT_DIM = 10


@dataclass(frozen=True)
class DummyConfig:
    """Shape of a frame (channels, height, width) and entries of an action."""

    image_shape: tuple[int, int, int]
    action_dim: int

    def __post_init__(self) -> None:
        names = ("channels", "height", "width")
        check_counts("DummyConfig", action_dim=self.action_dim, **dict(zip(names, self.image_shape, strict=True)))


class DummyWorldModel(nnx.Module):
    """Latents of 10 numbers, rolled forward one action at a time.

    Source: older releases of the reference, `wm/dummy.py`; the released package has it no more.
    """

    objective: ClassVar[Objective] = GoalMSE()

    def __init__(self, config: DummyConfig, *, rngs: nnx.Rngs):
        self.config = config
        channels, height, width = config.image_shape
        self.encoder = linear(channels * height * width, LATENT_DIM, rngs=rngs)
        self.predictor = linear(LATENT_DIM + config.action_dim, LATENT_DIM, rngs=rngs)

    @property
    def inputs(self) -> ModelInputs:
        """Frames, and actions of this size."""
        channels, height, _ = self.config.image_shape
        return ModelInputs(self.config.action_dim, height, channels)

    def encode(self, pixels: Float[Array, "B T C H W"]) -> Float[Array, "B T D"]:
        """Latents of ImageNet-normalised frames."""
        return self.encoder(pixels.reshape(*pixels.shape[:2], -1))

    def predict(self, latents: Float[Array, "*batch D"], actions: Float[Array, "*batch A"]) -> Float[Array, "*batch D"]:
        """The latent one step later, for each latent and the action that leaves it."""
        return self.predictor(jnp.concatenate([latents, actions], axis=-1))

    def rollout(
        self,
        latents: Float[Array, "B Tc D"],
        action_history: Float[Array, "B Th A"],
        actions: Float[Array, "B N H A"],
    ) -> Float[Array, "B N T D"]:
        """Roll candidate action sequences forward from a context that they share.

        Args:
            latents: Latents of the Tc context frames; only the last matters.
            action_history: Actions between them, unused.
            actions: N candidate sequences of H actions for each problem.

        Returns:
            Latents [B, N, Tc + H, D]: the context, then H predictions.
        """
        return markov_rollout(self.predict, latents, actions)
