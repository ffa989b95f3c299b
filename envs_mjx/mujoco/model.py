"""A domain's model, compiled once per configuration: its fields, how factors change it, and what moves it."""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco

from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.implementation import Implementation, Nominal
from envs_mjx.mujoco.masses import MassFactor, MassTable, mass_table, scale

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
        host: MuJoCo's model without textures, which take 12 MB and most of the time of compiling.
        textured: makes the same with textures, for a renderer.
        fields: its fields as arrays.
        masses: how masses depend on factors of variation.
        moves: what moves it.
    """

    host: mujoco.MjModel
    textured: Callable[[], mujoco.MjModel]
    fields: ModelFields
    masses: MassTable
    moves: Implementation


def compiled(
    spec: mujoco.MjSpec,
    factors: tuple[tuple[MassFactor, float], ...],
    total_mass: float | None,
    fidelity: str,
    kind: type[Implementation],
    contacts: int,
    threads: int,
) -> Compiled:
    """Compile a specification.

    Args:
        spec: the nominal model.
        factors: the factors that set masses, with their nominal values.
        total_mass: mass to which all bodies are scaled, kg.
        fidelity: `parity` keeps the model's settings; `fast` takes 4 solver and 8 line search iterations, and Euler
            steps, with explicit damping where damping is weak.
        kind: implementation of the physics.
        contacts: at most, in all rows of a batch together, for Warp.
        threads: on the host, for the C library; 0 for all cores.

    Raises:
        UserError: the implementation cannot run the model.
    """

    def finished(model: mujoco.MjModel) -> mujoco.MjModel:
        scale(model, total_mass)
        if fidelity == "fast":
            _hasten(model)
        return model

    bare = _without_textures(spec)
    masses = mass_table(bare, factors, total_mass)
    host = finished(bare.compile())

    def textured() -> mujoco.MjModel:
        for factor, value in factors:
            factor.set(spec, value)
        return finished(spec.compile())

    nominal = Nominal(host, contacts, threads)
    return Compiled(host=host, textured=textured, fields=ModelFields(host), masses=masses, moves=kind(nominal))


def _without_textures(spec: mujoco.MjSpec) -> mujoco.MjSpec:
    bare = spec.copy()
    for material in bare.materials:
        material.textures = [""] * len(material.textures)
    for texture in list(bare.textures):
        bare.delete(texture)
    return bare


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
