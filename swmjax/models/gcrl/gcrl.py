"""Goal-conditioned baselines GCBC, GCIQL, GCIVL and HILP: a policy, and what its training has beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from envs_mjx.checks import UserError, check_counts
from swmjax.models.blocks.dinov2 import DINOv2, DINOv2Config
from swmjax.models.blocks.layers import LinearEmbedder, LinearEmbedderConfig
from swmjax.models.blocks.precision import widened
from swmjax.models.blocks.resnet import ResNet, ResNetConfig
from swmjax.models.blocks.vit import ViT, ViTConfig
from swmjax.models.gcrl.predictors import (
    GoalPredictor,
    GoalPredictorConfig,
    MetricValuePredictor,
    MetricValuePredictorConfig,
    QPredictor,
    QPredictorConfig,
)

EncoderConfig = ViTConfig | DINOv2Config | ResNetConfig
ValueConfig = GoalPredictorConfig | MetricValuePredictorConfig
Wrapper = Literal["none", "frozen", "teacher"]
"""How a part lies in the state dict: by itself, at `.backbone`, or at `.student` and `.teacher`."""


@dataclass(frozen=True)
class GCRLConfig:
    """The parts of a goal-conditioned baseline.

    GCBC has a policy only. GCIQL, GCIVL and HILP train a value first (with a teacher; GCIQL with a critic too), then
    a policy beside the frozen value.

    Attributes:
        encoder: Encoder of frames.
        action_predictor: The policy.
        value: The value, or None.
        critic: The value of actions, or None.
        extra_encoders: Name and embedder of every vector that is fused with the patches, in order.
        encoder_wrapper: 'frozen' or 'none'.
        value_wrapper: Of the value and the critic.
        history_size: Frames that the policy sees.
        log_std_min: Lower bound of the policy's log standard deviations.
        log_std_max: Upper bound.
    """

    encoder: EncoderConfig
    action_predictor: GoalPredictorConfig
    value: ValueConfig | None = None
    critic: QPredictorConfig | None = None
    extra_encoders: tuple[tuple[str, LinearEmbedderConfig], ...] = ()
    encoder_wrapper: Wrapper = "none"
    value_wrapper: Wrapper = "none"
    history_size: int = 3
    log_std_min: float = -5.0
    log_std_max: float = 2.0

    def __post_init__(self) -> None:
        check_counts("GCRLConfig", history_size=self.history_size)
        width = self.encoder.hidden_size + sum(embedder.emb_dim for _, embedder in self.extra_encoders)
        for name in ("action_predictor", "value", "critic"):
            part = getattr(self, name)
            if part is not None and part.dim != width:
                raise UserError(
                    f"GCRLConfig: {name}.dim must be {width}, the sizes of the encoders together, got {part.dim}"
                )
        if self.encoder_wrapper == "teacher":
            raise UserError("GCRLConfig.encoder_wrapper must be 'none' or 'frozen', got 'teacher'")
        if self.log_std_min > self.log_std_max:
            raise UserError(
                f"GCRLConfig.log_std_min must not exceed log_std_max ({self.log_std_max}), got {self.log_std_min}"
            )


class Frozen(nnx.Module):
    """A part that is not trained any more, at `backbone`."""

    def __init__(self, part: nnx.Module):
        self.backbone = part

    def __call__(self, *arguments: Array) -> Array:
        return self.backbone(*arguments)  # type: ignore[operator]


class TeacherStudent(nnx.Module):
    """A part in training and its moving average; calling it asks the average.

    Source: stable-pretraining, `TeacherStudentWrapper`.
    """

    def __init__(self, part: nnx.Module):
        self.student = part
        self.teacher = nnx.clone(part)
        self.base_ema_coefficient = nnx.Variable(jnp.array(0.995))
        self.final_ema_coefficient = nnx.Variable(jnp.array(0.995))
        self.ema_coefficient = nnx.Variable(jnp.array(0.995))

    def __call__(self, *arguments: Array) -> Array:
        return self.teacher(*arguments)  # type: ignore[operator]


def _wrapped(part: nnx.Module, wrapper: Wrapper) -> Any:
    return {"none": lambda part: part, "frozen": Frozen, "teacher": TeacherStudent}[wrapper](part)


class GCRL(nnx.Module):
    """Policy from frames and a goal frame; attribute names follow the reference's state dict.

    It computes in the dtype of its parameters (`cast_model`), and returns float32 at least.

    Source: reference, `wm/gcrl/gcrl.py`.
    """

    def __init__(self, config: GCRLConfig, *, rngs: nnx.Rngs):
        self.config = config
        encoders = {ViTConfig: ViT, DINOv2Config: DINOv2, ResNetConfig: ResNet}
        encoder = encoders[type(config.encoder)](config.encoder, rngs=rngs)  # type: ignore[arg-type]
        self.encoder = _wrapped(encoder, config.encoder_wrapper)
        self.action_predictor = GoalPredictor(config.action_predictor, rngs=rngs)
        if isinstance(config.value, GoalPredictorConfig):
            self.value_predictor = _wrapped(GoalPredictor(config.value, rngs=rngs), config.value_wrapper)
        elif config.value:
            self.value_predictor = _wrapped(MetricValuePredictor(config.value, rngs=rngs), config.value_wrapper)
        if config.critic:
            self.critic_predictor = _wrapped(QPredictor(config.critic, rngs=rngs), config.value_wrapper)
        self.extra_encoders = nnx.Dict(
            {name: LinearEmbedder(embedder, rngs=rngs) for name, embedder in config.extra_encoders}
        )
        self.log_stds = nnx.Param(jnp.zeros(config.action_predictor.out_dim))

    def encode(
        self, obs: Mapping[str, Array], *, pixels_key: str = "pixels", prefix: str = ""
    ) -> Float[Array, "B T P D"]:
        """Embeddings of frames, patch by patch, each with the embedded vectors of its frame behind it.

        Args:
            obs: ImageNet-normalised frames [B, T, 3, H, W] at `pixels_key`, vectors [B, T, I] at prefix + name.
            pixels_key: Where the frames are.
            prefix: Put before the vectors' names.

        Returns:
            Fused embeddings, without the class token.

        Raises:
            UserError: A source is missing.
        """
        frames = _source(obs, pixels_key).astype(self._dtype)
        batch, time = frames.shape[:2]
        tokens = self.encoder(frames.reshape(batch * time, *frames.shape[2:]))
        # A convolutional backbone has one token a frame and no class token.
        patches = tokens[:, None] if tokens.ndim == 2 else tokens[:, 1:]
        parts = [patches.reshape(batch, time, *patches.shape[1:])]
        for name, _ in self.config.extra_encoders:
            vectors = self.extra_encoders[name](_source(obs, prefix + name).astype(self._dtype))
            parts.append(jnp.broadcast_to(vectors[:, :, None], (*parts[0].shape[:3], vectors.shape[-1])))
        return widened(jnp.concatenate(parts, axis=-1))

    def encode_goal(self, obs: Mapping[str, Array]) -> Float[Array, "B 1 P D"]:
        """Embedding of the goal: the frame at 'goal' and the vectors at 'goal_' and their names."""
        return self.encode(obs, pixels_key="goal", prefix="goal_")

    def predict_actions(
        self, embedding: Float[Array, "B T P D"], goal: Float[Array, "B 1 G D"], temperature: float = 1.0
    ) -> tuple[Float[Array, "B T A"], Float[Array, " A"]]:
        """The policy at every frame of a window.

        Args:
            embedding: Embeddings of at most `history_size` frames, oldest first.
            goal: Embedding of the goal.
            temperature: Factor of the standard deviations.

        Returns:
            Means of the actions (normalised as in training), and their standard deviations, the same for all.
        """
        bounded = jnp.clip(widened(self.log_stds[...]), self.config.log_std_min, self.config.log_std_max)
        return self._asked(self.action_predictor, embedding, goal), jnp.exp(bounded) * temperature

    def predict_values(
        self, embedding: Float[Array, "B T P D"], goal: Float[Array, "B 1 G D"]
    ) -> Float[Array, "B T 1"]:
        """Values of frames, those of the teacher while there is one.

        Raises:
            UserError: The model has no value.
        """
        if self.config.value is None:
            raise UserError("this model has no value predictor; it is a policy only")
        return self._asked(self.value_predictor, embedding, goal)

    def predict_action_values(
        self, embedding: Float[Array, "B T P D"], actions: Float[Array, "B T A"], goal: Float[Array, "B 1 G D"]
    ) -> Float[Array, "B T 1"]:
        """Values of actions at every frame, those of the teacher while there is one.

        Raises:
            UserError: The model has no critic.
        """
        if self.config.critic is None:
            raise UserError("this model has no critic; only the value phase of GCIQL has one")
        return self._asked(self.critic_predictor, embedding, actions, goal)

    def get_action(
        self, obs: Mapping[str, Array], key: PRNGKeyArray | None = None, temperature: float = 1.0
    ) -> Float[Array, "B A"]:
        """The policy's action at the last frame.

        Args:
            obs: Sources of `encode` and of `encode_goal`.
            key: Randomness of a sample; None for the mean.
            temperature: Factor of the sample's standard deviations.

        Returns:
            Actions, normalised as in training.
        """
        means, stds = self.predict_actions(self.encode(obs), self.encode_goal(obs), temperature)
        if key is None:
            return means[:, -1]
        return means[:, -1] + stds[None] * jax.random.normal(key, means[:, -1].shape, means.dtype)

    def act(self, obs: Mapping[str, Array], key: PRNGKeyArray | None = None) -> Float[Array, "B A"]:
        """The action for the last frame, a sample, or without a key the mean; see `get_action`."""
        return self.get_action(obs, key)

    @property
    def _dtype(self) -> jnp.dtype:
        return self.log_stds[...].dtype

    def _asked(self, part: Any, *arguments: Array) -> Array:
        return widened(part(*(argument.astype(self._dtype) for argument in arguments)))


def _source(obs: Mapping[str, Array], name: str) -> Array:
    if name not in obs:
        raise UserError(f"obs has no {name!r}; it has {', '.join(sorted(obs)) or 'nothing'}")
    return obs[name]
