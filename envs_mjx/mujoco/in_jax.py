"""MJX's JAX code as an implementation of the physics."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from mujoco import mjx

from envs_mjx.mujoco import engine
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.implementation import Implementation, Look, Motion, Nominal
from envs_mjx.mujoco.masses import MassTable, derived_fields
from envs_mjx.mujoco.physics import MujocoPhysics


class JaxImplementation(Implementation):
    """Steps of MJX, on every platform and with gradients.

    Attributes:
        host: the nominal model.
        plain: the same as arrays for MJX's JAX code, which computes everything but another implementation's steps.
        stepping: the same for the implementation that steps.
        blank: data for that implementation to start from; None where it is made from the model.
    """

    def __init__(self, nominal: Nominal) -> None:
        self.host = nominal.host
        self.plain = engine.put(nominal.host, "jax")
        self.stepping: mjx.Model = self.plain
        self.blank: mjx.Data | None = None
        self._force_sensors = engine.has_force_sensors(nominal.host)

    @classmethod
    def check(cls) -> None:
        """It runs everywhere."""

    def weighed(self, masses: MassTable, model: ModelFields, moments: Float[Array, "nbody 10"]) -> dict[str, Array]:
        """Masses and inertias, and what MuJoCo's compiler derives from them."""
        own = masses.fields(model, moments)
        whole = self.plain.tree_replace(model.replaced | own)
        return own | derived_fields(self.host, whole, engine.blank(whole))

    def moved(
        self,
        physics: MujocoPhysics,
        fields: Mapping[str, Array],
        ctrl: Float[Array, " nu"],
        motion: Motion,
        resting: Bool[Array, " nv"] | None,
        look: Look,
    ) -> tuple[MujocoPhysics, Any]:
        """A scan over the control steps."""
        stepping, plain = self.stepping.tree_replace(fields), self.plain.tree_replace(fields)

        def control_step(before: MujocoPhysics, _: None) -> tuple[MujocoPhysics, Any]:
            after = _stepped(stepping, before, motion.substeps, self.blank)
            data = engine.refreshed(plain, _loaded(plain, after))
            after = after.replace(sensordata=data.sensordata)
            return after, (after, look(after, data))

        qvel = physics.qvel if resting is None else jnp.where(resting, 0.0, physics.qvel)
        moved: tuple[MujocoPhysics, Any]
        _, moved = jax.lax.scan(control_step, physics.replace(ctrl=ctrl, qvel=qvel), None, motion.repeat)
        return moved

    def drifted(self, physics: MujocoPhysics, fields: Mapping[str, Array], steps: int) -> MujocoPhysics:
        """A scan over MJX's steps."""
        return _stepped(self.plain.tree_replace(fields), physics, steps)

    def seen(self, physics: MujocoPhysics, fields: Mapping[str, Array], look: Look) -> Any:
        """From positions, velocities and their sensors."""
        plain = self.plain.tree_replace(fields)
        return look(physics, engine.refreshed(plain, _loaded(plain, physics)))

    def settled(self, physics: MujocoPhysics, fields: Mapping[str, Array], actuated: bool) -> MujocoPhysics:
        """The whole forward pass, where a sensor needs it."""
        if not self._force_sensors:
            return physics
        plain = self.plain.tree_replace(fields)
        return physics.replace(sensordata=engine.settled(plain, _loaded(plain, physics), actuated).sensordata)

    def gaps(self, physics: MujocoPhysics, fields: Mapping[str, Array]) -> Float[Array, " C"]:
        """Of every pair of geoms that can touch."""
        plain = self.plain.tree_replace(fields)
        return engine.contact_distances(plain, _loaded(plain, physics))


def _loaded(model: mjx.Model, physics: MujocoPhysics, blank: mjx.Data | None = None) -> mjx.Data:
    """Data of the model in this state; what follows from it is not brought up to date.

    Args:
        model: with the fields of this state.
        physics: the state.
        blank: data to start from; made from the model by default, which only MJX's JAX code can.
    """
    return (engine.blank(model) if blank is None else blank).replace(
        qpos=physics.qpos,
        qvel=physics.qvel,
        act=physics.act,
        ctrl=physics.ctrl,
        qacc_warmstart=physics.warmstart,
        sensordata=physics.sensordata,
    )


def _stepped(model: mjx.Model, physics: MujocoPhysics, steps: int, blank: mjx.Data | None = None) -> MujocoPhysics:
    """The state after physics steps with its controls held; for `blank` see `_loaded`."""

    def step(physics: MujocoPhysics, _: None) -> tuple[MujocoPhysics, None]:
        data = engine.advanced(model, _loaded(model, physics, blank))
        after = physics.replace(
            qpos=data.qpos,
            qvel=data.qvel,
            act=data.act,
            warmstart=data.qacc_warmstart,
            sensordata=data.sensordata,
        )
        return after, None

    return jax.lax.scan(step, physics, None, steps)[0]
