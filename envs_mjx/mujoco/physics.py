"""What moves in a MuJoCo environment, to and from MJX's data."""

import chex
import jax
from jaxtyping import Array, Float
from mujoco import mjx

from envs_mjx.mujoco import engine


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
    """

    qpos: Float[Array, "*batch nq"]
    qvel: Float[Array, "*batch nv"]
    act: Float[Array, "*batch na"]
    ctrl: Float[Array, "*batch nu"]
    warmstart: Float[Array, "*batch nv"]
    sensordata: Float[Array, "*batch S"]
    target: Float[Array, "*batch G"]
    fields: dict[str, Array]


def loaded(model: mjx.Model, physics: MujocoPhysics, blank: mjx.Data | None = None) -> mjx.Data:
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


def stepped(model: mjx.Model, physics: MujocoPhysics, steps: int, blank: mjx.Data | None = None) -> MujocoPhysics:
    """The state after physics steps with its controls held; for `blank` see `loaded`."""

    def step(physics: MujocoPhysics, _: None) -> tuple[MujocoPhysics, None]:
        data = engine.advanced(model, loaded(model, physics, blank))
        after = physics.replace(
            qpos=data.qpos,
            qvel=data.qvel,
            act=data.act,
            warmstart=data.qacc_warmstart,
            sensordata=data.sensordata,
        )
        return after, None

    return jax.lax.scan(step, physics, None, steps)[0]
