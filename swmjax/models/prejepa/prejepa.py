"""PreJEPA (DINO-WM): patch tokens of a frozen encoder, rolled forward together with proprioception and actions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.models.blocks.dinov2 import DINOv2, DINOv2Config
from swmjax.models.blocks.layers import LinearEmbedder, LinearEmbedderConfig
from swmjax.models.blocks.precision import widened
from swmjax.models.inputs import ModelInputs
from swmjax.models.prejepa.predictor import CausalPredictor, CausalPredictorConfig
from swmjax.models.prejepa.rollout import rollout
from swmjax.models.rollouts import check_history, with_context
from swmjax.planning import GoalMSE, Objective

PIXELS, ACTION = "pixels", "action"


@dataclass(frozen=True)
class PreJEPAConfig:
    """The parts of a PreJEPA.

    `extra_encoders` are the vector sources in the order of their slots in a token, the action among them; the window
    of a rollout is `history_size` frames. `remat` makes gradients through rollouts recompute instead of store.
    """

    encoder: DINOv2Config
    predictor: CausalPredictorConfig
    extra_encoders: tuple[tuple[str, LinearEmbedderConfig], ...]
    history_size: int = 3
    remat: bool = False

    def __post_init__(self) -> None:
        names = [name for name, _ in self.extra_encoders]
        if ACTION not in names or PIXELS in names or len(set(names)) != len(names):
            raise UserError(
                f"PreJEPAConfig.extra_encoders must be distinct sources with 'action' among them and without 'pixels', "
                f"got {', '.join(names) or 'none'}"
            )
        width = self.encoder.hidden_size + sum(embedder.emb_dim for _, embedder in self.extra_encoders)
        if self.predictor.dim != width:
            raise UserError(
                f"PreJEPAConfig: predictor.dim must be {width}, the encoder's {self.encoder.hidden_size} and the "
                f"embeddings of {', '.join(names)}, got {self.predictor.dim}"
            )
        if type(self.history_size) is not int or not 1 <= self.history_size <= self.predictor.num_frames:
            raise UserError(
                f"PreJEPAConfig.history_size must be an integer from 1 to the predictor's num_frames "
                f"({self.predictor.num_frames}), got {self.history_size!r}"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """The observed vector sources: all but the action."""
        return tuple(name for name, _ in self.extra_encoders if name != ACTION)

    def slot(self, source: str) -> slice:
        """Where a source lies in a fused token."""
        start = 0
        for name, size in ((PIXELS, self.encoder.hidden_size), *((n, e.emb_dim) for n, e in self.extra_encoders)):
            if name == source:
                return slice(start, start + size)
            start += size
        raise UserError(f"no source {source!r}; there are {', '.join((PIXELS, *(n for n, _ in self.extra_encoders)))}")


class PreJEPA(nnx.Module):
    """Latent world model over the patches of a frozen encoder.

    A latent is a dict: 'pixels' [..., T, P, D], and for every observed vector source its embedding [..., T, E].
    Attribute names follow the reference's state dict.

    Source: reference, `wm/prejepa/prejepa.py`; Zhou et al. 2024 (DINO-WM).
    """

    objective: ClassVar[Objective] = GoalMSE(reduction="mean")

    def __init__(self, config: PreJEPAConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.backbone = DINOv2(config.encoder, rngs=rngs)
        self.predictor = CausalPredictor(config.predictor, rngs=rngs)
        self.extra_encoders = nnx.Dict({name: LinearEmbedder(e, rngs=rngs) for name, e in config.extra_encoders})

    @property
    def inputs(self) -> ModelInputs:
        """Frames, the observed vectors, and actions of this size."""
        config = self.config
        lengths = {name: embedder.in_chans for name, embedder in config.extra_encoders}
        # The backbone takes frames of any size; the predictor says how many patches they had in training.
        side = math.isqrt(config.predictor.num_patches) * config.encoder.patch_size
        vectors = tuple((name, lengths[name]) for name in config.sources)
        return ModelInputs(lengths[ACTION], side, config.encoder.num_channels, vectors)

    def encode(self, obs: Mapping[str, Array] | Array) -> dict[str, Array]:
        """Latents of observations.

        Args:
            obs: 'pixels' [B, T, C, H, W], ImageNet-normalised frames, and every vector source [B, T, I], normalised
                as in training; a bare array is pixels. Other entries are ignored.

        Returns:
            'pixels' [B, T, P, D], without gradient, and the embedding [B, T, E] of every source.

        Raises:
            UserError: A source is missing, or the frames have another number of patches than the predictor.
        """
        given: Mapping[str, Array] = obs if isinstance(obs, Mapping) else {PIXELS: obs}
        if missing := [name for name in (PIXELS, *self.config.sources) if name not in given]:
            raise UserError(
                f"observations of this model are {', '.join((PIXELS, *self.config.sources))}; "
                f"missing: {', '.join(missing)}"
            )
        pixels = given[PIXELS]
        batch, time = pixels.shape[:2]
        frames = pixels.reshape(batch * time, *pixels.shape[2:]).astype(self._dtype)
        # All but the class token, registers included.
        tokens = jax.lax.stop_gradient(self.backbone(frames))[:, 1:]
        if tokens.shape[1] != self.config.predictor.num_patches:
            raise UserError(
                f"the predictor takes {self.config.predictor.num_patches} patches a frame, but frames of "
                f"{pixels.shape[3]} x {pixels.shape[4]} px have {tokens.shape[1]}"
            )
        latents = {PIXELS: widened(tokens.reshape(batch, time, *tokens.shape[1:]))}
        for name in self.config.sources:
            latents[name] = widened(self.extra_encoders[name](given[name].astype(self._dtype)))
        return latents

    def embed_actions(self, actions: Float[Array, "*batch A"]) -> Float[Array, "*batch E"]:
        """Embedding of each planner action (normalised as in training)."""
        return widened(self._embed(actions))

    def predict(self, latents: Mapping[str, Array], actions: Float[Array, "*batch T A"]) -> dict[str, Array]:
        """For every frame of a window of at most `num_frames` frames, the latent of the frame after it.

        Args:
            latents: Latents of consecutive frames, oldest first; a vector source is [..., T, E], or [..., T, P, E]
                as this function returns it.
            actions: The planner action that leaves each frame.

        Returns:
            Predicted next latents; vector sources have an axis of patches, since the model predicts them in each.
        """
        frames = self._fuse(latents, self._embed(actions))
        predicted = self.predictor(frames.reshape(-1, *frames.shape[-3:])).reshape(frames.shape)
        return {name: widened(predicted[..., self.config.slot(name)]) for name in (PIXELS, *self.config.sources)}

    def rollout(
        self,
        latents: Mapping[str, Array],
        action_history: Float[Array, "B Th A"],
        actions: Float[Array, "B N H A"],
    ) -> dict[str, Array]:
        """Roll candidate action sequences forward from a context that they share.

        Args:
            latents: Latents of the Tc context frames, 'pixels' [B, Tc, P, D] and sources [B, Tc, E], oldest first;
                the last is the current one.
            action_history: The Tc - 1 planner actions between the context frames.
            actions: N candidate sequences of H planner actions for each problem.

        Returns:
            'pixels' [B, N, Tc + H, P, D] and sources [B, N, Tc + H, E]: the context, then H predictions. A predicted
            vector source is that of patch 0, as the reference reports it.

        Raises:
            UserError: The action history does not have Tc - 1 steps.
        """
        context, count = latents[PIXELS].shape[1], actions.shape[1]
        check_history(action_history, context)
        past = {name: latent[:, : context - 1] for name, latent in latents.items()}
        known = jnp.moveaxis(self._fuse(past, self._embed(action_history)), 1, 0)[:, :, None]
        coming = jnp.moveaxis(self._embed(actions), 2, 0)
        now = {name: jnp.broadcast_to(v[:, None, -1], (v.shape[0], count, *v.shape[2:])) for name, v in latents.items()}
        predicted = rollout(
            self.predictor,
            self.config.history_size,
            known,
            self._fuse(now, coming[0]),
            coming,
            self.config.slot(ACTION),
            self.config.remat,
        )
        result = {}
        for name in (PIXELS, *self.config.sources):
            slot = self.config.slot(name)
            new = predicted[..., slot] if name == PIXELS else predicted[..., 0, slot]
            result[name] = with_context(latents[name], widened(new))
        return result

    @property
    def _dtype(self) -> jnp.dtype:
        return self.predictor.pos_embedding[...].dtype

    def _embed(self, actions: Array) -> Array:
        return self.extra_encoders[ACTION](actions.astype(self._dtype))

    def _fuse(self, latents: Mapping[str, Array], actions: Float[Array, "*batch E"]) -> Float[Array, "*batch P F"]:
        """Tokens of frames: every patch with the vector sources and the action that leaves the frame."""
        pixels = latents[PIXELS].astype(self._dtype)
        parts = [pixels]
        for name, embedder in self.config.extra_encoders:
            part = actions if name == ACTION else latents[name].astype(self._dtype)
            if part.ndim < pixels.ndim:
                part = part[..., None, :]
            parts.append(jnp.broadcast_to(part, (*pixels.shape[:-1], embedder.emb_dim)))
        return jnp.concatenate(parts, axis=-1)
