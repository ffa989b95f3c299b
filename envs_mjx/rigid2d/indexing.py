"""Indexing along the first axis by indices that are known when the program is written, or that differ by lane."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped


def pick(x: Shaped[Array, "n *rest"], index: Sequence[int] | np.ndarray) -> Shaped[Array, "m *rest"]:
    """`x[index]` for a static index from 0 on."""
    index = np.asarray(index, np.int32)
    if len(index) and np.array_equal(index, index[0] + np.arange(len(index))):
        return x[index[0] : index[0] + len(index)]
    return x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def choose(index: Int[Array, " #L"] | int, x: Shaped[Array, "n *rest L"]) -> Shaped[Array, "*rest L"]:
    """Of every lane the entry of `x` with the index."""
    numbers = np.arange(x.shape[0], dtype=np.int32).reshape(-1, *[1] * (x.ndim - 1))
    here = numbers == jnp.reshape(index, (1,) * (x.ndim - 1) + (-1,))
    if x.dtype == bool:
        return (here & x).any(axis=0)
    return jnp.where(here, x, 0).sum(axis=0, dtype=x.dtype)


def put(
    x: Shaped[Array, "n *rest"], index: Sequence[int] | np.ndarray, values: Shaped[Array, "m *rest"]
) -> Shaped[Array, "n *rest"]:
    """`x.at[index].set(values)` for a static index without repeats."""
    place = {int(i): k for k, i in enumerate(index)}
    rows = [values[place[i]][None] if i in place else x[i][None] for i in range(x.shape[0])]
    return rows[0] if len(rows) == 1 else jnp.concatenate(rows)


def swap_halves(x: Shaped[Array, "n L"], single: int) -> Shaped[Array, "n L"]:
    """Exchange neighbours (0 with 1, 2 with 3, ...) after the first `single` entries."""
    doubled = x[single:].reshape(-1, 2, x.shape[1])
    return jnp.concatenate([x[:single], doubled[:, ::-1].reshape(-1, x.shape[1])])
