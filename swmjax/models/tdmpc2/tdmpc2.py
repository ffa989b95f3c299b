"""TD-MPC2: a latent world model with rewards, values and a policy, learned for planning."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from envs_mjx.checks import UserError, check_counts
from swmjax.models.blocks.cnn import CNN, output_size
from swmjax.models.blocks.layers import layer_norm
from swmjax.models.blocks.precision import widened
from swmjax.models.blocks.two_hot import Bins, two_hot_inverse
from swmjax.models.inputs import ModelInputs
from swmjax.models.rollouts import markov_rollout
from swmjax.models.tdmpc2.layers import MLP, NormedLinear, RunningScale, plain_linear, sim_norm
from swmjax.models.tdmpc2.squashed_gaussian import log_std


@dataclass(frozen=True)
class TDMPC2Config:
    """Sizes of a TD-MPC2 and the constants of its planning cost.

    Attributes:
        action_dim: Entries of an action; actions lie in [-1, 1].
        encoding: Source and features of its encoding, in order; the source 'pixels' is a frame, others are vectors.
        extra_dims: Source and length of its vector; may list sources that are not encoded.
        image_size: Side of a frame, px.
        discount: Weight of the next step's reward, in [0, 1].
        uncertainty_penalty: Weight of the disagreement of the value heads.
        tau: Step of the running scale, in [0, 1].
        num_pi_trajs: Policy trajectories that `get_action` averages.
    """

    action_dim: int
    encoding: tuple[tuple[str, int], ...]
    extra_dims: tuple[tuple[str, int], ...] = ()
    image_size: int = 64
    mlp_dim: int = 384
    enc_dim: int = 256
    simnorm_dim: int = 8
    num_q: int = 5
    bins: Bins = field(default_factory=Bins)
    discount: float = 0.99
    uncertainty_penalty: float = 0.5
    tau: float = 0.01
    num_pi_trajs: int = 1

    def __post_init__(self) -> None:
        check_counts(
            "TDMPC2Config",
            action_dim=self.action_dim,
            image_size=self.image_size,
            mlp_dim=self.mlp_dim,
            enc_dim=self.enc_dim,
            simnorm_dim=self.simnorm_dim,
            num_q=self.num_q,
            num_pi_trajs=self.num_pi_trajs,
            **{f"encoding[{name!r}]": size for name, size in self.encoding},
            **{f"extra_dims[{name!r}]": size for name, size in self.extra_dims},
        )
        if not self.encoding:
            raise UserError("TDMPC2Config.encoding must name at least one source of observations, got none")
        missing = [name for name in self.vectors if name not in dict(self.extra_dims)]
        if missing:
            raise UserError(
                f"TDMPC2Config.extra_dims must have the length of every encoded vector; {missing} are missing"
            )
        if self.num_q < 2:
            raise UserError(f"TDMPC2Config.num_q must be at least 2 for a spread of values, got {self.num_q}")
        if self.latent_dim % self.simnorm_dim:
            raise UserError(
                f"TDMPC2Config.encoding must add up to a multiple of simnorm_dim ({self.simnorm_dim}), "
                f"got {self.latent_dim}"
            )
        if self.has_pixels and not output_size(self.image_size):
            raise UserError(f"TDMPC2Config.image_size is too small for the convolutions, got {self.image_size}")
        for name in ("discount", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"TDMPC2Config.{name} must lie in [0, 1], got {getattr(self, name)}")

    @property
    def has_pixels(self) -> bool:
        """Whether frames are encoded."""
        return "pixels" in dict(self.encoding)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The encoded vectors, in order."""
        return tuple(name for name, _ in self.encoding if name != "pixels")

    @property
    def latent_dim(self) -> int:
        """Features of a latent."""
        return sum(size for _, size in self.encoding)


Observations = Mapping[str, Array]
"""Arrays by source: vectors [..., D], frames [..., 3, H, W] or [..., H, W, 3] (ImageNet-normalised)."""


class TDMPC2(nnx.Module):
    """Latent world model whose plans are judged by rewards and a terminal value.

    Attribute names follow the reference's state dict. Markov in the latent: one frame of context is enough.
    It computes in the dtype of its parameters (`cast_model`), and returns float32 at least.

    Source: Hansen et al. 2024; reference, `wm/tdmpc2/tdmpc2.py`.
    """

    objective: ClassVar[None] = None

    def __init__(self, config: TDMPC2Config, *, rngs: nnx.Rngs):
        self.config = config
        sizes, lengths = dict(config.encoding), dict(config.extra_dims)
        self.scale = RunningScale(config.tau)
        if config.has_pixels:
            self.cnn = CNN(rngs=rngs)
            self.pixel_encoder = plain_linear(output_size(config.image_size), sizes["pixels"], rngs=rngs)
        self.extra_encoders = nnx.Dict(
            {
                name: nnx.List(
                    [
                        NormedLinear(lengths[name], config.enc_dim, rngs=rngs),
                        plain_linear(config.enc_dim, sizes[name], rngs=rngs),
                        layer_norm(sizes[name], rngs=rngs),
                    ]
                )
                for name in config.vectors
            }
        )
        latent, hidden, bins = config.latent_dim, config.mlp_dim, config.bins.count
        both = latent + config.action_dim
        self.dynamics = MLP(both, hidden, latent, groups=config.simnorm_dim, rngs=rngs)
        self.reward = MLP(both, hidden, bins, zero_last=True, rngs=rngs)
        self.pi = MLP(latent, hidden, 2 * config.action_dim, rngs=rngs)
        self.qs = nnx.List([MLP(both, hidden, bins, zero_last=True, rngs=rngs) for _ in range(config.num_q)])
        self.target_qs = nnx.clone(self.qs)

    @property
    def inputs(self) -> ModelInputs:
        """Frames if it has any, the encoded vectors, and actions of this size."""
        config, lengths = self.config, dict(self.config.extra_dims)
        size = config.image_size if config.has_pixels else None
        return ModelInputs(config.action_dim, size, vectors=tuple((name, lengths[name]) for name in config.vectors))

    def encode(self, obs: Observations | Array) -> Float[Array, "*batch D"]:
        """Latents of observations.

        Args:
            obs: Every encoded source with the same leading axes; frames of side `image_size`. A bare array is pixels.

        Returns:
            One latent for each observation.

        Raises:
            UserError: A source is missing or has another size.
        """
        obs = obs if isinstance(obs, Mapping) else {"pixels": obs}
        parts = []
        if self.config.has_pixels:
            frames = self._channels_last(_source(obs, "pixels")).astype(self._dtype)
            features = self.pixel_encoder(self.cnn(frames.reshape(-1, *frames.shape[-3:])))
            parts.append(features.reshape(*frames.shape[:-3], -1))
        for name in self.config.vectors:
            x = _source(obs, name).astype(self._dtype)
            if x.shape[-1] != dict(self.config.extra_dims)[name]:
                raise UserError(
                    f"obs[{name!r}] must have {dict(self.config.extra_dims)[name]} entries, got shape {x.shape}"
                )
            for layer in self.extra_encoders[name]:
                x = layer(x)
            parts.append(x)
        return sim_norm(widened(jnp.concatenate(parts, axis=-1)), self.config.simnorm_dim)

    def encode_current(self, obs: Observations) -> Float[Array, "B D"]:
        """Latents of the current observations.

        Args:
            obs: Every encoded source as [B, ...], or [B, T, ...] of which the last frame is taken.

        Returns:
            One latent for each problem.

        Raises:
            UserError: A source is missing or has another rank or size.
        """
        current = {}
        for name, _ in self.config.encoding:
            x, rank = _source(obs, name), 4 if name == "pixels" else 2
            if x.ndim not in (rank, rank + 1):
                raise UserError(f"obs[{name!r}] must have {rank} axes, or {rank + 1} with time, got shape {x.shape}")
            current[name] = x if x.ndim == rank else x[:, -1]
        return self.encode(current)

    def predict(self, latents: Float[Array, "*batch D"], actions: Float[Array, "*batch A"]) -> Float[Array, "*batch D"]:
        """The latent one step later.

        Args:
            latents: Latents.
            actions: The action that leaves each, in [-1, 1].

        Returns:
            Predicted latents.
        """
        return widened(self.dynamics(self._joined(latents, actions)))

    def rewards(self, latents: Float[Array, "*batch D"], actions: Float[Array, "*batch A"]) -> Float[Array, "*batch"]:
        """Expected rewards of taking actions in latents, in the environment's unit."""
        return two_hot_inverse(widened(self.reward(self._joined(latents, actions))), self.config.bins)

    def values(
        self, latents: Float[Array, "*batch D"], actions: Float[Array, "*batch A"], *, target: bool = False
    ) -> Float[Array, "Q *batch"]:
        """Discounted returns that each head expects.

        Args:
            latents: Latents.
            actions: The action taken in each, in [-1, 1].
            target: Whether to ask the target heads.

        Returns:
            Values by head, in the unit of the reward.
        """
        both = self._joined(latents, actions)
        heads = self.target_qs if target else self.qs
        return two_hot_inverse(widened(jnp.stack([head(both) for head in heads])), self.config.bins)

    def rollout(
        self,
        latents: Float[Array, "B Tc D"],
        action_history: Float[Array, "B Th A"],
        actions: Float[Array, "B N H A"],
    ) -> Float[Array, "B N T D"]:
        """Roll candidate action sequences forward from a context that they share.

        Args:
            latents: Latents of the Tc context frames; only the last matters.
            action_history: Actions between them, unused: the latent is Markov.
            actions: N candidate sequences of H actions for each problem.

        Returns:
            Latents [B, N, Tc + H, D]: the context, then H predictions.
        """
        return markov_rollout(self.predict, latents, actions)

    def plan_cost(self, latents: Float[Array, "B D"], actions: Float[Array, "B N H A"]) -> Float[Array, "B N"]:
        """Minus the discounted rewards of each candidate and the cautious value of where it ends.

        Args:
            latents: Current latents, from `encode_current`.
            actions: N candidate sequences of H actions for each problem, in [-1, 1].

        Returns:
            Costs; lower is better.

        Source: reference, `TDMPC2.get_cost`.
        """
        batch, count, horizon, _ = actions.shape

        def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            (latent, gain), (action, weight) = carry, inputs
            return (self.predict(latent, action), gain + weight * self.rewards(latent, action)), None

        start = jnp.broadcast_to(latents[:, None], (batch, count, latents.shape[-1]))
        weights = jnp.asarray(self.config.discount ** np.arange(horizon + 1), latents.dtype)
        none = jnp.zeros((batch, count), latents.dtype)
        (last, gain), _ = jax.lax.scan(step, (start, none), (jnp.moveaxis(actions, 2, 0), weights[:-1]))
        values = self.values(last, self.mean_action(last))
        mean, spread = jnp.mean(values, axis=0), jnp.std(values, axis=0, ddof=1)
        cautious = mean - self.config.uncertainty_penalty * jnp.abs(mean) * spread
        return -(gain + weights[-1] * cautious)

    def policy(self, latents: Float[Array, "*batch D"]) -> tuple[Float[Array, "*batch A"], Float[Array, "*batch A"]]:
        """Mean and log standard deviation of the policy prior, before it is squashed by tanh."""
        mean, spread = jnp.split(widened(self.pi(latents.astype(self._dtype))), 2, axis=-1)
        return mean, log_std(spread)

    def mean_action(self, latents: Float[Array, "*batch D"]) -> Float[Array, "*batch A"]:
        """The deterministic action of the policy prior, in [-1, 1]."""
        return jnp.tanh(self.policy(latents)[0])

    def act(self, obs: Observations, key: PRNGKeyArray | None = None) -> Float[Array, "B A"]:
        """The action for the last of the observations, as `encode_current` takes them: a sample, or without a key the
        mean."""
        latents = self.encode_current(obs)
        return self.mean_action(latents) if key is None else self.get_action(key, latents)[:, 0]

    def policy_rollout(self, latents: Float[Array, "B D"], noise: Float[Array, "B K H A"]) -> Float[Array, "B K H A"]:
        """Action sequences of the policy prior in its own imagination.

        Args:
            latents: Current latents.
            noise: Standard normal draws for K trajectories of H steps; zeros give the mean actions.

        Returns:
            Actions in [-1, 1].
        """

        def step(latent: Array, noise: Array) -> tuple[Array, Array]:
            mean, spread = self.policy(latent)
            action = jnp.tanh(mean + jnp.exp(spread) * noise)
            return self.predict(latent, action), action

        start = jnp.broadcast_to(latents[:, None], (*noise.shape[:2], latents.shape[-1]))
        _, actions = jax.lax.scan(step, start, jnp.moveaxis(noise, 2, 0))
        return jnp.moveaxis(actions, 0, 2)

    def get_action(
        self,
        key: PRNGKeyArray,
        latents: Float[Array, "B D"],
        horizon: int = 1,
        prefix_actions: Float[Array, "B P A"] | None = None,
    ) -> Float[Array, "B H A"]:
        """Actions of the policy prior, averaged over `num_pi_trajs` trajectories.

        Args:
            key: Randomness of the trajectories.
            latents: Current latents, from `encode_current`.
            horizon: Steps to plan.
            prefix_actions: Actions already decided; the trajectories start behind them.

        Returns:
            Actions in [-1, 1].
        """
        if prefix_actions is not None:
            for step in range(prefix_actions.shape[1]):
                latents = self.predict(latents, prefix_actions[:, step])
        shape = (latents.shape[0], self.config.num_pi_trajs, horizon, self.config.action_dim)
        return jnp.mean(self.policy_rollout(latents, jax.random.normal(key, shape, latents.dtype)), axis=1)

    @property
    def _dtype(self) -> jnp.dtype:
        return self.dynamics[0].kernel[...].dtype

    def _joined(self, latents: Array, actions: Array) -> Array:
        return jnp.concatenate([latents, actions], axis=-1).astype(self._dtype)

    def _channels_last(self, frames: Array) -> Array:
        if frames.ndim >= 3 and frames.shape[-1] != 3:
            frames = jnp.moveaxis(frames, -3, -1)
        side = self.config.image_size
        if frames.shape[-3:] != (side, side, 3):
            raise UserError(f"obs['pixels'] must be RGB frames of side {side}, got shape {frames.shape}")
        return frames


def _source(obs: Observations, name: str) -> Array:
    if name not in obs:
        raise UserError(f"obs has no {name!r}; it has {', '.join(sorted(obs)) or 'nothing'}")
    return obs[name]
