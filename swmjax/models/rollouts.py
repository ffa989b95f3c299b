"""What rollouts have in common: a context in front of the predictions, and the loop of a Markov model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError


def markov_rollout(predict: Callable[[Any, Array], Any], latents: Any, actions: Float[Array, "B N H A"]) -> Any:
    """Roll candidate action sequences forward with a model whose current latent says all.

    Args:
        predict: latents [B, N, *D] and the actions [B, N, A] that leave them to the latents one step later.
        latents: latents [B, Tc, *D] of the context frames, an array or a pytree; only the last matters.
        actions: N candidate sequences of H planner actions for each problem.

    Returns:
        Latents [B, N, Tc + H, *D]: the context, then H predictions.
    """
    count = actions.shape[1]

    def step(latent: Any, action: Array) -> tuple[Any, Any]:
        latent = predict(latent, action)
        return latent, latent

    now = jax.tree.map(lambda leaf: _repeated(leaf[:, -1], count), latents)
    _, predicted = jax.lax.scan(step, now, jnp.moveaxis(actions, 2, 0))
    return jax.tree.map(with_context, latents, predicted)


def with_context(latents: Float[Array, "B Tc *D"], predicted: Float[Array, "H B N *D"]) -> Float[Array, "B N Tc+H *D"]:
    """Predictions of N candidates behind the context that they share."""
    predicted = jnp.moveaxis(predicted, 0, 2)
    return jnp.concatenate([_repeated(latents.astype(predicted.dtype), predicted.shape[1]), predicted], axis=2)


def check_history(action_history: Float[Array, "B Th A"], context: int) -> None:
    """UserError unless there is an action between any two frames of the context."""
    if action_history.shape[1] != context - 1:
        raise UserError(
            f"action_history must have {context - 1} steps for a context of {context} frames, "
            f"got {action_history.shape[1]}"
        )


def _repeated(leaf: Array, count: int) -> Array:
    """[B, N, ...] from [B, ...]."""
    return jnp.broadcast_to(leaf[:, None], (leaf.shape[0], count, *leaf.shape[1:]))
