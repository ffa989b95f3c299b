"""Brax's robots with the rewards of Gymnasium's MuJoCo tasks, `brax/...-v1`.

Swimmer is left out: Brax 0.14.2 asks it of JAX in a way that JAX 0.10 no longer understands.
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from envs_mjx.adapters.robot import RobotTask, model_loading
from envs_mjx.adapters.third_party import quietly

with quietly():
    from brax import envs

BACKENDS = ("generalized", "positional", "spring", "mjx")


@dataclass(frozen=True)
class BraxTask(RobotTask):
    """A task of Brax.

    One step is one of Brax's. Brax itself never ends an episode by time and starts no new one; this one is truncated
    after 1,000 steps, the field's habit. `terminated` is Brax's `done`: the robot fell or lost its balance.

    Args:
        backend: Brax's physics: `generalized` (joint coordinates), `positional` (position-based dynamics), `spring`
            (springs at the joints, the cheapest) or `mjx`. They move differently, and are scaled differently by Brax.

    Raises:
        ValueError: another backend.
    """

    backend: str = "generalized"

    name: ClassVar[str]
    """Brax's name of the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}")

    @property
    def library(self) -> Any:
        """Brax's environment without wrappers."""
        return _made(self.name, self.backend, jnp.result_type(float) == jnp.float64)

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


class Ant(BraxTask):
    """Make a four-legged ant run forwards."""

    name = "ant"


class HalfCheetah(BraxTask):
    """Make a planar two-legged cheetah run forwards."""

    name = "halfcheetah"


class Hopper(BraxTask):
    """Make a planar leg hop forwards without falling."""

    name = "hopper"


class Humanoid(BraxTask):
    """Make a humanoid walk forwards without falling."""

    name = "humanoid"


class HumanoidStandup(BraxTask):
    """Make a lying humanoid stand up."""

    name = "humanoidstandup"


class InvertedDoublePendulum(BraxTask):
    """Balance two poles in a row on a cart."""

    name = "inverted_double_pendulum"


class InvertedPendulum(BraxTask):
    """Balance a pole on a cart."""

    name = "inverted_pendulum"


class Pusher(BraxTask):
    """Push a cylinder to a goal with a robot arm of seven joints."""

    name = "pusher"


class Reacher(BraxTask):
    """Reach a random target with a planar arm of two joints."""

    name = "reacher"


class Walker2d(BraxTask):
    """Make two planar legs walk forwards without falling."""

    name = "walker2d"


@functools.lru_cache(maxsize=16)
def _made(name: str, backend: str, x64: bool) -> envs.PipelineEnv:
    """An environment of Brax; `x64` only keeps the models of the two precisions apart."""
    with quietly(), model_loading(), jax.ensure_compile_time_eval():
        return envs.get_environment(name, backend=backend)
