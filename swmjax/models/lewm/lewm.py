"""LeWM: a joint-embedding world model; frames in, latents rolled forward by actions."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.models.blocks.layers import MLP, Embedder, EmbedderConfig, Identity, MLPConfig
from swmjax.models.blocks.precision import widened
from swmjax.models.blocks.vit import ViT, ViTConfig
from swmjax.models.inputs import ModelInputs
from swmjax.models.lewm.predictor import Predictor, PredictorConfig
from swmjax.models.lewm.rollout import rollout
from swmjax.models.rollouts import check_history, with_context
from swmjax.planning import GoalMSE, Objective


@dataclass(frozen=True)
class LeWMConfig:
    """The parts of a LeWM; a projector of None is the identity.

    `remat` makes gradients through rollouts recompute each step instead of storing its activations.
    """

    encoder: ViTConfig
    predictor: PredictorConfig
    action_encoder: EmbedderConfig
    projector: MLPConfig | None = None
    pred_proj: MLPConfig | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        latent = self.projector.output_dim if self.projector else self.encoder.hidden_size
        predicted = self.pred_proj.output_dim if self.pred_proj else self.predictor.output_dim
        chain = {
            "projector.input_dim": (self.projector and self.projector.input_dim, self.encoder.hidden_size),
            "predictor.input_dim": (self.predictor.input_dim, latent),
            "action_encoder.emb_dim": (self.action_encoder.emb_dim, self.predictor.input_dim),
            "pred_proj.input_dim": (self.pred_proj and self.pred_proj.input_dim, self.predictor.output_dim),
            "size of a predicted latent": (predicted, latent),
        }
        for name, (found, wanted) in chain.items():
            if found is not None and found != wanted:
                raise UserError(
                    f"{type(self).__name__}: {name} must be {wanted} to fit the part before it, got {found}"
                )


class LeWM(nnx.Module):
    """Latent world model with a ViT encoder and an action-conditioned causal predictor.

    Attribute names follow the reference's state dict. Batch norm uses running statistics; after `train()` `encode` and
    `predict` use those of the batch and update the running ones. It computes in the dtype of its parameters
    (`cast_model`), and returns float32 at least.

    Source: reference, `wm/lewm/lewm.py`.
    """

    objective: ClassVar[Objective] = GoalMSE()

    def __init__(self, config: LeWMConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = ViT(config.encoder, rngs=rngs)
        self.predictor = Predictor(config.predictor, rngs=rngs)
        self.action_encoder = Embedder(config.action_encoder, rngs=rngs)
        self.projector = MLP(config.projector, rngs=rngs) if config.projector else Identity()
        self.pred_proj = MLP(config.pred_proj, rngs=rngs) if config.pred_proj else Identity()

    @property
    def inputs(self) -> ModelInputs:
        """Frames, and actions of this size."""
        encoder = self.config.encoder
        return ModelInputs(self.config.action_encoder.input_dim, encoder.image_size, encoder.num_channels)

    def encode(self, pixels: Float[Array, "B T C H W"]) -> Float[Array, "B T D"]:
        """Latents of frames.

        Args:
            pixels: ImageNet-normalised frames.

        Returns:
            One latent a frame.
        """
        batch, time = pixels.shape[:2]
        frames = pixels.reshape(batch * time, *pixels.shape[2:]).astype(self._dtype)
        return widened(self.projector(self.encoder.cls(frames))).reshape(batch, time, -1)

    def embed_actions(self, actions: Float[Array, "*batch A"]) -> Float[Array, "*batch D"]:
        """Embedding of each planner action (normalised as in training)."""
        return widened(self._embed(actions))

    def predict(
        self, latents: Float[Array, "*batch T D"], actions: Float[Array, "*batch T A"]
    ) -> Float[Array, "*batch T D"]:
        """For every frame of a window of at most `num_frames`, the latent of the frame after it.

        Args:
            latents: Latents of consecutive frames, oldest first.
            actions: The planner action that leaves each frame.

        Returns:
            Predicted next latents; the last is the forecast one step ahead.
        """
        return widened(self.pred_proj(self.predictor(latents.astype(self._dtype), self._embed(actions))))

    def rollout(
        self,
        latents: Float[Array, "B Tc D"],
        action_history: Float[Array, "B Th A"],
        actions: Float[Array, "B N H A"],
    ) -> Float[Array, "B N T D"]:
        """Roll candidate action sequences forward from a context that they share.

        Args:
            latents: Latents of the Tc context frames, oldest first; the last is the current one.
            action_history: The Tc - 1 planner actions between the context frames.
            actions: N candidate sequences of H planner actions for each problem.

        Returns:
            Latents [B, N, Tc + H, D]: the context, then H predictions.

        Raises:
            UserError: The action history does not have Tc - 1 steps.
        """
        check_history(action_history, latents.shape[1])
        frames = jnp.moveaxis(latents.astype(self._dtype), 1, 0)[:, :, None]
        past = jnp.moveaxis(action_history, 1, 0)[:, :, None]
        coming = jnp.moveaxis(actions, 2, 0)
        predicted = rollout(
            self.predictor, self.pred_proj, frames, self._embed(past), self._embed(coming), self.config.remat
        )
        return with_context(latents, widened(predicted))

    @property
    def _dtype(self) -> jnp.dtype:
        return self.predictor.pos_embedding[...].dtype

    def _embed(self, actions: Array) -> Array:
        return self.action_encoder(actions.astype(self._dtype))
