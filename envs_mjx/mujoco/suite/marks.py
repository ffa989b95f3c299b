"""How the target of a domain looks."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float


@dataclass(frozen=True)
class Mark:
    """The object that shows the target.

    Attributes:
        kind: `site` or `geom`.
        material: the material that has its colour; None where the object has it itself.
        size: its size, m.
        hideable: whether the factor `rendering.render_target` hides it.
        name: its name in the model.
    """

    kind: str
    material: str | None
    size: tuple[float, float, float]
    hideable: bool = True
    name: str = "target"

    def color(self, factors: Mapping[str, Array]) -> Float[Array, "4"]:
        """Red, green, blue and opacity, 0 to 1."""
        hidden = (factors["rendering.render_target"] == 0) if self.hideable else jnp.asarray(False)
        alpha = jnp.where(hidden, 0.0, 1.0).astype(factors["target.color"].dtype)
        return jnp.concatenate([factors["target.color"], alpha[None]])

    def apply(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray]) -> None:
        """Give the object the colour, shape and visibility of the factors."""
        found = model.site(self.name) if self.kind == "site" else model.geom(self.name)
        shape = mujoco.mjtGeom.mjGEOM_SPHERE if factors["target.shape"] else mujoco.mjtGeom.mjGEOM_BOX
        found.type[:] = shape
        found.size[:] = self.size
        painted = found.rgba if self.material is None else model.material(self.material).rgba
        painted[:3] = factors["target.color"]
        hidden = self.hideable and not factors["rendering.render_target"]
        painted[3] = 0.0 if hidden else 1.0
