"""A domain's model, compiled once per configuration: on the host, on the device, and how factors change it."""

from dataclasses import dataclass

import mujoco
from mujoco import mjx

from envs_mjx.mujoco import engine
from envs_mjx.mujoco.masses import MassFactor, MassTable, mass_table

FIDELITIES = ("parity", "fast")

_FAST_ITERATIONS = 4
_FAST_LINE_SEARCH = 8
_EXPLICIT_DECAY = 0.05
"""Part of a velocity that damping takes in a step, below which `fast` damps explicitly: that is wrong by about its
square, and unstable above 2."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """The nominal model of an environment.

    Attributes:
        host: MuJoCo's model, for names and for the renderer.
        plain: the same as arrays for MJX's JAX code, which computes everything but Warp's steps.
        stepping: the same for the implementation that steps.
        blank: data for that implementation to start from; None where it is made from the model.
        masses: how masses depend on factors of variation.
        force_sensors: whether a sensor needs forces, so that showing a state takes the whole forward pass.
    """

    host: mujoco.MjModel
    plain: mjx.Model
    stepping: mjx.Model
    blank: mjx.Data | None
    masses: MassTable
    force_sensors: bool


def compiled(
    spec: mujoco.MjSpec,
    factors: tuple[tuple[MassFactor, float], ...],
    total_mass: float | None,
    fidelity: str,
    impl: str,
    contacts: int,
) -> Compiled:
    """Compile a specification for MJX.

    Args:
        spec: the nominal model.
        factors: the factors that set masses, with their nominal values.
        total_mass: mass to which all bodies are scaled, kg.
        fidelity: `parity` keeps the model's settings; `fast` takes 4 solver and 8 line search iterations, and Euler
            steps, with explicit damping where damping is weak.
        impl: implementation of the physics.
        contacts: at most, in all rows of a batch together, for Warp.

    Raises:
        UserError: MJX cannot run the model.
    """
    host, masses = mass_table(spec, factors, total_mass)
    if fidelity == "fast":
        _hasten(host)
    stages = host.sensor_needstage
    plain = engine.put(host, "jax")
    return Compiled(
        host=host,
        plain=plain,
        stepping=plain if impl == "jax" else engine.put(host, impl),
        blank=None if impl == "jax" else engine.blank_warp(host, plain, contacts),
        masses=masses,
        force_sensors=bool((stages == mujoco.mjtStage.mjSTAGE_ACC).any()),
    )


def _hasten(host: mujoco.MjModel) -> None:
    """Change a model's settings to those of `fast`."""
    option = host.opt
    option.iterations = _FAST_ITERATIONS
    option.ls_iterations = _FAST_LINE_SEARCH
    if option.integrator == mujoco.mjtIntegrator.mjINT_RK4:
        option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    decay = option.timestep * host.dof_damping * host.dof_invweight0
    if (decay < _EXPLICIT_DECAY).all():
        option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_EULERDAMP)
