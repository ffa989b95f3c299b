"""Decisions for a whole batch under `vmap`: skip work that no row needs, without changing any row's result."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int

_CHUNKS = {"cpu": 32}
"""Rows that `where_needed` handles at a time: small on CPUs, where time grows with the rows; else the whole batch."""


@custom_vmap
def max_in_batch(x: Int[Array, ""]) -> Int[Array, ""]:
    """The largest of an integer over every enclosing `vmap`: not batched itself, so `cond` stays a real branch.

    Use it only to choose between programs that give the same result for every row.
    """
    return x


@max_in_batch.def_vmap
def _max_in_batch_rule(axis_size, in_batched, x):
    return max_in_batch(jnp.max(x, axis=0) if in_batched[0] else x), False


def any_in_batch(x: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether a predicate holds in any row of every enclosing `vmap`."""
    return max_in_batch(x.astype(jnp.int32)) > 0


def where_needed(needed: Bool[Array, ""], fn: Callable[[Any], Any], operand: Any, default: Any) -> Any:
    """`fn(operand)` if needed, else `default`; under `vmap`, `fn` runs only for the rows that need it.

    The rows of all enclosing `vmap`s that need it are gathered, and handled a chunk at a time.

    Args:
        needed: Whether this row needs `fn`.
        fn: A function without traced values of its own; not differentiable through this call.
        operand: Its argument.
        default: The result of a row that does not need it, of the same structure as `fn`'s.
    """

    @custom_vmap
    def one(needed, operand, default):
        return jax.lax.cond(needed, lambda: fn(operand), lambda: default)

    @one.def_vmap
    def _rule(size, batched, needed, operand, default):
        args, flags = (needed, operand, default), tuple(jax.tree.leaves(tuple(batched)))
        out = _for_rows(fn, flags)(*args) if any(flags) else one(*args)
        return out, jax.tree.map(lambda _: any(flags), out)

    return one(needed, operand, default)


def _for_rows(fn, flags):
    """`where_needed` for rows along the first axis of every leaf whose flag is set."""

    @custom_vmap
    def rows(needed, operand, default):
        return _run_rows(fn, flags, needed, operand, default)

    @rows.def_vmap
    def _rule(size, batched, *args):
        leaves, tree = jax.tree.flatten(args)
        outer = jax.tree.leaves(tuple(batched))
        inner = next(x.shape[1 if o else 0] for x, o, f in zip(leaves, outer, flags, strict=True) if f)
        flat = [_merge_axes(x, o, f, size, inner) for x, o, f in zip(leaves, outer, flags, strict=True)]
        merged = tuple(o or f for o, f in zip(outer, flags, strict=True))
        out = _for_rows(fn, merged)(*jax.tree.unflatten(tree, flat))
        split = jax.tree.map(lambda x: x.reshape(size, inner, *x.shape[1:]), out)
        return split, jax.tree.map(lambda _: True, split)

    return rows


def _merge_axes(x, outer, inner, size, count):
    """Rows [size * count, ...] of a leaf that has the outer axis, the inner axis, both, or neither (left alone)."""
    if not outer and not inner:
        return x
    rest = x.shape[int(outer) + int(inner) :]
    if not inner:
        x = x[:, None]
    if not outer:
        x = x[None]
    return jnp.broadcast_to(x, (size, count, *rest)).reshape(size * count, *rest)


def _run_rows(fn, flags, needed, operand, default):
    leaves, tree = jax.tree.flatten((needed, operand, default))
    count = next(x.shape[0] for x, flag in zip(leaves, flags, strict=True) if flag)
    axes = jax.tree.unflatten(tree, [0 if flag else None for flag in flags])
    every = [x if flag else jnp.broadcast_to(x[None], (count, *x.shape)) for x, flag in zip(leaves, flags, strict=True)]
    needed, _, default = jax.tree.unflatten(tree, every)
    run = jax.vmap(lambda _, argument: fn(argument), in_axes=(0, axes[1]))
    chunk = _CHUNKS.get(jax.default_backend(), count)
    if count <= chunk:
        found = jax.lax.cond(jnp.any(needed), lambda: run(needed, operand), lambda: default)
        return jax.tree.map(lambda new, old: _select(needed, new, old), found, default)
    ahead = jnp.cumsum(needed, dtype=jnp.int32)
    rounds = -(-count // chunk)
    # The k-th row in need, for every k; rows past the last are anybody, and their results are not looked at.
    rows = jnp.minimum(jnp.searchsorted(ahead, jnp.arange(rounds * chunk, dtype=jnp.int32) + 1), count - 1)
    parts, shape = jax.tree.flatten(operand)
    batched = flags[1 : 1 + len(parts)]

    def handle(carry):
        start, found = carry
        mine = jax.lax.dynamic_slice(rows, (start,), (chunk,))
        part = jax.tree.unflatten(shape, [x[mine] if flag else x for x, flag in zip(parts, batched, strict=True)])
        put = jax.lax.dynamic_update_slice_in_dim
        new = run(needed[mine], part)
        return start + chunk, jax.tree.map(lambda whole, piece: put(whole, piece, start, 0), found, new)

    empty = jax.tree.map(lambda x: jnp.zeros((rounds * chunk, *x.shape[1:]), x.dtype), default)
    _, found = jax.lax.while_loop(lambda c: c[0] < ahead[-1], handle, (jnp.zeros((), jnp.int32), empty))
    place = jnp.maximum(ahead - 1, 0)
    return jax.tree.map(lambda new, old: _select(needed, new[place], old), found, default)


def _select(condition, new, old):
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)
