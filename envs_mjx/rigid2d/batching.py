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


def where_needed(
    needed: Bool[Array, ""], effort: Int[Array, ""], fn: Callable[[Any], Any], operand: Any, default: Any
) -> Any:
    """`fn(operand)` if needed, else `default`; under `vmap`, `fn` runs only for the rows that need it.

    The rows of all enclosing `vmap`s that need it are gathered, and handled a chunk at a time.

    Args:
        needed: Whether this row needs `fn`.
        effort: Rows of like effort are handled together; a guess of how long `fn` takes for this row, at least 0.
        fn: A function without traced values of its own; not differentiable through this call.
        operand: Its argument.
        default: The result of a row that does not need it, of the same structure as `fn`'s.
    """

    @custom_vmap
    def one(needed, effort, operand, default):
        return jax.lax.cond(needed, lambda: fn(operand), lambda: default)

    @one.def_vmap
    def _rule(size, batched, *args):
        flags = tuple(jax.tree.leaves(tuple(batched)))
        out = _for_rows(fn, flags)(*args) if any(flags) else one(*args)
        return out, jax.tree.map(lambda _: any(flags), out)

    return one(needed, effort, operand, default)


def over_lanes(fn: Callable[..., Any], *args: Any) -> Any:
    """`fn(*args)` for a function written for a batch along the last axis, where processors work on it fastest.

    Without `vmap` that axis has one entry; the axes of all enclosing `vmap`s become one.

    Args:
        fn: A function of arrays [..., L] that returns such arrays, every lane for itself; holds no traced values.
        args: Its arguments, without the last axis; not differentiable through this call.
    """

    @custom_vmap
    def one(*args):
        return jax.tree.map(lambda x: x[..., 0], fn(*(jax.tree.map(lambda x: x[..., None], args))))

    @one.def_vmap
    def _rule(size, batched, *args):
        leaves, tree = jax.tree.flatten(args)
        flags = jax.tree.leaves(tuple(batched))
        lanes = [_last_axis(x, flag, size) for x, flag in zip(leaves, flags, strict=True)]
        out = _for_lanes(fn)(*jax.tree.unflatten(tree, lanes))
        return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), out), jax.tree.map(lambda _: True, out)

    return one(*args)


def _for_lanes(fn):
    @custom_vmap
    def lanes(*args):
        return fn(*args)

    @lanes.def_vmap
    def _rule(size, batched, *args):
        leaves, tree = jax.tree.flatten(args)
        flags = jax.tree.leaves(tuple(batched))
        count = leaves[0].shape[-1]
        merged = []
        for x, flag in zip(leaves, flags, strict=True):
            x = jnp.moveaxis(_last_axis(x, flag, size), -1, -2)
            merged.append(x.reshape(*x.shape[:-2], size * count))
        out = _for_lanes(fn)(*jax.tree.unflatten(tree, merged))
        split = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], size, count), -2, 0), out)
        return split, jax.tree.map(lambda _: True, split)

    return lanes


def _last_axis(x, batched, size):
    return jnp.moveaxis(x, 0, -1) if batched else jnp.broadcast_to(x[..., None], (*x.shape, size))


def _for_rows(fn, flags):
    """`where_needed` for rows along the first axis of every leaf whose flag is set."""

    @custom_vmap
    def rows(*args):
        return _run_rows(fn, flags, *args)

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


def _run_rows(fn, flags, needed, effort, operand, default):
    leaves, tree = jax.tree.flatten((needed, effort, operand, default))
    count = next(x.shape[0] for x, flag in zip(leaves, flags, strict=True) if flag)
    axes = jax.tree.unflatten(tree, [0 if flag else None for flag in flags])[2]
    every = [x if flag else jnp.broadcast_to(x[None], (count, *x.shape)) for x, flag in zip(leaves, flags, strict=True)]
    needed, effort, _, default = jax.tree.unflatten(tree, every)
    run = jax.vmap(lambda _, argument: fn(argument), in_axes=(0, axes))
    chunk = _CHUNKS.get(jax.default_backend(), count)
    if count <= chunk:
        found = jax.lax.cond(jnp.any(needed), lambda: run(needed, operand), lambda: default)
        return jax.tree.map(lambda new, old: _select(needed, new, old), found, default)
    rounds = -(-count // chunk)
    parts, shape = jax.tree.flatten(operand)
    batched = flags[2 : 2 + len(parts)]

    def in_chunks():
        numbers = jnp.arange(count, dtype=jnp.int32)
        last = jnp.iinfo(jnp.int32).max
        _, rows = jax.lax.sort((jnp.where(needed, effort.astype(jnp.int32), last), numbers), num_keys=1)
        _, place = jax.lax.sort((rows, numbers), num_keys=1)
        # The first rows are those in need; the results of others in the last chunk are not looked at.
        rows, total = jnp.pad(rows, (0, rounds * chunk - count)), needed.sum(dtype=jnp.int32)

        def handle(carry):
            start, found = carry
            mine = jax.lax.dynamic_slice(rows, (start,), (chunk,))
            part = jax.tree.unflatten(shape, [x[mine] if flag else x for x, flag in zip(parts, batched, strict=True)])
            put = jax.lax.dynamic_update_slice_in_dim
            new = run(needed[mine], part)
            return start + chunk, jax.tree.map(lambda whole, piece: put(whole, piece, start, 0), found, new)

        empty = jax.tree.map(lambda x: jnp.zeros((rounds * chunk, *x.shape[1:]), x.dtype), default)
        _, found = jax.lax.while_loop(lambda c: c[0] < total, handle, (jnp.zeros((), jnp.int32), empty))
        return jax.tree.map(lambda new, old: _select(needed, new[place], old), found, default)

    return jax.lax.cond(jnp.any(needed), in_chunks, lambda: default)


def _select(condition, new, old):
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)
