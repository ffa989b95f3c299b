"""What moves the physics of MuJoCo's models: the interface of an implementation, and the list of those that there are.

A new implementation is one file with a class under `Implementation`, and one line in `IMPLEMENTATIONS`.
"""

import abc
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Bool, Float

from envs_mjx.checks import check_choice
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassTable
from envs_mjx.mujoco.physics import MujocoPhysics
from envs_mjx.mujoco.state_vector import sound

IMPLEMENTATIONS = {
    "jax": "envs_mjx.mujoco.in_jax:JaxImplementation",
    "warp": "envs_mjx.mujoco.in_warp:WarpImplementation",
    "c": "envs_mjx.mujoco.in_c:CImplementation",
}

AUTO = "auto"
"""The name that takes the one that suits the machine."""

Look = Callable[[MujocoPhysics, Any], Any]
"""From a state and its data, with MuJoCo's names for what follows from positions and velocities, to what is wanted."""


@dataclass(frozen=True)
class Nominal:
    """What implementations are made for.

    Attributes:
        host: the nominal model, without textures.
        warp_contacts: contacts at most in all rows of a batch together, for Warp.
        threads: threads on the host that step a batch; 0 for all cores.
    """

    host: mujoco.MjModel
    warp_contacts: int
    threads: int


@dataclass(frozen=True)
class Motion:
    """How one step of an environment moves.

    Attributes:
        repeat: control steps, in which the controls are held.
        substeps: physics steps in each.
    """

    repeat: int
    substeps: int


class Implementation(abc.ABC):
    """Moves the physics of one nominal model; the methods are pure and may be traced and batched.

    `fields` are fields of the model that differ from the nominal ones, by name, those of the target among them.
    """

    whole_rollouts: ClassVar[bool] = False
    """Whether `rolled` moves through many steps at once."""
    exact_size: int = 0
    """Length of `MujocoPhysics.exact`."""

    @abc.abstractmethod
    def __init__(self, nominal: Nominal) -> None:
        """Prepare to move a model.

        Raises:
            UserError: this implementation cannot run it.
        """

    @classmethod
    @abc.abstractmethod
    def check(cls) -> None:
        """Refuse to run where this implementation cannot.

        Raises:
            UserError: says what is missing.
        """

    @abc.abstractmethod
    def weighed(self, masses: MassTable, model: ModelFields, moments: Float[Array, "nbody 10"]) -> dict[str, Array]:
        """The fields that follow from moments of the bodies.

        Args:
            masses: the table that the moments are from.
            model: with the other fields of the environment.
            moments: of all bodies.
        """

    @abc.abstractmethod
    def moved(
        self,
        physics: MujocoPhysics,
        fields: Mapping[str, Array],
        ctrl: Float[Array, " nu"],
        motion: Motion,
        resting: Bool[Array, " nv"] | None,
        look: Look,
    ) -> tuple[MujocoPhysics, Any]:
        """One step of the environment.

        Args:
            physics: before.
            fields: of the model.
            ctrl: control signals.
            motion: how many control steps and physics steps.
            resting: degrees of freedom whose velocity is 0 before the first control step; None for none.
            look: what is wanted of each control step.

        Returns:
            The physics after each control step, NaN where it diverged, and what is wanted there; with a leading axis.
        """

    def rolled(
        self,
        physics: MujocoPhysics,
        fields: Mapping[str, Array],
        ctrls: Float[Array, "H nu"],
        motion: Motion,
        resting: Bool[Array, " nv"] | None,
        look: Look,
    ) -> tuple[MujocoPhysics, Any]:
        """H steps, with leading axes H and control step; as `moved` one after the other.

        A step with a control that is not finite moves nothing, and what is wanted of it means nothing. After one that
        diverges the next begins where it began.
        """

        def step(before: MujocoPhysics, given: tuple[Array, Array]) -> tuple[MujocoPhysics, Any]:
            ctrl, moves = given
            after, found = self.moved(before, fields, ctrl, motion, resting, look)
            last = jax.tree.map(lambda leaf: leaf[-1], after)
            kept = moves & sound((last.qpos, last.qvel, last.act))
            frames = jax.tree.map(lambda new, old: jnp.where(moves, new, old), after, before)
            return jax.tree.map(lambda new, old: jnp.where(kept, new, old), last, before), (frames, found)

        rolled: tuple[MujocoPhysics, Any]
        _, rolled = jax.lax.scan(step, physics, finite_controls(ctrls))
        return rolled

    @abc.abstractmethod
    def drifted(self, physics: MujocoPhysics, fields: Mapping[str, Array], steps: int) -> MujocoPhysics:
        """The state after physics steps with its controls held."""

    @abc.abstractmethod
    def seen(self, physics: MujocoPhysics, fields: Mapping[str, Array], look: Look) -> Any:
        """What is wanted of a state; force sensors show what they last read."""

    @abc.abstractmethod
    def settled(self, physics: MujocoPhysics, fields: Mapping[str, Array], actuated: bool) -> MujocoPhysics:
        """A state that nothing has led to: force sensors read what the actuators, or none, do there."""

    @abc.abstractmethod
    def gaps(self, physics: MujocoPhysics, fields: Mapping[str, Array]) -> Float[Array, " C"]:
        """Gaps between geoms, less the margin of a contact, m; see `Scene.gaps`."""


def finite_controls(ctrls: Float[Array, "H nu"]) -> tuple[Float[Array, "H nu"], Bool[Array, " H"]]:
    """Controls with 0 for those of which one is not finite, and which are finite.

    Not even a step whose result is dropped may see NaN: its derivative would be NaN.
    """
    finite = jnp.isfinite(ctrls).all(1)
    return jnp.where(finite[:, None], ctrls, 0.0), finite


@dataclass(frozen=True)
class Taken:
    """An implementation that is taken.

    Attributes:
        name: one of `IMPLEMENTATIONS`.
        why: the reason, for people to read.
        kind: its class.
    """

    name: str
    why: str
    kind: type[Implementation]


def taken(name: str, mjx_is_faster: bool = False) -> Taken:
    """The implementation of a name, `auto` among them, which can run here.

    Args:
        name: as a user gives it.
        mjx_is_faster: whether MJX moves the model faster than the C library, even on a CPU.

    Raises:
        UserError: there is none of this name (the message lists those that there are), or it cannot run here.
    """
    check_choice("impl", name, (*IMPLEMENTATIONS, AUTO), show=str)
    why = "as asked for"
    if name == AUTO:
        from envs_mjx.mujoco.in_auto import DifferentiableC, chosen

        name, why = chosen(mjx_is_faster)
        if name == "c":
            return Taken(name, why, DifferentiableC)
    kind: type[Implementation] = pkgutil.resolve_name(IMPLEMENTATIONS[name])
    kind.check()
    return Taken(name, why, kind)
