"""Calls into other libraries: they may do what this project forbids itself, and their chatter is kept away."""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

_P = ParamSpec("_P")
_R = TypeVar("_R")

_REMARKS = (
    "JAXopt is no longer maintained",
    "Brax System, piplines and environments are not actively being maintained",
    r"Accessing `\w+` directly from `Data` is deprecated",
)
"""Starts of the warnings by which the libraries remind their own maintainers of something."""


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Allow broadcasting over ranks, and hide the libraries' remarks to their maintainers."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        for message in _REMARKS:
            warnings.filterwarnings("ignore", message)
        yield


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """`lenient`, and nothing goes to standard output, where the command line prints JSON: for imports and loading."""
    with lenient(), contextlib.redirect_stdout(io.StringIO()):
        yield


def leniently(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that is called, or traced, `lenient`."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with lenient():
            return function(*args, **kwargs)

    return call


def like(tree: Any, wanted: Any) -> Any:
    """A pytree with the dtypes of another one; numbers of Python and their weak types become arrays."""
    return jax.tree.map(lambda leaf, other: _typed(leaf, jnp.asarray(other).dtype), tree, wanted)


def settled(tree: Any) -> Any:
    """A pytree whose numbers are arrays that keep their dtype from now on."""
    return jax.tree.map(lambda leaf: _typed(leaf, jnp.asarray(leaf).dtype), tree)


def _typed(leaf: Any, dtype: Any) -> Any:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return leaf
    return jax.lax.convert_element_type(jnp.asarray(leaf), dtype)
