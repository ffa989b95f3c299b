"""What tells values apart, the same in every process: for records of what a dataset or a program was made of."""

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

_PACKAGES = ("envs_mjx", "swmjax")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def facts(value: Any) -> Any:
    """All that tells two values apart, as JSON has it: arrays by a hash of their bytes, functions of one of their code.

    A function stands for the code that it is made of, its defaults and what it encloses; not for others that it calls.
    """
    return _walked(value, _hash_of_array, _Foreign())


def structure(value: Any) -> Any:
    """All that tells two values apart, but the numbers in arrays and the weights of models.

    Raises:
        TypeError: The value, or one inside it, is none of this project.
    """
    return _walked(value, lambda array: "array", _ours)


def _walked(value: Any, of_array: Callable[[Any], Any], of_other: Callable[[Any], Any]) -> Any:
    """A value in plain Python.

    Args:
        value: Whatever it is.
        of_array: What stands for an array.
        of_other: What stands for what is no plain value, array, sequence or mapping; NotImplemented for a dataclass
            whose fields are to be looked at.
    """
    walk = functools.partial(_walked, of_array=of_array, of_other=of_other)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return of_array(value)
    if isinstance(value, tuple | list):
        return [walk(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): walk(item) for name, item in value.items()}
    if isinstance(value, types.MethodType):
        return {"method": value.__name__, "of": walk(value.__self__)}
    found = of_other(value)
    if found is not NotImplemented:
        return found
    fields = {field.name: walk(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {"class": _name(type(value))} | fields


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _hash_of_array(array: Any) -> str:
    if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    array = np.asarray(array)
    return f"{array.dtype}{list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


def _ours(value: Any) -> Any:
    kind = type(value)
    if kind.__module__.partition(".")[0] not in _PACKAGES:
        raise TypeError(f"{kind} is not a class of this project")
    if isinstance(value, nnx.Module):
        return {"class": _name(kind), "config": structure(vars(value).get("config"))}
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{kind} is no dataclass")
    return NotImplemented


@dataclasses.dataclass
class _Foreign:
    """What stands for functions, classes and objects of any kind.

    Attributes:
        within: Functions that are being described, which may enclose themselves.
    """

    within: list[Any] = dataclasses.field(default_factory=list)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, functools.partial):
            return {"partial": self._facts(value.func), "of": self._facts([value.args, value.keywords])}
        if isinstance(value, type):
            return {"type": _name(value)}
        function = getattr(value, "__wrapped__", value)
        if isinstance(function, types.FunctionType):
            return self._of_function(function)
        if dataclasses.is_dataclass(value):
            return NotImplemented
        leaves = jax.tree.leaves(value)
        if len(leaves) != 1 or leaves[0] is not value:
            return {"class": _name(type(value)), "leaves": self._facts(leaves)}
        return _ADDRESS.sub("", repr(value))

    def _facts(self, value: Any) -> Any:
        return _walked(value, _hash_of_array, self)

    def _of_function(self, function: types.FunctionType) -> Any:
        if any(function is each for each in self.within):
            return {"function": _name(function)}
        self.within.append(function)
        enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
        made_of = self._facts([function.__defaults__, function.__kwdefaults__, enclosed])
        self.within.pop()
        return {"function": _name(function), "code": _hash_of_code(function.__code__), "of": made_of}


def _hash_of_code(code: types.CodeType) -> str:
    """A hash of what a function does, wherever it stands in its file."""
    constants = [_hash_of_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    parts = (code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
