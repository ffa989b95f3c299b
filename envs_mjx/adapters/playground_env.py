"""Tasks of MuJoCo Playground, `playground/...-v0`."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from envs_mjx.adapters.robot import RobotTask, model_loading
from envs_mjx.checks import UserError, check_choice
from envs_mjx.mujoco.implementation import taken
from envs_mjx.names import unknown_name
from envs_mjx.processes import check_process
from envs_mjx.third_party import quietly

with quietly():
    from mujoco import mjx
    from mujoco_playground import dm_control_suite, registry
    from mujoco_playground._src import mjx_env


@dataclass(frozen=True)
class PlaygroundTask(RobotTask):
    """A task of MuJoCo Playground, its models, rewards and resets as they are.

    One step is one of Playground's control steps, whatever number of them its trainers repeat an action for. The
    episode is truncated after the number of control steps that Playground's configuration of the task names.
    Observations after a step are Playground's: what follows from positions is one physics step behind.

    `set_state` works for tasks that observe nothing but the present, as all of the control suite do.

    Args:
        task: Playground's name of the task.
        impl: `jax`, or `warp` where NVIDIA Warp can run.

    Raises:
        UserError: an unknown task (the message lists them), an implementation that cannot run here, or a task whose
            robot Playground would have to download first.
    """

    task: str = "CartpoleBalance"
    impl: str = "jax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in registry.ALL_ENVS:
            raise UserError(
                f"{unknown_name('task of MuJoCo Playground', self.task, registry.ALL_ENVS)} "
                f"(all tasks: {', '.join(registry.ALL_ENVS)})"
            )
        check_choice("impl", self.impl, ("jax", "warp"), show=str)
        taken(self.impl)
        if self.task not in dm_control_suite.ALL_ENVS and not mjx_env.MENAGERIE_PATH.exists():
            raise UserError(
                f"{self.task} needs the robots of MuJoCo Menagerie, which are not in {mjx_env.MENAGERIE_PATH}; "
                "Playground downloads them from GitHub when told to: python -c 'from mujoco_playground._src "
                "import mjx_env; mjx_env.ensure_menagerie_exists()'"
            )

    @property
    def library(self) -> Any:
        """Playground's environment without wrappers."""
        return _made(self.task, self.impl, jnp.result_type(float) == jnp.float64)

    @property
    def host(self) -> mujoco.MjModel:
        """Playground's model."""
        return self.library.mj_model

    @property
    def time_limit(self) -> int:
        """The episode's length in Playground's configuration, control steps."""
        return int(registry.get_default_config(self.task).episode_length)

    @property
    def camera(self) -> int:  # type: ignore[override]
        """The model's first camera, where it has one."""
        return 0 if self.host.ncam else -1

    def _vectors(self, inner: Any) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return inner.data.qpos, inner.data.qvel

    def _looks(self, inner: Any) -> dict[str, Array]:
        return {"mocap_pos": inner.data.mocap_pos, "mocap_quat": inner.data.mocap_quat}

    def _placed(self, inner: Any, qpos: Float[Array, " nq"], qvel: Float[Array, " nv"]) -> Any:
        observe = getattr(self.library, "_get_obs", None)
        if observe is None or len(inspect.signature(observe).parameters) != 2:
            raise UserError(f"{self.task} observes more than the present, so its state cannot be set")
        data = mjx.forward(self.library.mjx_model, inner.data.replace(qpos=qpos, qvel=qvel))
        nothing = jnp.zeros((), inner.reward.dtype)
        return inner.replace(data=data, obs=observe(data, dict(inner.info)), reward=nothing, done=nothing)


@functools.lru_cache(maxsize=16)
def _made(task: str, impl: str, x64: bool) -> Any:
    """An environment of Playground; `x64` only keeps the models of the two precisions apart."""
    check_process()
    with quietly(), model_loading(), jax.ensure_compile_time_eval():
        return registry.load(task, config_overrides={"impl": impl})
