"""Joints that a factor of variation locks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Bool

from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.physics import MujocoPhysics
from envs_mjx.mujoco.suite.base import SuiteEnv

ARMATURE = 3e7
"""Inertia that a lock adds to its joint, kg m^2: the largest torques here turn it by some 1e-8 rad in a step. With much
more, the solver's forces lose their digits."""


@dataclass(frozen=True)
class LockableEnv(SuiteEnv):
    """A domain with a factor that locks a joint, which works in the `fixed` variant only.

    A locked joint keeps the angle of its starting position, or the one that it is set to, relative to its parent.
    """

    lock: ClassVar[tuple[str, str]]
    """Names of the factor and of the joint."""

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        fields = super()._more_fields(model, factors)
        if not self.fixed:
            return fields
        dof, locked = self._lock(factors)
        more = ARMATURE * locked.astype(model.dof_armature.dtype)
        return fields | {"dof_armature": model.dof_armature.at[dof].add(more)}

    def _resting(self, physics: MujocoPhysics) -> Bool[Array, " nv"] | None:
        """A locked joint, since nothing slows it down: what moves it in a step must not add up."""
        if not self.fixed:
            return None
        return physics.fields["dof_armature"] > self.host.dof_armature + ARMATURE / 2

    def _lock(self, factors: Mapping[str, Array]) -> tuple[int, Array]:
        """Number of the joint's degree of freedom, and whether it is locked."""
        factor, joint = self.lock
        return int(self.host.joint(joint).dofadr[0]), factors[factor]
