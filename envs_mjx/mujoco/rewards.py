"""The control suite's soft indicator, out of which all its rewards are made."""

import math
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

INF = math.inf

Falloff = Literal["gaussian", "linear", "quadratic"]


def tolerance(
    x: Float[Array, "*shape"],
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: float = 0.0,
    value_at_margin: float = 0.1,
    falloff: Falloff = "gaussian",
) -> Float[Array, "*shape"]:
    """1 inside the bounds, falling to `value_at_margin` at the distance `margin` from them.

    Args:
        x: what is judged, any unit.
        bounds: lower and upper bound, both inside; infinite for an open side.
        margin: distance in the unit of `x`; 0 for a hard indicator.
        value_at_margin: value there, above 0 for the Gaussian.
        falloff: shape of the fall; `linear` and `quadratic` reach 0 and stay there.

    Returns:
        Values between 0 and 1.

    Source: Tassa et al. 2018, DeepMind Control Suite, section 2.3.
    """
    lower, upper = bounds
    inside = (x >= lower) & (x <= upper)
    if margin == 0:
        return inside.astype(x.dtype)
    # An infinite bound is never missed, and its difference would put inf * 0 into gradients.
    below = lower - x if math.isfinite(lower) else jnp.zeros_like(x)
    above = x - upper if math.isfinite(upper) else jnp.zeros_like(x)
    away = jnp.where(inside, 0.0, jnp.maximum(below, above)) / margin
    if falloff == "gaussian":
        value = jnp.exp(math.log(value_at_margin) * away**2)
    elif falloff == "linear":
        value = jnp.maximum(1 - (1 - value_at_margin) * away, 0.0)
    else:
        value = jnp.maximum(1 - (1 - value_at_margin) * away**2, 0.0)
    return jnp.where(inside, 1.0, value).astype(x.dtype)
