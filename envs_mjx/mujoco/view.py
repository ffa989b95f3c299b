"""What tasks look at: positions, velocities and sensors of a state by name."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from envs_mjx.mujoco.fields import ModelFields


@dataclass(frozen=True, eq=False)
class View:
    """One state with everything that follows from it; lives inside a program only.

    Attributes:
        host: the nominal model, for names.
        model: the model with this environment's factors.
        data: MuJoCo's data by its names, up to date at this state except for forces.
        target: the domain's target.
    """

    host: mujoco.MjModel
    model: ModelFields
    data: Any
    target: Float[Array, " G"]

    @property
    def qpos(self) -> Float[Array, " nq"]:
        """Generalised positions, m and rad."""
        return self.data.qpos

    @property
    def qvel(self) -> Float[Array, " nv"]:
        """Generalised velocities, m/s and rad/s."""
        return self.data.qvel

    @property
    def ctrl(self) -> Float[Array, " nu"]:
        """Control signals of the actuators."""
        return self.data.ctrl

    def body(self, name: str) -> Float[Array, "3"]:
        """Position of a body's frame, m."""
        return self.data.xpos[self.host.body(name).id]

    def height(self, name: str) -> Float[Array, ""]:
        """Height of a body's frame, m."""
        return self.body(name)[2]

    def frame(self, name: str) -> Float[Array, "3 3"]:
        """Axes of a body's frame as columns."""
        return self.data.xmat[self.host.body(name).id]

    def centre(self, name: str) -> Float[Array, "3"]:
        """Centre of mass of a body, m."""
        return self.data.xipos[self.host.body(name).id]

    def geom(self, name: str) -> Float[Array, "3"]:
        """Position of a geom, m."""
        return self.data.geom_xpos[self.host.geom(name).id]

    def geom_size(self, name: str) -> Float[Array, "3"]:
        """Size of a geom, m."""
        return self.model.geom_size[self.host.geom(name).id]

    def site(self, name: str) -> Float[Array, "3"]:
        """Position of a site, m."""
        return self.data.site_xpos[self.host.site(name).id]

    def joint(self, name: str) -> Float[Array, ""]:
        """Position of a joint of one degree of freedom, m or rad."""
        return self.data.qpos[self.host.joint(name).qposadr[0]]

    def joint_speed(self, name: str) -> Float[Array, ""]:
        """Speed of a joint of one degree of freedom, m/s or rad/s."""
        return self.data.qvel[self.host.joint(name).dofadr[0]]

    def sensor(self, *names: str) -> Float[Array, " S"]:
        """Readings of sensors, one after another."""
        found = [self.host.sensor(name) for name in names]
        return jnp.concatenate([self.data.sensordata[one.adr[0] : one.adr[0] + one.dim[0]] for one in found])

    def spin(self, name: str) -> Float[Array, ""]:
        """Angular momentum of a body and all that hangs on it, about the y axis, kg m^2/s; the model needs a sensor
        of a subtree's velocity, with which it is computed."""
        return self.data._impl.subtree_angmom[self.host.body(name).id, 1]
