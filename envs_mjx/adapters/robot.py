"""What the robots of other libraries share: a state vector of positions and velocities, goals, limits, pictures."""

import abc
import contextlib
import copy
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.mujoco.ordered import ordered_factors
from envs_mjx.mujoco.state_vector import StateVectorEnv, sound
from envs_mjx.state import State
from envs_mjx.third_party import leniently, like, settled

_P = ParamSpec("_P")
_R = TypeVar("_R")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobotTask(StateVectorEnv):
    """A task of a library whose states follow from MuJoCo's positions and velocities.

    Observations, rewards and ends of episodes are the library's. Its own state is `State.physics`, its metrics are in
    `info`. The state vector (`info["state"]`, `set_state`, the goal) is `qpos` and `qvel`; `info["return"]` is the
    reward of the episode so far, which stands still once the episode has ended. There are no factors of variation.

    Physics that diverges stays at the last good state, is truncated, and sets `info["diverged"]`. Until a goal is set
    (it is NaN before), `planning_cost` is the negative return; then, the squared difference of the state vectors.

    Args:
        resolution: height and width of the picture, px.

    Raises:
        UserError: an argument is unknown.
    """

    option_names = ("state", "goal_state")

    @property
    def has_success(self) -> bool:
        """No: episodes end when the robot falls, or by time."""
        return False

    @property
    @abc.abstractmethod
    def library(self) -> Any:
        """The library's own environment, made once per configuration and precision."""

    @property
    @abc.abstractmethod
    def time_limit(self) -> int:
        """Steps after which the episode is truncated."""

    @abc.abstractmethod
    def _placed(self, inner: Any, qpos: Float[Array, " nq"], qvel: Float[Array, " nv"]) -> Any:
        """A state of the library moved to positions and velocities."""

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """As in the library, -1 to 1."""
        return gymnasium.spaces.Box(-1.0, 1.0, (self.library.action_size,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """The library's vector under `observation`, or its vectors under their own names."""
        return gymnasium.spaces.Dict(
            {name: gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32) for name, shape in self._shapes}
        )

    @cached_property
    def _shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        shapes = jax.eval_shape(_traced(self.library.reset), jax.random.key(0))
        return tuple((name, tuple(leaf.shape)) for name, leaf in _observations(shapes.obs).items())

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Empty."""
        return spaces.Dict({})

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        start_key, key = jax.random.split(key)
        inner = settled(_traced(self.library.reset)(start_key))
        if "state" in options:
            inner = self._moved(inner, self._vector(options["state"], "state"))
        dtype = jnp.result_type(float)
        return self._first_state(inner, self._goal(options), factors, key, dtype, {"return": jnp.zeros((), dtype)})

    def _advance(self, state: State, action: Float[Array, " nu"]) -> State:
        before = state.physics
        # The library writes into the dictionaries of its states.
        copied = jax.tree.map(lambda leaf: leaf, before)
        action = action.astype(self._vectors(before)[0].dtype)
        after = like(_traced(self.library.step)(copied, action), before)
        good = sound((*self._vectors(after), after.obs, after.reward))
        inner = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, before)
        reward = jnp.where(good, after.reward, 0.0).astype(state.reward.dtype)
        over = state.terminated | state.truncated
        step = state.step + 1
        return state.replace(
            physics=inner,
            reward=reward,
            terminated=state.terminated | (good & (after.done > 0)),
            truncated=(step >= self.time_limit) | ~good,
            step=step,
            obs=_observations(inner.obs),
            info=self._info(inner, ~good) | {"return": state.info["return"] + jnp.where(over, 0.0, reward)},
        )

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The picture of the model's first camera, or of a free one, drawn by MuJoCo on the host."""
        from envs_mjx.mujoco.render import rendered

        return rendered(self, self._vectors(state.physics)[0], self._looks(state.physics))

    def drawn_model(self) -> mujoco.MjModel:
        """The model that the renderer draws."""
        return copy.copy(self.host)

    def look(self, model: mujoco.MjModel, data: mujoco.MjData, looks: Mapping[str, Any]) -> tuple[int, ...]:
        """Put what is no joint to its place; see `_looks`."""
        for name, value in looks.items():
            getattr(data, name)[...] = value
        return ()

    def _looks(self, inner: Any) -> dict[str, Array]:
        """What a picture shows beside the positions, by the names that MuJoCo's data has for it."""
        return {}

    def _set_physics(self, state: State, value: Float[Array, " S"]) -> State:
        """Positions and velocities; targets stay."""
        return state.replace(physics=self._moved(state.physics, self._vector(value, "state")))

    def _set_goal(self, state: State, goal: Float[Array, " S"]) -> State:
        """Make positions and velocities the goal of `distance` and `planning_cost`; the library knows nothing of it."""
        return state.replace(goal=self._vector(goal, "goal_state"))

    def _cost_without_goal(self, state: State) -> Float[Array, ""]:
        """The negative return."""
        return -state.info["return"]

    def _moved(self, inner: Any, vector: Float[Array, " S"]) -> Any:
        qpos, qvel = self._vectors(inner)
        place = _traced(self._placed)
        return like(place(inner, vector[: qpos.size].astype(qpos.dtype), vector[qpos.size :].astype(qvel.dtype)), inner)

    def _info(self, inner: Any, diverged: Bool[Array, ""]) -> dict[str, Array]:
        vector = jnp.concatenate(self._vectors(inner)).astype(jnp.result_type(float))
        return inner.metrics | {"state": vector, "diverged": diverged}

    def _observed(self, state: State) -> State:
        return state.replace(
            obs=_observations(state.physics.obs),
            truncated=state.step >= self.time_limit,
            info=state.info | self._info(state.physics, jnp.asarray(False)),
        )


@contextlib.contextmanager
def model_loading() -> Iterator[None]:
    """Keep MuJoCo's remarks on the libraries' models off the terminal and out of a file in the working folder."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: _log.info("%s", message))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _traced(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A library's function that is traced as its authors meant it, but with factorisations one after the other."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with ordered_factors():
            return leniently(function)(*args, **kwargs)

    return call


def _observations(obs: Any) -> dict[str, Any]:
    return dict(obs) if isinstance(obs, Mapping) else {"observation": obs}
