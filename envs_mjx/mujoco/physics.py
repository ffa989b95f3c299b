"""What moves in a MuJoCo environment."""

import chex
import numpy as np
from jaxtyping import Array, Float, UInt32

UNKNOWN = np.iinfo(np.uint32).max
"""What stands in `MujocoPhysics.exact` for numbers that are not known exactly: as doubles these bits are NaN."""


@chex.dataclass(frozen=True)
class MujocoPhysics:
    """What moves, and the model of this environment.

    Attributes:
        qpos: generalised positions, m and rad.
        qvel: generalised velocities, m/s and rad/s.
        act: activations of the actuators.
        ctrl: control signals last applied.
        warmstart: accelerations that the solver starts from.
        sensordata: sensor readings; those of forces are one substep old after a step.
        target: where the task's target is, in the domain's own form; empty without one.
        fields: the fields of the model that the factors of variation set, by name.
        exact: positions, velocities, activations and warm start in double precision, as pairs of 32 bits, where the
            implementation keeps them; NaN, and entries that differ from those above, stand for the numbers above.
    """

    qpos: Float[Array, "*batch nq"]
    qvel: Float[Array, "*batch nv"]
    act: Float[Array, "*batch na"]
    ctrl: Float[Array, "*batch nu"]
    warmstart: Float[Array, "*batch nv"]
    sensordata: Float[Array, "*batch S"]
    target: Float[Array, "*batch G"]
    fields: dict[str, Array]
    exact: UInt32[Array, "*batch E"]
