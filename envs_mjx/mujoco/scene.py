"""What a domain may ask while it places its bodies at the start of an episode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Key

from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.implementation import Implementation
from envs_mjx.mujoco.physics import MujocoPhysics


@dataclass(frozen=True, eq=False)
class Scene:
    """The environment before its first state.

    Attributes:
        host: the nominal model.
        model: the same with this episode's factors and target.
        physics: the reference position.
        moves: what moves it.
        fields: those of the model that are not the nominal ones.
    """

    host: mujoco.MjModel
    model: ModelFields
    physics: MujocoPhysics
    moves: Implementation
    fields: Mapping[str, Array]

    def gaps(self, qpos: Float[Array, " nq"]) -> Float[Array, " C"]:
        """Gaps between the geoms that can touch, m; a contact has a gap below 0.

        MuJoCo's C library knows the contacts alone: of them it gives the smallest gap, infinite where nothing touches.
        """
        return self.moves.gaps(self.physics.replace(qpos=qpos), self.fields)

    def after(self, qpos: Float[Array, " nq"], steps: int) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        """Positions and velocities after physics steps without control, from rest."""
        physics = self.moves.drifted(self.physics.replace(qpos=qpos), self.fields, steps)
        return physics.qpos, physics.qvel

    def free(
        self, key: Key[Array, ""], propose: Callable[[Array], Float[Array, " nq"]], tries: int = 1000
    ) -> Float[Array, " nq"]:
        """The first proposed positions at which nothing touches, or the last ones tried; see `free_after`."""
        return self.free_after(key, lambda key, memory: (propose(key), memory), jnp.zeros(()), tries)[0]

    def free_after(
        self,
        key: Key[Array, ""],
        propose: Callable[[Array, Array], tuple[Float[Array, " nq"], Array]],
        memory: Array,
        tries: int = 1000,
    ) -> tuple[Float[Array, " nq"], Array]:
        """The first proposed positions at which nothing touches, or the last ones tried, and what was remembered.

        Args:
            key: typed random key.
            propose: positions of a key, and what the next proposal is to remember of this one.
            memory: what the first proposal remembers.
            tries: proposals at most.
        """

        def touching(carry: tuple[Array, Array, Array]) -> Array:
            return (carry[0] < tries) & (self.gaps(carry[1]) < 0).any()

        def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            count, _, memory = carry
            return (count + 1, *propose(jax.random.fold_in(key, count), memory))

        first = (jnp.ones((), jnp.int32), *propose(jax.random.fold_in(key, 0), memory))
        return jax.lax.while_loop(touching, again, first)[1:]

    def site(self, qpos: Float[Array, " nq"], name: str) -> tuple[Float[Array, "3"], Float[Array, "3 3"]]:
        """Position and axes (as columns) of a site, m."""
        index = self.host.site(name).id

        def look(_: MujocoPhysics, data: Any) -> tuple[Array, Array]:
            return data.site_xpos[index], data.site_xmat[index]

        found: tuple[Array, Array] = self.moves.seen(self.physics.replace(qpos=qpos), self.fields, look)
        return found

    def random_joints(self, key: Key[Array, ""]) -> Float[Array, " nq"]:
        """Every limited joint uniform in its range, every free hinge in a full turn, quaternions as the suite draws.

        Source: dm_control: suite/utils/randomizers.py.
        """
        host, qpos = self.host, self.physics.qpos
        for joint in range(host.njnt):
            own, at = jax.random.fold_in(key, joint), host.jnt_qposadr[joint]
            kind = mujoco.mjtJoint(host.jnt_type[joint])
            if kind in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE) and host.jnt_limited[joint]:
                low, high = host.jnt_range[joint]
                qpos = qpos.at[at].set(jax.random.uniform(own, (), qpos.dtype, low, high))
            elif kind == mujoco.mjtJoint.mjJNT_HINGE:
                qpos = qpos.at[at].set(jax.random.uniform(own, (), qpos.dtype, -np.pi, np.pi))
            elif kind == mujoco.mjtJoint.mjJNT_FREE:
                # The suite draws the entries from 0 to 1, which is not uniform over rotations.
                quat = jax.random.uniform(own, (4,), qpos.dtype)
                qpos = qpos.at[at + 3 : at + 7].set(quat / jnp.linalg.norm(quat))
        return qpos
