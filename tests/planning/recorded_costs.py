"""Costs and draws of the solver runs that were recorded from the reference, see `tests/golden`."""

import jax.numpy as jnp
import numpy as np


def quad(target, actions):
    return jnp.sum(jnp.square(actions - target[None]), axis=(1, 2))


def wavy(target, actions):
    return quad(target, actions) + 0.3 * jnp.sum(jnp.sin(5 * actions), axis=(1, 2))


def discrete(weights, actions):
    return jnp.sum(actions * weights[None], axis=(1, 2))


def constraints(actions):
    return jnp.stack([jnp.sum(actions, axis=(1, 2)) - 1, jnp.sum(jnp.square(actions), axis=(1, 2)) - 6], axis=-1)


def recorded_noise(golden, batch_sizes, n_steps):
    """The draws, which come batch by batch and then step by step, as [problems, n_steps, N, ...]."""
    draws = [golden[f"draw{index}"] for index in range(len(batch_sizes) * n_steps)]
    batches = [np.stack(draws[i * n_steps : (i + 1) * n_steps], axis=1) for i in range(len(batch_sizes))]
    assert [batch.shape[0] for batch in batches] == batch_sizes
    return jnp.asarray(np.concatenate(batches))
