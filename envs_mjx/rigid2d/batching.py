"""A whole batch under `vmap`: its layout, and skipping work that no row needs without changing any row's result."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int

_CHUNKS = {"cpu": 32}
"""Lanes that `where_needed` handles at a time: few on CPUs, where time grows with the lanes; else the whole batch."""


@custom_vmap
def max_in_batch(x: Int[Array, ""]) -> Int[Array, ""]:
    """The largest of an integer over every enclosing `vmap`: not batched itself, so `cond` stays a real branch.

    Use it only to choose between programs that give the same result for every row.
    """
    return x


@max_in_batch.def_vmap
def _max_in_batch_rule(axis_size, in_batched, x):
    return max_in_batch(jnp.max(x, axis=0) if in_batched[0] else x), False


def over_lanes(fn: Callable[..., Any], static: tuple[Any, ...], *args: Any, differentiable: bool = False) -> Any:
    """`fn(*static, *args)` for a function written for a batch along the last axis, where processors work on it fastest.

    Without `vmap` that axis has one entry; the axes of all enclosing `vmap`s become one.

    Args:
        fn: A function of arrays [..., L] that returns such arrays, every lane for itself; holds no traced values.
        static: Its first arguments, hashable.
        args: The others, without the last axis.
        differentiable: Leave the axes of `vmap` where they are, slower; otherwise there are no derivatives.
    """
    lanes = _traced_once(fn, static)

    def alone(*args):
        return jax.tree.map(lambda x: x[..., 0], lanes(*(jax.tree.map(lambda x: jnp.asarray(x)[..., None], args))))

    if differentiable:
        return alone(*args)
    one = custom_vmap(alone)

    @one.def_vmap
    def _rule(size, batched, *args):
        leaves, tree = jax.tree.flatten(args)
        flags = jax.tree.leaves(tuple(batched))
        every = [_last_axis(x, flag, size) for x, flag in zip(leaves, flags, strict=True)]
        out = _for_lanes(lanes)(*jax.tree.unflatten(tree, every))
        return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), out), jax.tree.map(lambda _: True, out)

    return one(*args)


@functools.lru_cache(maxsize=64)
def _traced_once(fn, static):
    """`fn` with its static arguments, traced once for every shape: programs and `vmap` ask for the same ones often."""
    return jax.jit(functools.partial(fn, *static))


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


def where_needed(
    needed: Bool[Array, " L"],
    effort: Int[Array, " L"],
    fn: Callable[[Any], Any],
    operand: Any,
    default: Any,
    sparing: bool = True,
) -> Any:
    """`fn(operand)` in the lanes that need it, else `default`.

    Args:
        needed: Which lanes need `fn`.
        effort: Lanes of like effort are handled together; a guess of how long `fn` takes for them, at least 0.
        fn: A function of arrays [..., L] that returns such arrays, every lane for itself.
        operand: Its argument.
        default: The result of the lanes that do not need it, of the same structure as `fn`'s.
        sparing: Run `fn` only for the lanes that need it; they are gathered, and handled a chunk at a time. Without,
            for all of them, which has derivatives.
    """
    count = needed.shape[0]
    chunk = _CHUNKS.get(jax.default_backend(), count)

    def at_once():
        return jax.tree.map(lambda new, old: _select(needed, new, old), fn(operand), default)

    def in_chunks():
        numbers = jnp.arange(count, dtype=jnp.int32)
        last = jnp.iinfo(jnp.int32).max
        _, order = jax.lax.sort((jnp.where(needed, effort.astype(jnp.int32), last), numbers), num_keys=1)
        _, place = jax.lax.sort((order, numbers), num_keys=1)
        # The first lanes are those in need; the results of others in the last chunk are not looked at.
        rounds = -(-count // chunk)
        order, total = jnp.pad(order, (0, rounds * chunk - count)), needed.sum(dtype=jnp.int32)
        tables, unpack = _packed(operand)
        old, unpack_result = _packed(default)

        def handle(carry):
            start, found = carry
            mine = jax.lax.dynamic_slice(order, (start,), (chunk,))
            new, _ = _packed(fn(unpack([_lanes(x, mine) for x in tables])))
            put = jax.lax.dynamic_update_slice_in_dim
            return start + chunk, [put(whole, piece, start, 1) for whole, piece in zip(found, new, strict=True)]

        empty = [jnp.zeros((x.shape[0], rounds * chunk), x.dtype) for x in old]
        _, found = jax.lax.while_loop(lambda c: c[0] < total, handle, (jnp.zeros((), jnp.int32), empty))
        return unpack_result(
            [jnp.where(needed[None], _lanes(new, place), x) for new, x in zip(found, old, strict=True)]
        )

    if not sparing:
        return at_once()
    return jax.lax.cond(jnp.any(needed), at_once if count <= chunk else in_chunks, lambda: default)


def _packed(tree):
    """The leaves [..., L] of each dtype under each other in one array [rows, L], and the way back.

    One gather moves them all, which is quicker to compile and to run than one for every leaf.
    """
    leaves, structure = jax.tree.flatten(tree)
    kinds = sorted({x.dtype for x in leaves}, key=str)
    members = [[i for i, x in enumerate(leaves) if x.dtype == kind] for kind in kinds]
    tables = [jnp.concatenate([leaves[i].reshape(-1, leaves[i].shape[-1]) for i in group]) for group in members]

    def unpack(tables):
        found = {}
        for table, group in zip(tables, members, strict=True):
            start = 0
            for i in group:
                shape = leaves[i].shape[:-1]
                rows = math.prod(shape)
                found[i] = table[start : start + rows].reshape(*shape, table.shape[1])
                start += rows
        return jax.tree.unflatten(structure, [found[i] for i in range(len(leaves))])

    return tables, unpack


def _lanes(x, index):
    return x.at[:, index].get(mode="promise_in_bounds")


def _select(condition, new, old):
    return jnp.where(condition.reshape((1,) * (new.ndim - 1) + condition.shape), new, old)
