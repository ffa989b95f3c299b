"""What the domains of the control suite share: tasks, factors of variation and looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_flag
from envs_mjx.mujoco.base import MujocoEnv
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.masses import MassFactor
from envs_mjx.mujoco.suite.floor import FIRST_SQUARE, SECOND_SQUARE, floor_painted, floor_squares
from envs_mjx.mujoco.suite.marks import Mark
from envs_mjx.mujoco.suite.models import suite_spec
from envs_mjx.names import unknown_name

_FLOOR_FRICTION = (0.005, 1e-4)
"""Torsional and rolling friction of a floor whose sliding friction is a factor, as the reference writes them."""


@dataclass(frozen=True)
class SuiteEnv(MujocoEnv):
    """A domain of the DeepMind Control Suite in MuJoCo's C library or MJX.

    One step is two control steps of the suite, whose rewards are added up. Actions are from -1 to 1 in every entry and
    scaled to the actuators' ranges. The observation is the suite's, concatenated. The state vector (`info["state"]`,
    `set_state`, the goal) is `qpos` and `qvel`.

    Where the reference silently starts a new episode after the suite's time limit, this one is truncated. Physics that
    diverges stays at the last good state, is truncated, and sets `info["diverged"]`. Until a goal is set (it is NaN
    before), `planning_cost` is the reward missed so far; then, the squared difference of the state vectors.

    Factors that the reference declares but never applies, or whose effect its models swallow, are accepted and do
    nothing; the domain's docstring names them. With `fixed` they do what their names promise.

    Args:
        fidelity: `parity` for the suite's integrator and solver settings; `fast` for 4 solver and 8 line search
            iterations and Euler steps, with explicit damping where damping is weak. After one control step from the
            same state, positions and velocities are away from the suite's by no more than rounding in ball_in_cup,
            finger, manipulator, quadruped and reacher; by 5e-4 to 1e-2 in acrobot, cartpole, hopper and pendulum; by
            5e-2 to 7e-2 in cheetah and walker; by 2 and more in humanoid, whose robot moves faster. Do not replay data
            on it. Source: benchmarks/results/mjx_parity_cpu.txt.
        impl: `auto` for what suits the machine (see `taken`): MuJoCo's C library on one CPU, with the derivatives of
            MJX and with MJX in programs that are exported; MJX on other devices, in double precision, and where it is
            faster. Or `c` for the C library, without derivatives; `jax` for MJX; `warp` where NVIDIA Warp is installed,
            on a CUDA GPU or slowly on the CPU.
        resolution: height and width of the picture, px.
        warp_contacts: with `warp`, contacts at most in all rows of a batch together; Warp leaves out what is more.
        renderer: `host` for MuJoCo's own OpenGL pictures, one after another; `warp` to draw a batch at once on the
            device where NVIDIA Warp is installed, without sites, and with the nominal floor and shapes.
        threads: threads of the C library that step a batch; 0 for all cores. The results do not depend on it.
        task: one of `tasks`; the domain's default when empty.
        fixed: repair the factors that do nothing in the reference.

    Raises:
        UserError: an argument is unknown, or the implementation cannot run here.

    Source: reference: envs/dmcontrol/dmcontrol.py around the tasks of dm_control.
    """

    task: str = ""
    fixed: bool = False

    action_repeat = 2
    runs_in_c = True
    domain: ClassVar[str]
    """Name of the suite's domain."""
    tasks: ClassVar[tuple[str, ...]]
    """Names of the tasks, the default first."""
    masses: ClassVar[tuple[MassFactor, ...]] = ()
    """The factors that set masses."""
    repaired_masses: ClassVar[tuple[MassFactor, ...]] = ()
    """The same in the `fixed` variant, where they differ."""
    inert: ClassVar[tuple[str, ...]] = ()
    """Factors that do nothing unless the variant is `fixed`."""
    floor: ClassVar[str] = "floor"
    """The geom of the floor."""
    lamp: ClassVar[str] = "light"
    """The light that `light.intensity` sets."""
    mark: ClassVar[Mark | None] = None
    """How the target looks; None without one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.task:
            object.__setattr__(self, "task", self.tasks[0])
        if self.task not in self.tasks:
            raise UserError(
                f"{unknown_name(f'task of the domain {self.domain}', self.task, self.tasks)} "
                f"(all tasks: {', '.join(self.tasks)})"
            )
        check_flag("fixed", self.fixed)

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """What the reference declares and never applies, or what its model swallows; with `fixed` nothing."""
        return () if self.fixed else self.inert

    def _edit(self, spec: mujoco.MjSpec) -> None:
        """Changes of the domain's specification before it is compiled."""

    def _more_fields(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        """Fields of the model that the domain's own factors set."""
        return {}

    def _spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.domain)
        if "floor.friction" in self.variation_space.names():
            initial = float(self.variation_space.factor("floor.friction").init_value[0])
            spec.geom(self.floor).friction = [initial, *_FLOOR_FRICTION]
        self._edit(spec)
        return spec

    def _mass_factors(self) -> tuple[MassFactor, ...]:
        return self.repaired_masses if self.fixed and self.repaired_masses else self.masses

    def _edited(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        dtype = jnp.result_type(float)
        fields: dict[str, Array] = {}
        if "gravity.z" in factors:
            fields["opt.gravity"] = jnp.concatenate([factors[f"gravity.{axis}"].astype(dtype) for axis in "xyz"])
        if "floor.friction" in factors:
            fields["geom_friction"] = self._friction(model, factors["floor.friction"][0].astype(dtype))
        return fields | self._more_fields(model, factors)

    def _friction(self, model: ModelFields, sliding: Float[Array, ""]) -> Float[Array, "ngeom 3"]:
        """Friction of the geoms; the floor's other coefficients are MuJoCo's defaults, as in the reference."""
        floor = self.compiled.host.geom(self.floor).id
        friction = model.geom_friction
        if self.fixed:
            # A contact has the larger of two frictions, so the others must not exceed the floor's.
            friction = friction.at[:, 0].min(sliding)
        return friction.at[floor].set(
            jnp.stack([sliding, *(jnp.full_like(sliding, value) for value in _FLOOR_FRICTION)])
        )

    def _tinted(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        host, dtype, mark = self.compiled.host, model.mat_rgba.dtype, self.mark
        rgba = model.mat_rgba.at[host.material("self").id, :3].set(factors["agent.color"].astype(dtype))
        lamp = jnp.broadcast_to(factors["light.intensity"], (3,)).astype(dtype)
        fields = {"light_diffuse": model.light_diffuse.at[host.light(self.lamp).id].set(lamp)}
        if mark is not None and mark.material is not None:
            rgba = rgba.at[host.material(mark.material).id].set(mark.color(factors).astype(dtype))
        if mark is not None and mark.kind == "geom":
            fields["geom_size"] = model.geom_size.at[host.geom(mark.name).id].set(jnp.asarray(mark.size, dtype))
        return fields | {"mat_rgba": rgba}

    def drawn_model(self) -> mujoco.MjModel:
        """The model that the renderer draws; its floor is painted for `floor_squares`."""
        spec = self._spec()
        grid = spec.texture("grid")
        grid.rgb1, grid.rgb2 = FIRST_SQUARE, SECOND_SQUARE
        return spec.compile()

    def look(self, model: mujoco.MjModel, data: mujoco.MjData, looks: Mapping[str, Any]) -> tuple[int, ...]:
        """Colours of the agent, the floor and the target, and the lamp."""
        changed = super().look(model, data, looks)
        self._paint(model, looks["factors"], looks["target"])
        return changed + floor_painted(model, floor_squares(self), looks["factors"]["floor.color"])

    def _paint(self, model: mujoco.MjModel, factors: Mapping[str, np.ndarray], target: np.ndarray) -> None:
        """The domain's looks of the factors and of its target."""
        model.material("self").rgba[:3] = factors["agent.color"]
        model.light(self.lamp).diffuse[:] = factors["light.intensity"]
        if self.mark is not None:
            self.mark.apply(model, factors)
