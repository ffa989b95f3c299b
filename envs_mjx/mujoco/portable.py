"""Calls of the host in programs that may leave it.

A program that is compiled for this machine's CPU calls the host. One that is lowered for another platform, or exported,
has JAX code in the place of the call, which is only traced then.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array

Shapes = tuple[jax.ShapeDtypeStruct, ...]
"""Results of one row."""

_CALL = Primitive("host_or_jax")
_CALL.multiple_results = True


def portable(
    callback: Callable[..., Any], in_jax: Callable[..., tuple[Array, ...]], results: Shapes, *arguments: Array
) -> tuple[Array, ...]:
    """The results of a function that there is twice.

    Args:
        callback: as `jax.pure_callback` with `vmap_method="expand_dims"` calls it, for a whole batch.
        in_jax: the same of one row, to be traced.
        results: what they return for one row.
        arguments: of one row.
    """
    return tuple(_CALL.bind(*arguments, callback=callback, in_jax=in_jax, results=results, depth=0))


def _shapes(arguments: Any, results: Shapes, depth: int) -> list[tuple[tuple[int, ...], Any]]:
    """Shapes and dtypes of the results for arguments with `depth` leading axes, which may have length 1."""
    lead = np.broadcast_shapes(*(argument.shape[:depth] for argument in arguments))
    return [((*lead, *result.shape), result.dtype) for result in results]


@_CALL.def_abstract_eval
def _(*arguments: Any, results: Shapes, depth: int, **_: Any) -> list[jax.core.ShapedArray]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in _shapes(arguments, results, depth)]


@_CALL.def_impl
def _(*arguments: Array, **how: Any) -> Any:
    return jax.jit(functools.partial(_CALL.bind, **how))(*arguments)


def _batched(arguments: Any, axes: Any, *, depth: int, **how: Any) -> tuple[list[Array], list[int]]:
    def leading(argument: Array, axis: int | None) -> Array:
        return argument[None] if axis is None else jax.numpy.moveaxis(argument, axis, 0)

    found = _CALL.bind(*map(leading, arguments, axes), depth=depth + 1, **how)
    return found, [0] * len(found)


def _call(*arguments: Array, callback: Callable[..., Any], results: Shapes, depth: int, **_: Any) -> Any:
    shapes = [jax.ShapeDtypeStruct(*shape) for shape in _shapes(arguments, results, depth)]
    return jax.pure_callback(callback, shapes, *arguments)


def _traced(*arguments: Array, in_jax: Callable[..., tuple[Array, ...]], depth: int, **how: Any) -> tuple[Array, ...]:
    if not depth:
        return in_jax(*arguments)
    shared = [argument.shape[0] == 1 for argument in arguments]
    if all(shared):
        shared = [False] * len(shared)
    rows = [argument[0] if one else argument for argument, one in zip(arguments, shared, strict=True)]
    inner = functools.partial(_traced, in_jax=in_jax, depth=depth - 1, **how)
    return tuple(jax.vmap(inner, [None if one else 0 for one in shared])(*rows))


def _lowered(context: mlir.LoweringRuleContext, *arguments: Any, **how: Any) -> Any:
    module = context.module_context
    here = tuple(module.platforms) == ("cpu",) and not module.lowering_parameters.for_export
    return mlir.lower_fun(functools.partial(_call if here else _traced, **how))(context, *arguments)


batching.primitive_batchers[_CALL] = _batched
mlir.register_lowering(_CALL, _lowered)
