"""The calls into MJX: putting a model on the device, substeps, and bringing derived quantities up to date."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import mujoco
from mujoco import mjx

# The public interface does not say which shapes collide.
from mujoco.mjx._src import collision_driver

from envs_mjx.checks import MissingExtraError, UserError, check_choice
from envs_mjx.mujoco.exact import exact_contacts
from envs_mjx.mujoco.implicit import implicit_solver
from envs_mjx.mujoco.ordered import ordered_factors

_P = ParamSpec("_P")
_R = TypeVar("_R")

RENDERERS = ("host", "warp")


def promoting(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let MJX broadcast over ranks, which it relies on, also where the caller has forbidden it."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return call


def colliding(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Trace a function that collides geoms and solves constraints, with MuJoCo's contacts and with derivatives."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with exact_contacts(), implicit_solver():
            return promoting(function)(*args, **kwargs)

    return call


def check_renderer(renderer: str) -> None:
    """Refuse a renderer that cannot run here.

    Raises:
        MissingExtraError: says what is missing.
        UserError: another word.
    """
    check_choice("renderer", renderer, RENDERERS, show=str)
    if renderer == "warp" and importlib.util.find_spec("warp") is None:
        raise MissingExtraError('renderer="warp" needs NVIDIA Warp: pip install "swmjax[warp]", or use renderer="host"')


def check_supported(host: mujoco.MjModel) -> None:
    """Refuse a model with parts that MJX cannot run, before anything is compiled.

    Raises:
        UserError: names the MJCF element and the reason.
    """
    option = host.opt
    if option.integrator == mujoco.mjtIntegrator.mjINT_IMPLICIT:
        raise UserError("option integrator='implicit': MJX has Euler, RK4 and implicitfast")
    if option.solver == mujoco.mjtSolver.mjSOL_PGS:
        raise UserError("option solver='PGS': MJX has Newton and CG")
    if option.enableflags & int(mujoco.mjtEnableBit.mjENBL_ENERGY):
        raise UserError("option flag energy='enable': MJX does not monitor energy; remove the flag")
    if host.nflex:
        raise UserError(f"flexcomp {host.flex(0).name!r}: MJX has no soft bodies")
    for index in range(host.nsensor):
        kind = mujoco.mjtSensor(host.sensor_type[index])
        if kind not in set(mjx.SensorType):
            raise UserError(f"sensor {host.sensor(index).name!r} of type {kind.name}: not in MJX")
    for index in range(host.nu):
        actuator = host.actuator(index)
        for field, known in (
            ("trntype", mjx.TrnType),
            ("dyntype", mjx.DynType),
            ("gaintype", mjx.GainType),
            ("biastype", mjx.BiasType),
        ):
            kind = int(getattr(host, f"actuator_{field}")[index])
            if kind not in {int(entry) for entry in known}:
                raise UserError(f"actuator {actuator.name!r}: its {field} {kind} is not in MJX")
    for first, second in _colliding(host):
        kinds = [mujoco.mjtGeom(host.geom_type[index]) for index in (first, second)]
        if not collision_driver.has_collision_fn(*kinds):
            names = " and ".join(
                f"{host.geom(index).name or index!r} ({kind.name.removeprefix('mjGEOM_').lower()})"
                for index, kind in zip((first, second), kinds, strict=True)
            )
            raise UserError(f"geoms {names}: MJX cannot collide this pair; change a shape, or contype and conaffinity")


def put(host: mujoco.MjModel, impl: str) -> mjx.Model:
    """The model as arrays on the device; works while a program is being traced.

    Raises:
        UserError: MJX cannot run the model.
    """
    if impl == "jax":
        check_supported(host)
    with jax.ensure_compile_time_eval():
        try:
            return mjx.put_model(host, impl=impl)
        except NotImplementedError as error:
            raise UserError(f"MJX cannot run this model: {error}") from error


@promoting
def blank(model: mjx.Model) -> mjx.Data:
    """Data of a model of MJX's JAX code at its reference position."""
    return mjx.make_data(model, impl="jax")


def blank_warp(host: mujoco.MjModel, plain: mjx.Model, contacts: int) -> mjx.Data:
    """Data of a model at its reference position for Warp.

    Args:
        host: the model.
        plain: the same for MJX's JAX code, which knows how many constraints there can be.
        contacts: at most, in all rows of a batch together.
    """
    rows = jax.eval_shape(blank, plain)._impl.nefc
    with jax.ensure_compile_time_eval():
        return mjx.make_data(host, impl="warp", naconmax=contacts, njmax=max(int(rows), 1))


@colliding
def advanced(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    """One substep; what follows from positions and velocities belongs to the state before it."""
    with ordered_factors():
        return mjx.step(model, data)


@promoting
def refreshed(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    """Positions, velocities and their sensors at the current state; forces and their sensors stay as they were.

    This is what the control suite shows after a step: its force sensors are one substep behind.
    """
    data = mjx.kinematics(model, data)
    data = mjx.com_pos(model, data)
    data = mjx.tendon(model, data)
    data = mjx.transmission(model, data)
    data = mjx.sensor_pos(model, data)
    data = mjx.com_vel(model, data)
    return mjx.sensor_vel(model, data)


@promoting
def placed(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    """Places of bodies, geoms, sites and cameras."""
    return mjx.camlight(model, mjx.com_pos(model, mjx.kinematics(model, data)))


@colliding
def settled(model: mjx.Model, data: mjx.Data, actuated: bool) -> mjx.Data:
    """Everything at the current state, force sensors too, with or without the actuators' forces."""
    if not actuated:
        flags = model.opt.disableflags | mjx.DisableBit.ACTUATION
        model = model.replace(opt=model.opt.replace(disableflags=flags))
    return mjx.forward(model, data)


@colliding
def contact_distances(model: mjx.Model, data: mjx.Data) -> Any:
    """Gap (negative: depth) of every pair of geoms that can touch, m, less the margin."""
    data = mjx.collision(model, mjx.com_pos(model, mjx.kinematics(model, data)))
    contact = data._impl.contact
    return contact.dist - contact.includemargin


def has_force_sensors(host: mujoco.MjModel) -> bool:
    """Whether a sensor needs forces, so that showing a state takes the whole forward pass."""
    return bool((host.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC).any())


def _colliding(host: mujoco.MjModel) -> list[tuple[int, int]]:
    """Pairs of geoms that the model lets collide, the lower shape code first."""
    if host.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_CONTACT):
        return []
    return [(int(first), int(second)) for first, second, _ in collision_driver.geom_pairs(host)]
