"""Optimisers by name, so that gradient solvers can be written down in a configuration."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from envs_mjx.checks import UserError, check_nonnegative, is_finite_number

Options = Mapping[str, float] | tuple[tuple[str, float], ...]


def adam(learning_rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam, with the bias of its moments corrected to float precision.

    Args:
        learning_rate: Scale of the steps.
        b1: Decay of the mean gradient, at least 0 and below 1.
        b2: Decay of the mean squared gradient, at least 0 and below 1.
        eps: Added to the root of the mean squared gradient.

    Source: Kingma and Ba 2015. Optax's own takes 1 - b2^n in float32, which loses four digits of the first steps.
    """
    return optax.chain(_scale_by_adam(b1, b2, eps), optax.scale_by_learning_rate(learning_rate))


def adamw(
    learning_rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
) -> optax.GradientTransformation:
    """Adam that also shrinks the actions by learning_rate * weight_decay a step, see `adam`.

    Source: Loshchilov and Hutter 2019.
    """
    decay = optax.add_decayed_weights(weight_decay)
    return optax.chain(_scale_by_adam(b1, b2, eps), decay, optax.scale_by_learning_rate(learning_rate))


def _scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    def init(params: Array) -> tuple[Array, Array, Array]:
        return jnp.zeros((), jnp.int32), jnp.zeros_like(params), jnp.zeros_like(params)

    def share(decay: float, count: Array, dtype: Any) -> Array:
        """1 - decay^count, without cancellation."""
        return -jnp.expm1(count.astype(dtype) * (math.log(decay) if decay > 0 else -math.inf))

    def update(
        gradient: Array, state: tuple[Array, Array, Array], params: Array | None = None
    ) -> tuple[Array, tuple[Array, Array, Array]]:
        count, mean, square = state
        count = count + 1
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * jnp.square(gradient)
        root = jnp.sqrt(square / share(b2, count, square.dtype))
        return mean / share(b1, count, mean.dtype) / (root + eps), (count, mean, square)

    return optax.GradientTransformation(init, update)


OPTIMIZERS: dict[str, tuple[Callable[..., optax.GradientTransformation], dict[str, Any]]] = {
    "sgd": (optax.sgd, {}),
    "adam": (adam, {}),
    "adamw": (adamw, {}),
    "adamax": (optax.adamax, {}),
    "rmsprop": (optax.rmsprop, {"decay": 0.99, "eps_in_sqrt": False}),
    "nadam": (optax.nadam, {}),
    "radam": (optax.radam, {}),
    "lion": (optax.lion, {}),
}
"""Constructors, and the defaults that differ from Optax: sgd, adam, adamw, adamax and rmsprop step like PyTorch's."""


def make_optimizer(
    optimizer: str | optax.GradientTransformation, learning_rate: float, options: Options = ()
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a name, or the one that was given.

    Args:
        optimizer: A key of `OPTIMIZERS`, or a transformation.
        learning_rate: For the named one.
        options: Further arguments of the named constructor.

    Returns:
        A transformation that accepts extra arguments.
    """
    if isinstance(optimizer, str):
        constructor, defaults = OPTIMIZERS[optimizer]
        optimizer = constructor(learning_rate, **(defaults | dict(options)))
    return optax.with_extra_args_support(optimizer)


def checked_options(place: str, optimizer: Any, learning_rate: Any, options: Any) -> tuple[tuple[str, float], ...]:
    """Options in a hashable form.

    Args:
        place: Name of the class, for the message.
        optimizer: A name or a transformation.
        learning_rate: At least 0; 1 beside a transformation, which has its own.
        options: Arguments of the named constructor, a mapping or pairs.

    Returns:
        The options sorted by name.

    Raises:
        UserError: An unknown optimiser or option, a value that is no finite number, or one beside a transformation.
    """
    check_nonnegative(f"{place}.learning_rate", learning_rate)
    if not isinstance(options, Mapping | tuple):
        raise UserError(f"{place}.optimizer_kwargs must be a mapping of names to numbers, got {options!r}")
    options = dict(options)
    if not isinstance(optimizer, str):
        if not isinstance(optimizer, optax.GradientTransformation):
            raise UserError(
                f"{place}.optimizer must be one of {', '.join(OPTIMIZERS)} or an optax.GradientTransformation, "
                f"got {optimizer!r}"
            )
        if options or learning_rate != 1.0:
            raise UserError(
                f"{place}.learning_rate and optimizer_kwargs belong to an optimizer given by name, got "
                f"learning_rate={learning_rate!r} and optimizer_kwargs={options!r} beside an optax transformation"
            )
        return ()
    if optimizer not in OPTIMIZERS:
        raise UserError(f"{place}.optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    known = set(inspect.signature(OPTIMIZERS[optimizer][0]).parameters) - {"learning_rate"}
    for name, value in options.items():
        if name not in known:
            raise UserError(f"{place}.optimizer_kwargs: {optimizer} has no option {name!r}; known: {sorted(known)}")
        if not (isinstance(value, bool) or is_finite_number(value)):
            raise UserError(f"{place}.optimizer_kwargs: {name} must be a finite number, got {value!r}")
    return tuple(sorted(options.items()))
