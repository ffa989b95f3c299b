"""Programs kept between runs beside the compilation cache, so that a second run of the same settings traces nothing.

The compilation cache spares XLA's work, but only a traced program can be looked up in it, and tracing the physics takes
most of a second run's start. What is kept is the program itself, as StableHLO by `jax.export`.
"""

import dataclasses
import functools
import hashlib
import platform
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import export
from jax.extend.core import ClosedJaxpr, Jaxpr

from swmjax.runs.files import replacing

_PACKAGES = ("envs_mjx", "swmjax")
_MOST_KEPT = 32


def exported(function: Callable[..., Any], made_of: Any, *args: Any) -> Callable[..., Any]:
    """A function as a program that is traced only if no earlier run has kept it.

    It is found by everything that could change it: the sources of this project, the versions of Python and of all
    installed packages, JAX's settings, the device, what the function is made of, and its arguments' structure, shapes
    and dtypes. Without a compilation cache, and for a program that is made of somebody else's code or calls back into
    Python, the function itself is compiled.

    Args:
        function: Pure; from pytrees to a mapping of names to arrays.
        made_of: What else the function depends on: numbers, text and frozen objects of this project.
        *args: Its arguments, or their shapes and dtypes.

    Returns:
        What `jax.jit` makes of the program; takes the same arguments.
    """
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    leaves, structure = jax.tree.flatten(args)
    try:
        facts = described((made_of, args))
    except TypeError:
        folder = None
    if not folder:
        return jax.jit(function)
    shapes = [(jax.typeof(leaf).str_short(), jax.typeof(leaf).weak_type) for leaf in leaves]
    key = hashlib.sha256(repr((_circumstances(), facts, shapes)).encode()).hexdigest()
    path = Path(folder) / "exported" / f"{key}.stablehlo"
    program = _read(path)
    if program is None:
        flat = jax.jit(lambda *leaves: function(*jax.tree.unflatten(structure, leaves)))
        if calls_python(flat.trace(*leaves).jaxpr):
            return jax.jit(function)
        try:
            program = export.export(flat)(*leaves)
            data = program.serialize()
        except (NotImplementedError, ValueError):  # XLA promises no future to a part of it
            return jax.jit(function)
        _keep(path, data)
    return jax.jit(lambda *args: program.call(*jax.tree.leaves(args)))


def calls_python(jaxpr: Any) -> bool:
    """Whether a program calls back into Python; exported, it could not, or would do something else instead."""
    for equation in jaxpr.eqns:
        if "callback" in equation.params:
            return True
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        if any(calls_python(getattr(one, "jaxpr", one)) for one in inner if _is_jaxpr(one)):
            return True
    return False


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def described(value: Any) -> str:
    """All that tells two values apart, but the numbers in arrays and the weights of models; the same in every process.

    Raises:
        TypeError: The value, or one inside it, is none of this project.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return "array"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(described, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{described(name)}: {described(item)}' for name, item in value.items())}}}"
    if isinstance(value, types.MethodType):
        return f"{described(value.__self__)}.{value.__name__}"
    kind = type(value)
    if kind.__module__.partition(".")[0] not in _PACKAGES:
        raise TypeError(f"{kind} is not a class of this project")
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, nnx.Module):
        return f"{name}({described(vars(value).get('config'))})"
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{kind} is no dataclass")
    fields = (f"{field.name}={described(getattr(value, field.name))}" for field in dataclasses.fields(value))
    return f"{name}({', '.join(fields)})"


def _read(path: Path) -> export.Exported | None:
    try:
        return export.deserialize(bytearray(path.read_bytes()))
    except Exception:  # missing or damaged in any way: it is made again
        return None


def _keep(path: Path, data: bytearray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        kept = sorted(path.parent.glob("*.stablehlo"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        pass  # a full disk costs the next run its tracing, not this one its result


@functools.cache
def _sources() -> str:
    """Hash of all source files of this project."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(sys.modules[package].__file__)).parent
        for file in sorted(root.rglob("*")):
            if file.suffix in (".py", ".xml", ".npz", ".png"):
                digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _versions() -> str:
    """Names and versions of all installed packages, as the folders of their metadata have them."""
    folders = {path.name for entry in sys.path for path in Path(entry).glob("*.dist-info")}
    return repr(sorted(folders))


def _circumstances() -> str:
    device = jax.devices()[0]
    config = sorted((name, repr(value)) for name, value in jax.config.values.items())
    return repr((_sources(), _versions(), platform.python_version(), device.platform, device.device_kind, config))
