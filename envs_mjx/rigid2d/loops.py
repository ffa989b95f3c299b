"""Loops that are as long as the busiest scene of a batch needs."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Int

from envs_mjx.rigid2d.batching import max_in_batch


def for_each_active(
    count: Int[Array, ""], limit: int, body: Callable[[Any, Any], Any], carry: Any, differentiable: bool
) -> Any:
    """Run `body(i, carry)` for i below the largest count in the batch; `body` must leave finished scenes unchanged.

    Args:
        count: Rounds that this scene needs, at most `limit`.
        limit: Static bound.
        body: One round.
        carry: Start value.
        differentiable: Use the static bound, which reverse-mode differentiation needs.
    """
    rounds = limit if differentiable else max_in_batch(count)
    return jax.lax.fori_loop(0, rounds, body, carry)
