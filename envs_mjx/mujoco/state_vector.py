"""What all environments share whose state is a vector of MuJoCo's positions and velocities: goals and distances."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float

from envs_mjx.checks import UserError, check_whole
from envs_mjx.core import Env
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds

_BROKEN = 1e10
"""Size of a position or velocity at which MuJoCo calls its physics diverged."""


@dataclass(frozen=True)
class StateVectorEnv(Env):
    """An environment whose state vector (`info["state"]`, `set_state`, the goal) is `qpos` and `qvel`.

    The goal is NaN until one is set.

    Args:
        resolution: height and width of the picture, px.

    Raises:
        UserError: the resolution is no whole number of at least 8 px.
    """

    resolution: int = 224

    camera: ClassVar[int] = 0
    """Number of the camera that renders; -1 for a free one that sees the whole model."""

    def __post_init__(self) -> None:
        check_whole("resolution", self.resolution, 8, unit="px")

    @property
    @abc.abstractmethod
    def action_space(self) -> gymnasium.spaces.Box:
        """Controls, -1 to 1."""

    @property
    @abc.abstractmethod
    def host(self) -> mujoco.MjModel:
        """MuJoCo's model, whose positions and velocities are those of the state vector."""

    @abc.abstractmethod
    def _vectors(self, physics: Any) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        """Positions and velocities of `State.physics`."""

    @abc.abstractmethod
    def _cost_without_goal(self, state: State) -> Float[Array, ""]:
        """What a planner should minimise until a goal is set."""

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def state_bounds(self, size: int) -> StateBounds:
        """Positions of limited joints as far beyond their range as it is wide; all else where physics is not broken."""
        if size != self._state_size:
            return super().state_bounds(size)
        high = np.full(size, _BROKEN)
        low = -high
        limited = (self.host.jnt_limited == 1) & np.isin(
            self.host.jnt_type, (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
        )
        first, last = self.host.jnt_range[limited].T
        place = self.host.jnt_qposadr[limited]
        low[place], high[place] = first - (last - first), last + (last - first)
        return StateBounds.of(low, high, size, np.concatenate([self.host.qpos0, np.zeros(self.host.nv)]))

    def goal_from(self, state: State) -> Float[Array, " S"]:
        """The goal that a state reaches: its positions and velocities."""
        return jnp.concatenate(self._vectors(state.physics)).astype(jnp.result_type(float))

    def distance(self, state: State) -> Float[Array, ""]:
        """Length of the difference of positions from the goal, m and rad, angles wrapped; NaN without a goal."""
        squares = (self._away(state)[: self.host.nq] ** 2).sum()
        positive = squares != 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared difference from the goal, of velocities a hundredth; without a goal, see the class."""
        nq = self.host.nq
        given = ~jnp.isnan(state.goal).any()
        away = self._away(state.replace(goal=jnp.where(given, state.goal, 0.0)))
        near = (away[:nq] ** 2).sum() + 0.01 * (away[nq:] ** 2).sum()
        return jnp.where(given, near, self._cost_without_goal(state))

    def _away(self, state: State) -> Float[Array, " S"]:
        """Difference of the state vector from the goal; that of turning joints is the short way round."""
        turning = np.zeros(self._state_size, bool)
        turning[self.host.jnt_qposadr[self.host.jnt_type == mujoco.mjtJoint.mjJNT_HINGE]] = True
        away = self.goal_from(state) - state.goal
        return jnp.where(turning, jnp.arctan2(jnp.sin(away), jnp.cos(away)), away)

    @property
    def _state_size(self) -> int:
        return self.host.nq + self.host.nv

    def _vector(self, value: Any, name: str) -> Float[Array, " S"]:
        value = jnp.asarray(value, jnp.result_type(float))
        if value.shape != (self._state_size,):
            raise UserError(
                f"{name} must have {self._state_size} entries ({self.host.nq} positions, {self.host.nv} velocities), "
                f"got the shape {value.shape}"
            )
        return value

    def _goal(self, options: Mapping[str, Any]) -> Float[Array, " S"]:
        """The goal among the options of a reset; NaN without one."""
        return self._vector(options.get("goal_state", jnp.full((self._state_size,), jnp.nan)), "goal_state")


def sound(tree: Any) -> Bool[Array, ""]:
    """Whether nothing is NaN, infinite, or so large that the physics has diverged."""
    return jnp.stack([(jnp.abs(leaf) < _BROKEN).all() for leaf in jax.tree.leaves(tree)]).all()
