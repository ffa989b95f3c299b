"""MuJoCo's C library as an implementation of the physics: one call of the host for all rows of a batch.

Between calls the state is MuJoCo's own, in double precision: in `MujocoPhysics.exact`, or in its other leaves where JAX
has double precision itself. What is wanted of MuJoCo's data is found by tracing who looks at it.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float

from envs_mjx.checks import UserError
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.implementation import Implementation, Look, Motion, Nominal, finite_controls
from envs_mjx.mujoco.masses import MassTable
from envs_mjx.mujoco.native_models import Job
from envs_mjx.mujoco.physics import MujocoPhysics

LEAVES = ("qpos", "qvel", "act", "warmstart")
"""The leaves of the state in the order of `native.STATE`."""
_CLOSE = 8
"""Roundings by which a body's moments may differ from the nominal ones and still be those."""


class CImplementation(Implementation):
    """Steps of MuJoCo's C library on the host's cores."""

    whole_rollouts = True

    def __init__(self, nominal: Nominal) -> None:
        from envs_mjx.mujoco.native import Native

        self.host = nominal.host
        _check_model(nominal.host)
        self._native = Native(nominal.host, nominal.threads)
        self._width = sum(self._native.sizes)
        self.exact_size = 0 if jnp.result_type(float) == jnp.float64 else 2 * self._width
        self._late = _late_readings(nominal.host)

    @classmethod
    def check(cls) -> None:
        """MuJoCo must have batches."""
        if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) < (3, 17):
            raise UserError(
                f'impl="c" needs mujoco 3.17 or later, this is {mujoco.__version__}: pip install -U mujoco mujoco-mjx, '
                'or use impl="jax"'
            )

    def weighed(self, masses: MassTable, model: ModelFields, moments: Float[Array, "nbody 10"]) -> dict[str, Array]:
        """Masses and inertias; the host derives the rest. Nominal moments give the nominal fields, unrounded."""
        nominal = jnp.asarray(masses.moments, moments.dtype)
        near = jnp.abs(moments - nominal) <= _CLOSE * jnp.finfo(moments.dtype).eps * jnp.abs(nominal)
        same = near.all(1)
        if masses.total is not None:
            # One body that is heavier makes all others lighter.
            same = jnp.broadcast_to(same.all(), same.shape)
        fields = masses.fields(model, moments)
        return {
            name: jnp.where(same.reshape(-1, *[1] * (value.ndim - 1)), getattr(ModelFields(self.host), name), value)
            for name, value in fields.items()
        }

    def moved(
        self,
        physics: MujocoPhysics,
        fields: Mapping[str, Array],
        ctrl: Float[Array, " nu"],
        motion: Motion,
        resting: Bool[Array, " nv"] | None,
        look: Look,
    ) -> tuple[MujocoPhysics, Any]:
        """One call of the host."""
        moved = self.rolled(physics, fields, ctrl[None], motion, resting, look)
        return jax.tree.map(lambda leaf: leaf[0], moved)

    def rolled(
        self,
        physics: MujocoPhysics,
        fields: Mapping[str, Array],
        ctrls: Float[Array, "H nu"],
        motion: Motion,
        resting: Bool[Array, " nv"] | None,
        look: Look,
    ) -> tuple[MujocoPhysics, Any]:
        """One call of the host for all steps."""
        names = self._wanted(physics, look)
        outputs = ("sensordata", *names)
        layout, packed = _packed(fields, physics.qpos.dtype)
        shape = (len(ctrls), motion.repeat)
        results = (
            jax.ShapeDtypeStruct((*shape, self._width + self._size(outputs)), physics.qpos.dtype),
            jax.ShapeDtypeStruct((*shape, self.exact_size), jnp.uint32),
        )
        job = Job(layout, outputs, motion.repeat, motion.substeps)
        still = jnp.zeros((0,), bool) if resting is None else resting
        arguments = (*self._state(physics), packed, ctrls, still)
        found, exact = self._on_host("advance", (job,), results, *arguments)

        def frame(row: Array, exact: Array, ctrl: Array) -> tuple[MujocoPhysics, Any]:
            after, data = self._read(physics.replace(ctrl=ctrl), row, exact, outputs)
            return after, look(after, data)

        held = jax.vmap(frame, (0, 0, None))
        return jax.vmap(held)(found, exact, finite_controls(ctrls)[0])

    def drifted(self, physics: MujocoPhysics, fields: Mapping[str, Array], steps: int) -> MujocoPhysics:
        """One call of the host."""
        after, _ = self.moved(physics, fields, physics.ctrl, Motion(1, steps), None, lambda physics, data: ())
        return jax.tree.map(lambda leaf: leaf[0], after)

    def seen(self, physics: MujocoPhysics, fields: Mapping[str, Array], look: Look) -> Any:
        """One call of the host."""
        outputs = ("sensordata", *self._wanted(physics, look))
        layout, packed = _packed(fields, physics.qpos.dtype)
        result = jax.ShapeDtypeStruct((self._size(outputs),), physics.qpos.dtype)
        job = Job(layout, outputs)
        (found,) = self._on_host("look", (job,), (result,), *self._state(physics), packed)
        data = self._data(physics, found, outputs)
        data.known["sensordata"] = jnp.where(self._late, physics.sensordata, data.sensordata)
        return look(physics, data)

    def settled(self, physics: MujocoPhysics, fields: Mapping[str, Array], actuated: bool) -> MujocoPhysics:
        """One call of the host, which also leaves the warm start of the first step there."""
        layout, packed = _packed(fields, physics.qpos.dtype)
        results = (
            jax.ShapeDtypeStruct((self._width + self.host.nsensordata,), physics.qpos.dtype),
            jax.ShapeDtypeStruct((self.exact_size,), jnp.uint32),
        )
        setting = (Job(layout), actuated)
        found, exact = self._on_host("settle", setting, results, *self._state(physics), packed, physics.ctrl)
        return self._read(physics, found, exact, ("sensordata",))[0]

    def gaps(self, physics: MujocoPhysics, fields: Mapping[str, Array]) -> Float[Array, "1"]:
        """The smallest gap of all contacts."""
        layout, packed = _packed(fields, physics.qpos.dtype)
        result = jax.ShapeDtypeStruct((1,), physics.qpos.dtype)
        return self._on_host("gap", (Job(layout),), (result,), *self._state(physics), packed)[0]

    def _on_host(
        self, name: str, setting: tuple[Any, ...], results: tuple[jax.ShapeDtypeStruct, ...], *arguments: Array
    ) -> tuple[Array, ...]:
        """The results of a method of `native.Native`, for a whole batch in one call."""

        @jax.custom_jvp
        def call(*arguments: Array) -> tuple[Array, ...]:
            return self._called(name, setting, results, *arguments)

        @call.defjvp
        def derive(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[tuple[Array, ...], Any]:
            slopes = self._slopes(name, setting, primals, tangents)
            # Bits have no derivative.
            others = [np.zeros(result.shape, jax.dtypes.float0) for result in results[1:]]
            return call(*primals), (slopes, *others)

        found: tuple[Array, ...] = call(*arguments)
        return found

    def _called(
        self, name: str, setting: tuple[Any, ...], results: tuple[jax.ShapeDtypeStruct, ...], *arguments: Array
    ) -> tuple[Array, ...]:
        """`_on_host` without derivatives."""
        function, shapes = functools.partial(getattr(self._native, name), *setting), tuple(map(_coded_shape, results))
        coded = [_coded(argument) for argument in arguments]
        found = jax.pure_callback(function, shapes, *coded, vmap_method="expand_dims")
        return tuple(_decoded(result, wanted.dtype) for result, wanted in zip(found, results, strict=True))

    def _slopes(
        self, name: str, setting: tuple[Any, ...], primals: tuple[Array, ...], tangents: tuple[Array, ...]
    ) -> Array:
        """The derivative of the first result of a method of `native.Native`."""
        raise UserError('impl="c" has no gradients, since MuJoCo\'s C library computes the steps; use impl="jax"')

    def _state(self, physics: MujocoPhysics) -> tuple[Array, Array]:
        return jnp.concatenate([getattr(physics, name) for name in LEAVES]), physics.exact

    def _size(self, outputs: tuple[str, ...]) -> int:
        return sum(math.prod(self._native.shape(name)) for name in outputs)

    def _read(
        self, before: MujocoPhysics, row: Array, exact: Array, outputs: tuple[str, ...]
    ) -> tuple[MujocoPhysics, "_Data"]:
        """The state that the host has packed into a row, and its data."""
        after = before.replace(**self._parts(row), exact=exact)
        data = self._data(after, row[self._width :], outputs)
        return after.replace(sensordata=data.sensordata), data

    def _parts(self, row: Array) -> dict[str, Array]:
        """The leaves of a state that is packed into the beginning of a row."""
        ends = np.cumsum(self._native.sizes)[:-1]
        return dict(zip(LEAVES, jnp.split(row[: self._width], ends), strict=True))

    def _data(self, physics: MujocoPhysics, row: Array, outputs: tuple[str, ...]) -> "_Data":
        known, at = {}, 0
        for name in outputs:
            shape = self._native.shape(name)
            size = math.prod(shape)
            known[name] = _as_matrices(name, row[at : at + size].reshape(shape))
            at += size
        return _Data(known | _given(physics), self._refused)

    def _wanted(self, physics: MujocoPhysics, look: Look) -> tuple[str, ...]:
        """The arrays of MuJoCo's data that are looked at."""
        wanted: dict[str, None] = {}

        def missing(name: str) -> Array:
            if not self._native.has(name):
                return self._refused(name)
            wanted[name] = None
            return _as_matrices(name, jnp.zeros(self._native.shape(name), physics.qpos.dtype))

        known = _given(physics) | {"sensordata": physics.sensordata}
        jax.eval_shape(lambda physics: look(physics, _Data(known, missing)), physics)
        return tuple(sorted(wanted))

    def _refused(self, name: str) -> Array:
        raise AttributeError(f'impl="c" cannot look at data.{name} of a batch; use impl="jax"')


class _Data:
    """MuJoCo's data by name, one state, as much of it as is known."""

    def __init__(self, known: dict[str, Array], missing: Callable[[str], Array]) -> None:
        self.known, self._missing = known, missing

    @property
    def _impl(self) -> "_Data":
        """Itself, where MJX's data has what depends on its implementation."""
        return self

    def __getattr__(self, name: str) -> Array:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.known[name] if name in self.known else self._missing(name)


def _given(physics: MujocoPhysics) -> dict[str, Array]:
    """What of the data is in the state itself."""
    return {
        "qpos": physics.qpos,
        "qvel": physics.qvel,
        "act": physics.act,
        "ctrl": physics.ctrl,
        "qacc_warmstart": physics.warmstart,
    }


def _packed(fields: Mapping[str, Array], dtype: np.dtype) -> tuple[tuple[tuple[str, tuple[int, ...]], ...], Array]:
    """Names and shapes of fields, and their values as one vector."""
    layout = tuple((name, fields[name].shape) for name in sorted(fields))
    values = [fields[name].reshape(-1).astype(dtype) for name in sorted(fields)]
    return layout, jnp.concatenate(values) if values else jnp.zeros((0,), dtype)


def _as_matrices(name: str, value: Array) -> Array:
    """Orientations, of which MuJoCo has nine numbers in a row, as MJX has them."""
    return value.reshape(-1, 3, 3) if name.endswith("mat") and value.shape[-1:] == (9,) else value


def _coded_shape(wanted: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Double precision as pairs of 32 bits, see `native.Native`."""
    if wanted.dtype != np.float64:
        return wanted
    return jax.ShapeDtypeStruct((*wanted.shape[:-1], 2 * wanted.shape[-1]), jnp.uint32)


def _coded(array: Array) -> Array:
    if array.dtype != np.float64:
        return array
    return jax.lax.bitcast_convert_type(array, jnp.uint32).reshape(*array.shape[:-1], 2 * array.shape[-1])


def _decoded(array: Array, dtype: np.dtype) -> Array:
    if dtype != np.float64:
        return array
    return jax.lax.bitcast_convert_type(array.reshape(*array.shape[:-1], array.shape[-1] // 2, 2), dtype)


def _late_readings(host: mujoco.MjModel) -> np.ndarray:
    """Which entries of the sensors' readings need forces."""
    late = np.zeros(host.nsensordata, bool)
    for sensor in range(host.nsensor):
        start = host.sensor_adr[sensor]
        late[start : start + host.sensor_dim[sensor]] = host.sensor_needstage[sensor] == mujoco.mjtStage.mjSTAGE_ACC
    return late


def _check_model(host: mujoco.MjModel) -> None:
    """Refuse what has a state beside positions, velocities and activations, which would be lost between calls.

    Raises:
        UserError: says what it is.
    """
    if host.nplugin:
        raise UserError('a plugin of MuJoCo: impl="c" does not keep its state')
    if host.nhistory:
        raise UserError('an actuator or sensor with a delay: impl="c" does not keep its history')
    if host.opt.enableflags & int(mujoco.mjtEnableBit.mjENBL_SLEEP):
        raise UserError("option flag sleep='enable': impl=\"c\" does not keep what sleeps; remove the flag")
