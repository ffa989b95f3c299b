"""Brax's robots with the rewards of Gymnasium's MuJoCo tasks, `brax/...-v1`.

Swimmer is left out: Brax 0.14.2 asks it of JAX in a way that JAX 0.10 no longer understands.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from envs_mjx.adapters.robot import RobotTask, model_loading
from envs_mjx.checks import UserError, check_choice
from envs_mjx.names import unknown_name
from envs_mjx.processes import check_process
from envs_mjx.third_party import quietly

with quietly():
    from brax import envs

BACKENDS = ("generalized", "positional", "spring", "mjx")
TASKS = (
    "ant",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "pusher",
    "reacher",
    "walker2d",
)
"""Brax's names of the tasks that work here."""


@dataclass(frozen=True)
class BraxTask(RobotTask):
    """A task of Brax.

    One step is one of Brax's. Brax itself never ends an episode by time and starts no new one; this one is truncated
    after 1,000 steps, the field's habit. `terminated` is Brax's `done`: the robot fell or lost its balance.

    Args:
        task: Brax's name of the task, one of `TASKS`.
        backend: Brax's physics: `generalized` (joint coordinates), `positional` (position-based dynamics), `spring`
            (springs at the joints, the cheapest) or `mjx`. They move differently, and are scaled differently by Brax.

    Raises:
        UserError: another task or backend.
    """

    task: str = "ant"
    backend: str = "generalized"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in TASKS:
            raise UserError(f"{unknown_name('task of Brax', self.task, TASKS)} (all tasks: {', '.join(TASKS)})")
        check_choice("backend", self.backend, BACKENDS, show=str)

    @property
    def library(self) -> Any:
        """Brax's environment without wrappers."""
        return _made(self.task, self.backend, jnp.result_type(float) == jnp.float64)

    @property
    def host(self) -> mujoco.MjModel:
        """The MuJoCo model from which Brax has made its own."""
        return self.library.sys.mj_model

    @property
    def time_limit(self) -> int:
        """1,000 steps, Brax's default in training."""
        return 1000

    @property
    def camera(self) -> int:  # type: ignore[override]
        """The camera that follows the robot, where the model has one."""
        return 0 if self.host.ncam else -1

    def _vectors(self, inner: Any) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return inner.pipeline_state.q, inner.pipeline_state.qd

    def _placed(self, inner: Any, qpos: Float[Array, " nq"], qvel: Float[Array, " nv"]) -> Any:
        # Brax's own reset, with other positions, knows how everything else follows from them.
        env = copy.copy(self.library)
        env.pipeline_init = lambda *drawn: self.library.pipeline_init(qpos, qvel)
        return env.reset(jax.random.key(0))


@functools.lru_cache(maxsize=16)
def _made(task: str, backend: str, x64: bool) -> envs.PipelineEnv:
    """An environment of Brax; `x64` only keeps the models of the two precisions apart."""
    check_process()
    with quietly(), model_loading(), jax.ensure_compile_time_eval():
        return envs.get_environment(task, backend=backend)
