"""The heads of the goal-conditioned baselines: actions or values, action values, and a metric value."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_counts
from swmjax.models.blocks.layers import Relu, linear
from swmjax.models.blocks.transformer import TrunkConfig
from swmjax.models.gcrl.transformer import Transformer


def _check_pool(owner: str, pool: str) -> None:
    if pool not in ("attention", "mean"):
        raise UserError(f"{owner}.pool must be 'attention' or 'mean', got {pool!r}")


@dataclass(frozen=True, kw_only=True)
class GoalPredictorConfig(TrunkConfig):
    """Sizes of a predictor of `out_dim` numbers a frame: an action, or a value."""

    out_dim: int
    pool: str = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts("GoalPredictorConfig", out_dim=self.out_dim)
        _check_pool("GoalPredictorConfig", self.pool)


@dataclass(frozen=True, kw_only=True)
class QPredictorConfig(TrunkConfig):
    """Sizes of a predictor of the value of an action."""

    action_dim: int
    q_hidden_dim: int = 256
    pool: str = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts("QPredictorConfig", action_dim=self.action_dim, q_hidden_dim=self.q_hidden_dim)
        _check_pool("QPredictorConfig", self.pool)


@dataclass(frozen=True, kw_only=True)
class MetricValuePredictorConfig(TrunkConfig):
    """Sizes of a value that is minus a distance of embeddings."""

    embed_dim: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts("MetricValuePredictorConfig", embed_dim=self.embed_dim)


class _Positions(nnx.Module):
    """Position embeddings of the observed frames and of the goal."""

    def __init__(self, config: TrunkConfig, *, rngs: nnx.Rngs):
        self.config = config
        tokens = config.num_frames * config.num_patches
        self.pos_embedding = nnx.Param(jax.random.normal(rngs.params(), (1, tokens, config.dim)))
        self.pos_embedding_goal = nnx.Param(jax.random.normal(rngs.params(), (1, config.num_patches, config.dim)))

    def _placed(self, x: Float[Array, "B T P D"]) -> Float[Array, "B T P D"]:
        frames, patches, dim = x.shape[1:]
        config = self.config
        if frames > config.num_frames or (patches, dim) != (config.num_patches, config.dim):
            raise UserError(
                f"embeddings must have at most {config.num_frames} frames of {config.num_patches} patches of size "
                f"{config.dim}, got shape {x.shape}"
            )
        return x + self.pos_embedding[:, : frames * patches].reshape(1, frames, patches, dim)

    def _placed_goal(self, goal: Float[Array, "B 1 P D"]) -> Float[Array, "B P D"]:
        if goal.shape[1:] != (1, self.config.num_patches, self.config.dim):
            raise UserError(
                f"the goal must be 1 frame of {self.config.num_patches} patches of size {self.config.dim}, "
                f"got shape {goal.shape}"
            )
        return goal[:, 0] + self.pos_embedding_goal[...]


class GoalPredictor(_Positions):
    """For every frame of a window, an action or a value, given the goal.

    Source: reference, `Predictor` of `wm/gcrl/module.py`.
    """

    def __init__(self, config: GoalPredictorConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        self.transformer = Transformer(config, pool=config.pool, sees_goal=True, rngs=rngs)
        self.out_proj = linear(config.dim, config.out_dim, rngs=rngs)

    def __call__(self, x: Float[Array, "B T P D"], goal: Float[Array, "B 1 G D"]) -> Float[Array, "B T O"]:
        """Predictions from a frame and those before it.

        Args:
            x: Embeddings of at most `num_frames` frames, oldest first.
            goal: Embedding of the goal.

        Returns:
            One prediction a frame.

        Raises:
            UserError: Embeddings of another size.
        """
        return self.out_proj(self.transformer(self._placed(x), self._placed_goal(goal)))


class QPredictor(_Positions):
    """Value of an action at every frame of a window, given the goal.

    Source: reference, `wm/gcrl/module.py`.
    """

    def __init__(self, config: QPredictorConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        self.transformer = Transformer(config, pool=config.pool, sees_goal=True, rngs=rngs)
        hidden = config.q_hidden_dim
        self.q_head = nnx.List(
            [
                linear(config.dim + config.action_dim, hidden, rngs=rngs),
                Relu(),
                linear(hidden, hidden, rngs=rngs),
                Relu(),
                linear(hidden, 1, rngs=rngs),
            ]
        )

    def __call__(
        self, x: Float[Array, "B T P D"], actions: Float[Array, "B T A"], goal: Float[Array, "B 1 G D"]
    ) -> Float[Array, "B T 1"]:
        """Values of actions.

        Args:
            x: Embeddings of at most `num_frames` frames, oldest first.
            actions: The action taken at each (normalised as in training).
            goal: Embedding of the goal.

        Returns:
            One value a frame.

        Raises:
            UserError: Embeddings of another size.
        """
        frames = self.transformer(self._placed(x), self._placed_goal(goal))
        q = jnp.concatenate([frames, actions], axis=-1)
        for layer in self.q_head:
            q = layer(q)
        return q


class MetricValuePredictor(_Positions):
    """Value as minus the distance of frame and goal in a learned space; never above -0.001.

    The goal is embedded as if it were the first frame; its own positions are part of the state dict but unused.

    Source: Park et al. 2024 (HILP); reference, `wm/gcrl/module.py`.
    """

    def __init__(self, config: MetricValuePredictorConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        self.transformer = Transformer(config, pool="attention", sees_goal=False, rngs=rngs)
        self.embed_proj = linear(config.dim, config.embed_dim, rngs=rngs)

    def encode(self, x: Float[Array, "B T P D"]) -> Float[Array, "B T E"]:
        """Points of frames in the learned space."""
        placed = self._placed(x)
        return self.embed_proj(self.transformer(placed, placed[:, 0]))

    def __call__(self, x: Float[Array, "B T P D"], goal: Float[Array, "B 1 G D"]) -> Float[Array, "B T 1"]:
        """Values of frames.

        Args:
            x: Embeddings of at most `num_frames` frames, oldest first.
            goal: Embedding of the goal.

        Returns:
            One value a frame, at most -0.001.

        Raises:
            UserError: Embeddings of another size.
        """
        squares = jnp.sum(jnp.square(self.encode(x) - self.encode(goal)), axis=-1, keepdims=True)
        return -jnp.sqrt(jnp.maximum(squares, 1e-6))
