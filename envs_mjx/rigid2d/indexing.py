"""Indexing with indices known when the program is written: slices instead of gathers, which are slow on a CPU."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped


def pick(x: Shaped[Array, "n *rest"], index: Sequence[int]) -> Shaped[Array, "m *rest"]:
    """`x[index]` for a static index."""
    index = tuple(int(i) for i in index)
    if index == tuple(range(x.shape[0])):
        return x
    if len(set(index)) == 1:
        return jnp.broadcast_to(x[index[0]][None], (len(index), *x.shape[1:]))
    runs: list[list[int]] = []
    for i in index:
        if runs and runs[-1][1] == i:
            runs[-1][1] += 1
        else:
            runs.append([i, i + 1])
    return jnp.concatenate([x[a:b] for a, b in runs])


def put(x: Shaped[Array, " n"], index: Sequence[int], values: Shaped[Array, " m"]) -> Shaped[Array, " n"]:
    """`x.at[index].set(values)` for a static index without repeats."""
    place = {int(i): k for k, i in enumerate(index)}
    return jnp.stack([values[place[i]] if i in place else x[i] for i in range(x.shape[0])])
