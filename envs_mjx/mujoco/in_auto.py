"""The implementation that suits the machine: MuJoCo's C library on a CPU, MJX's JAX code elsewhere.

The C library has no derivatives, and no program takes it along: derivatives are MJX's at the same state, and programs
that are exported, or lowered for another platform, hold MJX's steps.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from mujoco import mjx

from envs_mjx.checks import UserError
from envs_mjx.mujoco import engine
from envs_mjx.mujoco.implementation import Motion, Nominal
from envs_mjx.mujoco.in_c import LEAVES, CImplementation
from envs_mjx.mujoco.in_jax import JaxImplementation
from envs_mjx.mujoco.masses import derived_fields
from envs_mjx.mujoco.native_models import Job
from envs_mjx.mujoco.physics import UNKNOWN, MujocoPhysics
from envs_mjx.mujoco.portable import portable


def chosen(mjx_is_faster: bool) -> tuple[str, str]:
    """What `impl="auto"` takes here, and why.

    Args:
        mjx_is_faster: whether MJX is faster than the C library on a CPU, as it is with the smallest models.
    """
    backend, count = jax.default_backend(), jax.device_count()
    if backend != "cpu":
        return "jax", f"the device is a {backend.upper()}"
    if count > 1:
        return "jax", f"the program may run on {count} devices"
    if jnp.result_type(float) == jnp.float64:
        return "jax", "JAX has double precision"
    if mjx_is_faster:
        return "jax", "MJX is faster with so small a model"
    try:
        CImplementation.check()
    except UserError as error:
        return "jax", str(error)
    return "c", "the device is a CPU; derivatives and exported programs are MJX's"


class DifferentiableC(CImplementation):
    """The C library on this machine's CPU, with MJX's derivatives, and MJX in programs for elsewhere.

    MJX is traced only where it is needed.
    """

    def __init__(self, nominal: Nominal) -> None:
        super().__init__(nominal)
        self._nominal = nominal
        self._twin: JaxImplementation | None = None

    def _called(
        self, name: str, setting: tuple[Any, ...], results: tuple[jax.ShapeDtypeStruct, ...], *arguments: Array
    ) -> tuple[Array, ...]:
        by_mjx = self._by_mjx(name, setting)

        def in_jax(*arguments: Array) -> tuple[Array, ...]:
            # States without exact numbers.
            unknown = [jnp.full(result.shape, UNKNOWN, result.dtype) for result in results[1:]]
            return by_mjx(*arguments), *unknown

        return portable(functools.partial(getattr(self._native, name), *setting), in_jax, results, *arguments)

    def _slopes(
        self, name: str, setting: tuple[Any, ...], primals: tuple[Array, ...], tangents: tuple[Array, ...]
    ) -> Array:
        by_mjx = self._by_mjx(name, setting)
        smooth = [index for index, primal in enumerate(primals) if jnp.issubdtype(primal.dtype, jnp.floating)]

        def of_smooth(*values: Array) -> Array:
            arguments = list(primals)
            for index, value in zip(smooth, values, strict=True):
                arguments[index] = value
            return by_mjx(*arguments)

        given = tuple(primals[index] for index in smooth), tuple(tangents[index] for index in smooth)
        slopes: Array = jax.jvp(of_smooth, *given)[1]
        return slopes

    def _by_mjx(self, name: str, setting: tuple[Any, ...]) -> Callable[..., Array]:
        """MJX's counterpart of a method of `native.Native`: its first result, of one row."""
        return functools.partial(getattr(self, f"_{name}_by_mjx"), *setting)

    @property
    def _mjx(self) -> JaxImplementation:
        if self._twin is None:
            self._twin = JaxImplementation(self._nominal)
        return self._twin

    def _advance_by_mjx(
        self, job: Job, rounded: Array, exact: Array, packed: Array, ctrls: Array, resting: Array
    ) -> Array:
        fields, motion = self._fields(job, packed), Motion(job.repeat, job.substeps)
        still = resting if resting.size else None

        def look(physics: MujocoPhysics, data: Any) -> Array:
            return jnp.concatenate([_vector(physics), self._outputs(job, data)])

        found: Array = self._mjx.rolled(self._at(rounded), fields, ctrls, motion, still, look)[1]
        return found

    def _look_by_mjx(self, job: Job, rounded: Array, exact: Array, packed: Array) -> Array:
        found: Array = self._mjx.seen(
            self._at(rounded), self._fields(job, packed), lambda _, data: self._outputs(job, data)
        )
        return found

    def _settle_by_mjx(
        self, job: Job, actuated: bool, rounded: Array, exact: Array, packed: Array, ctrl: Array
    ) -> Array:
        physics = self._at(rounded).replace(ctrl=ctrl)
        after = self._mjx.settled(physics, self._fields(job, packed), actuated)
        return jnp.concatenate([_vector(after), after.sensordata])

    def _gap_by_mjx(self, job: Job, rounded: Array, exact: Array, packed: Array) -> Array:
        gaps = self._mjx.gaps(self._at(rounded), self._fields(job, packed))
        return gaps.min(initial=jnp.inf, keepdims=True)

    def _at(self, rounded: Array) -> MujocoPhysics:
        """The physics of a packed state; no program reads the readings of a state before."""
        host, dtype = self.host, rounded.dtype
        return MujocoPhysics(
            **self._parts(rounded),
            ctrl=jnp.zeros((host.nu,), dtype),
            sensordata=jnp.zeros((host.nsensordata,), dtype),
            target=jnp.zeros((0,), dtype),
            fields={},
            exact=jnp.zeros((0,), jnp.uint32),
        )

    def _fields(self, job: Job, packed: Array) -> dict[str, Array]:
        """The fields of a call, and what the host derives from them."""
        fields, at = {}, 0
        for name, shape in job.layout:
            size = math.prod(shape)
            fields[name] = packed[at : at + size].reshape(shape)
            at += size
        if "body_mass" in fields:
            whole = self._mjx.plain.tree_replace(fields)
            fields |= derived_fields(self.host, whole, engine.blank(whole))
        return fields

    def _outputs(self, job: Job, data: mjx.Data) -> Array:
        public = data.__dataclass_fields__
        found = [getattr(data if name in public else data._impl, name) for name in job.outputs]
        return jnp.concatenate([value.reshape(-1) for value in found])


def _vector(physics: MujocoPhysics) -> Array:
    return jnp.concatenate([getattr(physics, name) for name in LEAVES])
