"""Indexing with indices known when the program is written: slices and broadcasts, not gathers, which CPUs do slowly."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped


def pick(x: Shaped[Array, "n *rest"], index: Sequence[int] | np.ndarray) -> Shaped[Array, "m *rest"]:
    """`x[index]` for a static index."""
    index = [int(i) for i in index]
    rest = x.shape[1:]
    pieces = []
    start = 0
    while start < len(index):
        length, repeats = _run(index, start)
        piece = x[index[start] : index[start] + length]
        if repeats > 1:
            piece = jnp.broadcast_to(piece[:, None], (length, repeats, *rest)).reshape(length * repeats, *rest)
        pieces.append(piece)
        start += length * repeats
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)


def put(
    x: Shaped[Array, "n *rest"], index: Sequence[int] | np.ndarray, values: Shaped[Array, "m *rest"]
) -> Shaped[Array, "n *rest"]:
    """`x.at[index].set(values)` for a static index without repeats."""
    place = {int(i): k for k, i in enumerate(index)}
    return jnp.stack([values[place[i]] if i in place else x[i] for i in range(x.shape[0])])


def swap_halves(x: Shaped[Array, " n"], single: int) -> Shaped[Array, " n"]:
    """Exchange neighbours (0 with 1, 2 with 3, ...) after the first `single` entries."""
    doubled = x[single:].reshape(-1, 2)
    return jnp.concatenate([x[:single], doubled[:, ::-1].reshape(-1)])


def _run(index: list[int], start: int) -> tuple[int, int]:
    """The longest piece a, a, b, b, ... of consecutive numbers, each equally often, as (numbers, times each)."""
    repeats = 1
    while start + repeats < len(index) and index[start + repeats] == index[start]:
        repeats += 1
    length = 1
    while index[start + length * repeats : start + (length + 1) * repeats] == [index[start] + length] * repeats:
        length += 1
    return length, repeats
