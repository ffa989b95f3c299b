"""Masses and inertias as a function of factors of variation, and everything that MuJoCo's compiler derives from them.

The compiler is asked once per factor, on the host, how masses and inertias depend on it. Mass, first and second moments
of a body are linear in densities and masses of its geoms, so two compilations per factor say everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float
from mujoco import mjx

from envs_mjx.mujoco.engine import promoting
from envs_mjx.mujoco.fields import ModelFields

MOMENTS = 10
"""Mass, first moments (3), and second moments xx, yy, zz, xy, xz, yz of a body in its nominal inertial frame."""

_UPPER = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))


@dataclass(frozen=True)
class MassFactor:
    """A factor that sets the density or the mass of geoms.

    Attributes:
        factor: its dotted name; the value is kg/m^3 or kg.
        geoms: the geoms that it sets.
        attribute: `density`, which a geom with a mass of its own ignores, or `mass`.
        per_unit: the attribute's value for a factor of 1.
    """

    factor: str
    geoms: tuple[str, ...]
    attribute: str = "density"
    per_unit: float = 1.0

    def set(self, spec: mujoco.MjSpec, value: float) -> None:
        """Write a value of the factor into a specification."""
        for name in self.geoms:
            setattr(spec.geom(name), self.attribute, value * self.per_unit)


@dataclass(frozen=True)
class MassTable:
    """How the bodies' moments depend on the factors.

    Attributes:
        names: the factors that change anything.
        nominal: their values in the nominal model.
        moments: of the nominal model.
        slopes: by factor.
        turned: whether the principal axes of a body can turn.
        changed: whether a body changes at all.
        total: mass to which all bodies are scaled, kg; None for none.
    """

    names: tuple[str, ...]
    nominal: tuple[float, ...]
    moments: Float[np.ndarray, "nbody 10"]
    slopes: Float[np.ndarray, "K nbody 10"]
    turned: tuple[bool, ...]
    changed: tuple[bool, ...]
    total: float | None

    def varied(self, factors: Mapping[str, Array], dtype: np.dtype) -> Float[Array, "nbody 10"]:
        """Moments of all bodies for these factors, before the scaling to a total mass."""
        moments = jnp.asarray(self.moments, dtype)
        for name, value, slope in zip(self.names, self.nominal, self.slopes, strict=True):
            moments = moments + (factors[name][0].astype(dtype) - value) * jnp.asarray(slope, dtype)
        return moments

    @promoting
    def fields(self, model: ModelFields, moments: Float[Array, "nbody 10"]) -> dict[str, Array]:
        """Mass, centre, axes and inertia of every body, as fields of the model."""
        if self.total is not None:
            moments = moments * (self.total / moments[:, 0].sum())
        mass, offset, inertia = jax.vmap(_central)(moments)
        turn, diagonal = jax.vmap(_principal)(inertia)
        turned, changed = np.asarray(self.turned), np.asarray(self.changed) | (self.total is not None)
        straight = jnp.diagonal(inertia, axis1=1, axis2=2)
        where = jax.vmap(_moved)(model.body_ipos, model.body_iquat, offset)
        axes = jax.vmap(_quat_mul)(model.body_iquat, turn)
        return {
            "body_mass": jnp.where(changed, mass, model.body_mass),
            "body_ipos": jnp.where(turned[:, None], where, model.body_ipos),
            "body_iquat": jnp.where(turned[:, None], axes, model.body_iquat),
            "body_inertia": jnp.where(
                turned[:, None], diagonal, jnp.where(changed[:, None], straight, model.body_inertia)
            ),
        }


def mass_table(
    spec: mujoco.MjSpec, factors: Sequence[tuple[MassFactor, float]], total: float | None = None
) -> MassTable:
    """Find out how the masses of a model depend on factors.

    Args:
        spec: the specification; the factors' nominal values are written into it.
        factors: each with its nominal value.
        total: mass to which all bodies are scaled, kg.
    """
    for factor, value in factors:
        factor.set(spec, value)
    host = spec.compile()
    nominal = _moments(host, host)
    names, values, slopes = [], [], []
    for factor, value in factors:
        step = value or 1.0
        factor.set(spec, value + step)
        slope = (_moments(spec.compile(), host) - nominal) / step
        factor.set(spec, value)
        if np.abs(slope).max() > 0:
            # The compiler's rounding must not look like an axis that turns.
            slope[np.abs(slope) < 1e-12 * np.abs(slope).max()] = 0.0
            names.append(factor.factor)
            values.append(value)
            slopes.append(slope)
    stacked = np.stack(slopes) if slopes else np.zeros((0, *nominal.shape))
    moving = np.abs(stacked).max(0, initial=0.0)
    return MassTable(
        names=tuple(names),
        nominal=tuple(values),
        moments=nominal,
        slopes=stacked,
        turned=tuple(bool(turned) for turned in (moving[:, [1, 2, 3, 7, 8, 9]] > 0).any(1)),
        changed=tuple(bool(changed) for changed in (moving > 0).any(1)),
        total=total,
    )


def scale(model: mujoco.MjModel, total: float | None) -> None:
    """Scale all bodies of a compiled model to a total mass, kg; None for none."""
    if total is None:
        return
    mujoco.mj_setTotalmass(model, total)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    # Statistics belong to the first compilation and are not brought up to date.
    model.stat.meaninertia = model.dof_M0.mean()


@promoting
def derived_fields(host: mujoco.MjModel, model: mjx.Model, data: mjx.Data) -> dict[str, Array]:
    """What MuJoCo's compiler computes from masses and inertias at the reference position.

    Args:
        host: the nominal model.
        model: a model whose masses, centres and inertias are new.
        data: blank data of it.

    Returns:
        The fields of the model that follow.

    Source: MuJoCo: engine_setconst.c (mj_setConst).
    """
    data = data.replace(qpos=model.qpos0.astype(data.qpos.dtype))
    # The solver judges its errors by the mean inertia, for which a locked joint's armature must not count.
    armature = host.dof_armature.astype(model.dof_armature.dtype)
    locked, model = model.dof_armature - armature, model.replace(dof_armature=jnp.asarray(armature))
    data = mjx.com_pos(model, mjx.kinematics(model, data))
    data = mjx.tendon(model, data)
    data = mjx.tendon_armature(model, mjx.crb(model, data))
    data = mjx.transmission(model, data)
    free = mjx.full_m(model, data)
    mass = free + jnp.diag(locked)
    inverse = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(mass), jnp.eye(model.nv, dtype=mass.dtype))

    def body(index: Array) -> Array:
        linear, angular = mjx.jac(model, data, data.xipos[index], index)
        return jnp.stack([jnp.einsum("ik,ij,jk->", part, inverse, part) / 3 for part in (linear, angular)])

    moving = jax.vmap(body)(jnp.arange(model.nbody))
    fixed = np.asarray(model.body_weldid) == 0
    # MuJoCo does not average over the axes of a body that only slides.
    sliding = np.asarray(host.body_simple) == 2
    moving = moving.at[:, 0].set(jnp.where(sliding, 1 / model.body_mass, moving[:, 0]))
    fields = {
        "body_subtreemass": _subtree_masses(model),
        "body_invweight0": jnp.where(fixed[:, None], 0.0, moving),
        "dof_invweight0": _averaged(model, jnp.diagonal(inverse)),
        "dof_M0": jnp.diagonal(mass),
        "stat.meaninertia": jnp.maximum(jnp.diagonal(free).mean(), mujoco.mjMINVAL),
    }
    if model.ntendon:
        tendons = data._impl.ten_J
        fields["tendon_invweight0"] = jnp.einsum("ti,ij,tj->t", tendons, inverse, tendons)
    if model.nu:
        fields["actuator_acc0"] = jnp.linalg.norm(data._impl.actuator_moment @ inverse, axis=1)
    return fields


def _moments(model: mujoco.MjModel, frame: mujoco.MjModel) -> Float[np.ndarray, "nbody 10"]:
    """Moments of the bodies of one model in the inertial frames of another."""
    found = np.zeros((model.nbody, MOMENTS))
    for body in range(model.nbody):
        own, other = np.zeros(9), np.zeros(9)
        mujoco.mju_quat2Mat(own, model.body_iquat[body])
        mujoco.mju_quat2Mat(other, frame.body_iquat[body])
        turn = other.reshape(3, 3).T @ own.reshape(3, 3)
        offset = other.reshape(3, 3).T @ (model.body_ipos[body] - frame.body_ipos[body])
        mass = model.body_mass[body]
        inertia = turn @ np.diag(model.body_inertia[body]) @ turn.T
        inertia += mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))
        found[body] = [mass, *(mass * offset), *inertia[_UPPER]]
    return found


def _central(moments: Float[Array, "10"]) -> tuple[Array, Float[Array, "3"], Float[Array, "3 3"]]:
    """Mass, centre of mass, and inertia about it."""
    mass = moments[0]
    offset = moments[1:4] / jnp.where(mass > 0, mass, 1.0)
    inertia = jnp.zeros((3, 3), moments.dtype).at[_UPPER].set(moments[4:])
    inertia = inertia + jnp.triu(inertia, 1).T
    away = (offset @ offset) * jnp.eye(3, dtype=moments.dtype) - jnp.outer(offset, offset)
    return mass, offset, inertia - mass * away


def _principal(inertia: Float[Array, "3 3"]) -> tuple[Float[Array, "4"], Float[Array, "3"]]:
    """Rotation to the principal axes as a quaternion, and the principal moments."""
    values, axes = jnp.linalg.eigh(inertia)
    axes = axes.at[:, 2].multiply(jnp.sign(jnp.linalg.det(axes)))
    return _to_quat(axes), values


def _to_quat(matrix: Float[Array, "3 3"]) -> Float[Array, "4"]:
    """Quaternion of a rotation, from the largest of its four entries, which is never small."""
    m, trace = matrix, jnp.trace(matrix)
    w = jnp.stack([1 + trace, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    x = jnp.stack([w[1], 1 + 2 * m[0, 0] - trace, m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]])
    y = jnp.stack([w[2], x[2], 1 + 2 * m[1, 1] - trace, m[1, 2] + m[2, 1]])
    z = jnp.stack([w[3], x[3], y[3], 1 + 2 * m[2, 2] - trace])
    rows = jnp.stack([w, x, y, z])
    best = rows[jnp.argmax(jnp.diagonal(rows))]
    return best / jnp.linalg.norm(best)


def _quat_mul(left: Float[Array, "4"], right: Float[Array, "4"]) -> Float[Array, "4"]:
    scalar = left[0] * right[0] - left[1:] @ right[1:]
    vector = left[0] * right[1:] + right[0] * left[1:] + jnp.cross(left[1:], right[1:])
    return jnp.concatenate([scalar[None], vector])


def _moved(origin: Float[Array, "3"], quat: Float[Array, "4"], offset: Float[Array, "3"]) -> Float[Array, "3"]:
    """A point that is given in a frame of this origin and orientation."""
    inner = 2 * jnp.cross(quat[1:], offset)
    return origin + offset + quat[0] * inner + jnp.cross(quat[1:], inner)


def _subtree_masses(model: mjx.Model) -> Float[Array, " nbody"]:
    """Mass of each body and all that hangs on it."""
    parents = np.asarray(model.body_parentid)
    below = np.eye(model.nbody, dtype=bool)
    for body in range(model.nbody - 1, 0, -1):
        below[parents[body]] |= below[body]
    return jnp.asarray(below, model.body_mass.dtype) @ model.body_mass


def _averaged(model: mjx.Model, weights: Float[Array, " nv"]) -> Float[Array, " nv"]:
    """Inverse weights of the degrees of freedom, equal among the three of a ball and of each half of a free joint."""
    mean = np.eye(model.nv)
    spans = {int(mujoco.mjtJoint.mjJNT_FREE): (0, 3), int(mujoco.mjtJoint.mjJNT_BALL): (0,)}
    for kind, first in zip(model.jnt_type, model.jnt_dofadr, strict=True):
        for start in spans.get(int(kind), ()):
            block = slice(int(first) + start, int(first) + start + 3)
            mean[block, block] = 1 / 3
    return jnp.asarray(mean, weights.dtype) @ weights
