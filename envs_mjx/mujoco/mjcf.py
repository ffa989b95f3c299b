"""An environment out of a user's own MJCF."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_whole
from envs_mjx.mujoco.base import MujocoEnv
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.view import View

Start = Callable[[Key[Array, ""], Scene], tuple[Float[Array, " nq"], Float[Array, " nv"]]]


@dataclass(frozen=True)
class MjcfEnv(MujocoEnv):
    """An environment out of an MJCF, a reward, and as much else as the task needs.

    Functions get a `View` (positions, velocities and sensors by name) and are traced: `jnp` only, no side effects.
    Pass module-level functions or keep the lambda, since two equal-looking functions make two environments.

    The factors of variation are gravity along the three axes (m/s^2, 10 to either side of the model's), and the given
    `masses`, from half to one and a half of the model's own value.

    Args:
        mjcf: path of an XML file, or the XML itself.
        reward: of a control step; at most 1 for `planning_cost`, the reward missed so far, to be 0 at best.
        observation: one vector; positions, velocities and activations by default.
        start: positions and velocities at the start of an episode, from a key and a `Scene`; by default the model's
            first keyframe, or its reference position without one, at rest.
        success: whether the task is solved, which terminates the episode; never by default.
        masses: factors that set densities (kg/m^3) or masses (kg) of geoms.
        time_limit: steps after which the episode is truncated.
        substeps: physics steps per control step.
        action_repeat: control steps per step, whose rewards are added up.
        camera: number of the camera that renders; -1 for a free one that sees the whole model, which it also is where
            the model has none.

    Raises:
        UserError: MuJoCo cannot read the MJCF, the implementation cannot run it (the message names the element; the
            C library runs what MJX refuses), an actuator has no range of controls, or an argument is out of its range.
    """

    mjcf: str | Path = ""
    reward: Callable[[View], Float[Array, ""]] | None = None
    observation: Callable[[View], Float[Array, " O"]] | None = None
    start: Start | None = None
    success: Callable[[View], Bool[Array, ""]] | None = None
    masses: tuple[MassFactor, ...] = ()
    time_limit: int = 1000  # type: ignore[misc]
    substeps: int = 1  # type: ignore[misc]
    action_repeat: int = 1  # type: ignore[misc]
    camera: int = 0  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reward is None:
            raise UserError("an MjcfEnv needs a reward: reward=lambda view: ...")
        for name in ("time_limit", "substeps", "action_repeat"):
            check_whole(name, getattr(self, name), 1)
        self._check_mjcf()
        host = self.compiled.host
        if not -1 <= self.camera < max(host.ncam, 1):
            raise UserError(f"camera must be from -1 (free) to {host.ncam - 1} for this model, got {self.camera!r}")
        if not host.ncam:
            object.__setattr__(self, "camera", -1)
        if self.camera < 0 and self.renderer == "warp":
            raise UserError('renderer="warp" has no free camera: add a camera to the MJCF, or use renderer="host"')
        if not host.nu:
            raise UserError("the MJCF has no actuator, so there is nothing to act with")
        for index in range(host.nu):
            low, high = host.actuator_ctrlrange[index]
            if not low < high:
                raise UserError(
                    f"actuator {host.actuator(index).name or index!r} has no ctrlrange, to which actions from -1 to 1 "
                    'are scaled: add ctrlrange="low high"'
                )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Gravity and the masses."""
        spec = self._spec()
        gravity = {
            axis: spaces.Box(value - 10, value + 10, (1,), np.float64, init_value=[value])
            for axis, value in zip("xyz", spec.option.gravity, strict=True)
        }
        groups: dict[str, dict[str, spaces.Box]] = {"gravity": gravity}
        for mass in self.masses:
            group, _, name = mass.factor.partition(".")
            nominal = self._nominal(spec, mass)
            groups.setdefault(group, {})[name] = spaces.Box(
                0.5 * nominal, 1.5 * nominal, (1,), np.float32, init_value=[nominal]
            )
        return spaces.Dict({name: spaces.Dict(parts) for name, parts in groups.items()})

    def _nominal(self, spec: mujoco.MjSpec, mass: MassFactor) -> float:
        """The model's own value of a factor."""
        if mass.factor.count(".") != 1:
            raise UserError(f"a factor of masses is named group.name, for instance agent.density, got {mass.factor!r}")
        known = [geom.name for geom in spec.geoms if geom.name]
        for name in mass.geoms:
            if name not in known:
                raise UserError(f"factor {mass.factor!r}: the MJCF has no geom {name!r}; it has {', '.join(known)}")
        value = float(getattr(spec.geom(mass.geoms[0]), mass.attribute)) / mass.per_unit
        if not value > 0:
            raise UserError(f"factor {mass.factor!r}: geom {mass.geoms[0]!r} has no {mass.attribute} in the MJCF")
        return value

    @property
    def has_success(self) -> bool:
        """Where `success` is given."""
        return self.success is not None

    def _check_mjcf(self) -> None:
        place = "the MJCF given as text" if self._inline else repr(str(self.mjcf))
        if not self._inline and not Path(self.mjcf).is_file():
            raise UserError(f"mjcf must be XML, or the path of a file with it; there is no file {place}")
        try:
            self._spec().compile()
        except (ValueError, mujoco.FatalError) as error:
            message = "; ".join(str(error).split("\n")).strip("; ")
            raise UserError(f"MuJoCo cannot read {place}: {message}") from error

    @property
    def _inline(self) -> bool:
        return str(self.mjcf).lstrip().startswith("<")

    def _spec(self) -> mujoco.MjSpec:
        text = str(self.mjcf)
        return mujoco.MjSpec.from_string(text) if self._inline else mujoco.MjSpec.from_file(text)

    def _mass_factors(self) -> tuple[MassFactor, ...]:
        return self.masses

    def _edited(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        return {"opt.gravity": jnp.concatenate([factors[f"gravity.{axis}"] for axis in "xyz"])}

    def _place(self, key: Key[Array, ""], scene: Scene) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        if self.start is not None:
            return self.start(key, scene)
        blank, host = scene.physics, scene.host
        return (jnp.asarray(host.key_qpos[0], blank.qpos.dtype) if host.nkey else blank.qpos), blank.qvel

    def _observe(self, view: View) -> Float[Array, " O"]:
        if self.observation is not None:
            return self.observation(view)
        return jnp.concatenate([view.qpos, view.qvel, view.data.act])

    def _reward(self, view: View) -> Float[Array, ""]:
        assert self.reward is not None
        return jnp.asarray(self.reward(view), view.qpos.dtype)

    def _reached(self, view: View, goal: Float[Array, " S"]) -> Bool[Array, ""] | None:
        return None if self.success is None else jnp.asarray(self.success(view), bool)
