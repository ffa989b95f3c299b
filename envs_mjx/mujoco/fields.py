"""Fields of MuJoCo's model as arrays."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array


class ModelFields:
    """The fields of a model by MuJoCo's names, some of them replaced; floating point ones in JAX's default precision.

    Those of `opt` and `stat` are named with a dot where they are replaced, for instance `opt.gravity`.
    """

    def __init__(self, host: mujoco.MjModel, replaced: Mapping[str, Array] | None = None) -> None:
        self._host, self.replaced = host, dict(replaced or {})

    def with_fields(self, fields: Mapping[str, Array]) -> "ModelFields":
        """The same with further fields replaced."""
        return ModelFields(self._host, self.replaced | dict(fields))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.replaced:
            return self.replaced[name]
        value = getattr(self._host, name)
        if name in ("opt", "stat"):
            inner = {
                key.removeprefix(f"{name}."): own for key, own in self.replaced.items() if key.startswith(f"{name}.")
            }
            return ModelFields(value, inner)
        floating = isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
        return jnp.asarray(value, jnp.result_type(float)) if floating else value
