"""Draws of recorded gradient solvers, see `tests/golden/make_gradient_solver_goldens.py`."""

import jax.numpy as jnp


def descent_noise(first, *later):
    """Draws of the starts [B, N-1, H, A] and of the steps [B, N, H, A] as [B, 1 + steps, N, H, A]."""
    starts = jnp.pad(jnp.asarray(first), ((0, 0), (1, 0), (0, 0), (0, 0)))
    return jnp.stack([starts, *map(jnp.asarray, later)], axis=1)
