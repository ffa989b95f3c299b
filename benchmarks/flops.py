"""Arithmetic of a function, counted from its jaxpr, and the peak of a device for it."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from common import time_calls
from jax.extend.core import jaxprs_in_params

PEAKS = {"H100": {"bfloat16": 989e12, "float32": 495e12}, "H200": {"bfloat16": 989e12, "float32": 495e12}}
"""Dense matrix products per second as NVIDIA states them (SXM); float32 in TF32, which is JAX's default there."""


def count_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Additions and multiplications of the matrix products and convolutions that a function asks for.

    Args:
        function: A traceable function; loops of unknown length count as one turn.
        *arguments: Arrays or their shapes.
    """
    return _of(jax.make_jaxpr(function)(*arguments).jaxpr)


def matmul_peak(dtype: str, clock: Callable[[], float]) -> tuple[float, str]:
    """Additions and multiplications per second at best, and where the number is from."""
    kind = jax.devices()[0].device_kind
    for name, peaks in PEAKS.items():
        if name in kind:
            return peaks[dtype], f"peak of {name}, {'TF32' if dtype == 'float32' else dtype}"
    side = 2048
    square = jnp.ones((side, side), dtype)
    product = jax.jit(lambda x: x @ x)
    product(square).block_until_ready()
    best = min(time_calls(lambda: product(square).block_until_ready(), 10, clock).seconds)
    return 2 * side**3 / best, f"product of {side} x {side} matrices, best of 10"


def _of(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, shapes = equation.primitive.name, [variable.aval.shape for variable in equation.invars]
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(shapes[0][axis] for axis in contracted)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        elif name == "conv_general_dilated":
            features = shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2 * math.prod(shapes[1]) // features * math.prod(equation.outvars[0].aval.shape)
        turns = equation.params.get("length", 1) if name == "scan" else 1
        total += turns * sum(_of(inner) for inner in jaxprs_in_params(equation.params))
    return total
