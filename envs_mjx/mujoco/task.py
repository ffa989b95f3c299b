"""What a MuJoCo environment says about its task: a model, how episodes start, what is observed and rewarded."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.physics import MujocoPhysics
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.state_vector import StateVectorEnv
from envs_mjx.mujoco.view import View


@dataclass(frozen=True)
class MujocoTask(StateVectorEnv):
    """The parts of a `MujocoEnv` that differ from task to task."""

    option_names = ("state", "goal_state", "target")

    time_limit: ClassVar[int]
    """Steps after which the episode is truncated."""
    action_repeat: ClassVar[int] = 1
    """Control steps per step of the environment; their rewards are added up."""
    substeps: ClassVar[int] = 1
    """Physics steps per control step."""
    total_mass: ClassVar[float | None] = None
    """Mass to which all bodies are scaled, kg."""
    mjx_is_faster: ClassVar[bool] = False
    """Whether MJX moves large batches of this model faster than the C library, even on a CPU."""
    runs_in_c: ClassVar[bool] = False
    """Whether the C library is known to run the task; `auto` tries it otherwise."""
    target_size: ClassVar[int] = 0
    """Length of the target vector."""

    @property
    def has_success(self) -> bool:
        """No: an episode ends by time, unless the task says otherwise (see `_reached`)."""
        return False

    @property
    def reaches_goals(self) -> bool:
        """No: the task is about its reward, whatever the goal is."""
        return False

    @abc.abstractmethod
    def _spec(self) -> mujoco.MjSpec:
        """The specification of the nominal model."""

    @abc.abstractmethod
    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        """Positions and velocities at the start of an episode."""

    @abc.abstractmethod
    def _observe(self, view: View) -> Float[Array, " O"]:
        """The observation, one vector."""

    @abc.abstractmethod
    def _reward(self, view: View) -> Float[Array, ""]:
        """The reward of a control step; at most 1."""

    def _extras(self, view: View) -> dict[str, Array]:
        """Further entries of `info`."""
        return {}

    def _reached(self, view: View, goal: Float[Array, " S"]) -> Bool[Array, ""] | None:
        """Whether the task is solved and the episode ends; None where it never does."""
        return None

    def _resting(self, physics: MujocoPhysics) -> Bool[Array, " nv"] | None:
        """Degrees of freedom that begin every step at rest; None for none."""
        return None

    def _draw_target(self, key: Key[Array, ""], dtype: np.dtype) -> Float[Array, " G"]:
        """A target at the start of an episode."""
        return jnp.zeros((self.target_size,), dtype)

    def _aim(self, model: ModelFields, target: Float[Array, " G"]) -> dict[str, Array]:
        """Fields of the model that hold the target."""
        return {}

    def _edited(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        """Fields of the model that factors set, but for those that follow from masses."""
        return {}

    def _vary_moments(
        self, moments: Float[Array, "nbody 10"], factors: Mapping[str, Array]
    ) -> Float[Array, "nbody 10"]:
        """Moments of the bodies after factors that do more than set densities."""
        return moments

    def _mass_factors(self) -> tuple[MassFactor, ...]:
        """The factors that set masses."""
        return ()
