"""What the robots of other libraries share: a state vector of positions and velocities, goals, limits, pictures."""

import abc
import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.adapters.third_party import leniently, like, settled
from envs_mjx.core import Env, State

_BROKEN = 1e10
"""Size of a position or velocity at which MuJoCo calls its physics diverged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobotTask(Env):
    """A task of a library whose states follow from MuJoCo's positions and velocities.

    Observations, rewards and ends of episodes are the library's. Its own state is `State.physics`, its metrics are in
    `info`. The state vector (`info["state"]`, `set_state`, the goal) is `qpos` and `qvel`; `info["return"]` is the
    reward of the episode so far, which stands still once the episode has ended. There are no factors of variation.

    Physics that diverges stays at the last good state, is truncated, and sets `info["diverged"]`. Until a goal is set
    (it is NaN before), `planning_cost` is the negative return; then, the squared difference of the state vectors.

    Args:
        resolution: height and width of the picture, px.

    Raises:
        ValueError: an argument is unknown.
    """

    resolution: int = 224

    option_names = ("state", "goal_state")
    ends_in_success = False

    camera: ClassVar[int] = 0
    """Number of the camera that renders; -1 for a free one that sees the whole model."""

    def __post_init__(self) -> None:
        if not isinstance(self.resolution, int) or isinstance(self.resolution, bool) or self.resolution < 8:
            raise ValueError(f"resolution must be a whole number of at least 8 px, got {self.resolution!r}")

    @property
    @abc.abstractmethod
    def library(self) -> Any:
        """The library's own environment, made once per configuration and precision."""

    @property
    @abc.abstractmethod
    def host(self) -> mujoco.MjModel:
        """The model that is drawn, whose positions and velocities are those of the state vector."""

    @property
    @abc.abstractmethod
    def time_limit(self) -> int:
        """Steps after which the episode is truncated."""

    @abc.abstractmethod
    def _vectors(self, inner: Any) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        """Positions and velocities of a state of the library."""

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
        shapes = jax.eval_shape(leniently(self.library.reset), jax.random.key(0))
        return tuple((name, tuple(leaf.shape)) for name, leaf in _observations(shapes.obs).items())

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Empty."""
        return spaces.Dict({})

    @property
    def default_variation(self) -> tuple[str, ...]:
        """None."""
        return ()

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        start_key, key = jax.random.split(key)
        inner = settled(leniently(self.library.reset)(start_key))
        if "state" in options:
            inner = self._moved(inner, self._vector(options["state"], "state"))
        goal = self._vector(options.get("goal_state", jnp.full((self._state_size,), jnp.nan)), "goal_state")
        return self._resting(inner, goal, factors, key, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.result_type(float)))

    def _advance(self, state: State, action: Float[Array, " nu"]) -> State:
        before = state.physics
        # The library writes into the dictionaries of its states.
        copied = jax.tree.map(lambda leaf: leaf, before)
        action = action.astype(self._vectors(before)[0].dtype)
        after = like(leniently(self.library.step)(copied, action), before)
        good = _sound((*self._vectors(after), after.obs, after.reward))
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
            info=self._info(inner, state.info["return"] + jnp.where(over, 0.0, reward), ~good),
        )

    def render(self, state: State) -> UInt8[Array, "height width 3"]:
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

    def set_state(self, state: State, value: Float[Array, " S"]) -> State:
        """Move to positions and velocities; targets, goal, return and counters stay."""
        inner = self._moved(state.physics, self._vector(value, "state"))
        moved = self._resting(inner, state.goal, state.factors, state.key, state.step, state.info["return"])
        return moved.replace(info=moved.info | {"invalid_action": jnp.asarray(False)})

    def set_goal(self, state: State, goal: Float[Array, " S"]) -> State:
        """Make positions and velocities the goal of `distance` and `planning_cost`; the library knows nothing of it."""
        return state.replace(goal=self._vector(goal, "goal_state"))

    def goal_from(self, state: State) -> Float[Array, " S"]:
        """The goal that a state reaches: its positions and velocities."""
        return jnp.concatenate(self._vectors(state.physics)).astype(jnp.result_type(float))

    def distance(self, state: State) -> Float[Array, ""]:
        """Length of the difference of positions from the goal, m and rad, angles wrapped; NaN without a goal."""
        squares = (self._away(state)[: self.host.nq] ** 2).sum()
        positive = squares != 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared difference from the goal, of velocities a hundredth; without a goal, the negative return."""
        nq = self.host.nq
        given = ~jnp.isnan(state.goal).any()
        away = self._away(state.replace(goal=jnp.where(given, state.goal, 0.0)))
        return jnp.where(given, (away[:nq] ** 2).sum() + 0.01 * (away[nq:] ** 2).sum(), -state.info["return"])

    def weak_action(self, key: Key[Array, ""], state: State) -> Float[Array, " nu"]:
        """A uniformly random action."""
        return jax.random.uniform(key, self.action_space.shape, jnp.float32, -1.0, 1.0)

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
            raise ValueError(
                f"{name} must have {self._state_size} entries ({self.host.nq} positions, {self.host.nv} velocities), "
                f"got the shape {value.shape}"
            )
        return value

    def _moved(self, inner: Any, vector: Float[Array, " S"]) -> Any:
        qpos, qvel = self._vectors(inner)
        place = leniently(self._placed)
        return like(place(inner, vector[: qpos.size].astype(qpos.dtype), vector[qpos.size :].astype(qvel.dtype)), inner)

    def _info(self, inner: Any, total: Float[Array, ""], diverged: Bool[Array, ""]) -> dict[str, Array]:
        vector = jnp.concatenate(self._vectors(inner)).astype(jnp.result_type(float))
        return inner.metrics | {"state": vector, "return": total, "diverged": diverged}

    def _resting(
        self,
        inner: Any,
        goal: Float[Array, " S"],
        factors: dict[str, Array],
        key: Array,
        step: Array,
        total: Float[Array, ""],
    ) -> State:
        """A state that nothing has led to."""
        return State(
            physics=inner,
            obs=_observations(inner.obs),
            reward=jnp.zeros((), jnp.result_type(float)),
            terminated=jnp.asarray(False),
            truncated=step >= self.time_limit,
            info=self._info(inner, total, jnp.asarray(False)),
            goal=goal,
            factors=factors,
            key=key,
            step=step,
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


def _observations(obs: Any) -> dict[str, Any]:
    return dict(obs) if isinstance(obs, Mapping) else {"observation": obs}


def _sound(tree: Any) -> Bool[Array, ""]:
    """Whether nothing is NaN, infinite, or so large that the physics has diverged."""
    return jnp.stack([(jnp.abs(leaf) < _BROKEN).all() for leaf in jax.tree.leaves(tree)]).all()
