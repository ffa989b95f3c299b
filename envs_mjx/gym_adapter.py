"""Gymnasium faces of the functional environments: one environment, or a batch as one compiled call."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Array

from envs_mjx import programs, registry
from envs_mjx.checks import UserError
from envs_mjx.core import Env, State, checked_action
from envs_mjx.wrappers import AutoReset, TimeLimit

METADATA = {"render_modes": ["rgb_array"], "render_fps": 10}


class GymnasiumEnv(gymnasium.Env):
    """One environment behind Gymnasium's interface; states stay on the device, NumPy comes out.

    `reset(seed, options)` understands `variation` (names of factors to sample) and `variation_values` (explicit
    values); all other options go to the functional environment. The same seed gives the same episode.
    """

    metadata = METADATA

    def __init__(self, env_id: str, render_mode: str | None = None, **kwargs: Any) -> None:
        self.env = registry.make(env_id, **kwargs)
        self.render_mode = _checked_render_mode(render_mode)
        self.action_space = self.env.action_space
        self.observation_space = self.env.observation_space
        self.variation_space = self.env.variation_space
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The functional state; RuntimeError before the first reset."""
        if self._state is None:
            raise RuntimeError("reset the environment first")
        return self._state

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._state = programs.reset(self.env, jax.random.key(seed), *_reset_arguments(self.env, options))
        for name, value in jax.device_get(self._state.factors).items():
            factor = self.variation_space.factor(name)
            factor.value = np.asarray(value, factor.dtype)
        return _observation(self._state, self.observation_space), jax.device_get(self._state.info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._state = state = programs.step(self.env, self.state, _checked_action(action, self.action_space))
        observation = _observation(state, self.observation_space)
        return (
            observation,
            float(state.reward),
            bool(state.terminated),
            bool(state.truncated),
            jax.device_get(state.info),
        )

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        return None if self.render_mode is None else np.asarray(programs.render(self.env, self.state))


class GymnasiumVectorEnv(gymnasium.vector.VectorEnv):
    """A batch of one environment, stepped by one compiled call; an ended episode restarts at the next step.

    Environment `i` of `reset(seed=s)` is the single environment of seed `s + i`. Options of `reset` hold for all
    environments until the next one restarts by itself.
    """

    metadata = METADATA | {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.env = registry.make(env_id, **kwargs)
        self.num_envs = num_envs
        self.render_mode = _checked_render_mode(render_mode)
        self.single_action_space = self.env.action_space
        self.single_observation_space = self.env.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.variation_space = self.env.variation_space
        limited = self.env if max_episode_steps is None else TimeLimit(self.env, max_episode_steps)
        self._batched = AutoReset(limited, mode="next_step")
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The functional states, batched; RuntimeError before the first reset."""
        if self._state is None:
            raise RuntimeError("reset the environments first")
        return self._state

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        seeds = np.arange(seed, seed + self.num_envs) if isinstance(seed, int) else np.asarray(seed)
        if seeds.shape != (self.num_envs,):
            raise UserError(f"seed must be one int or {self.num_envs} of them, not {seed!r}")
        keys = jnp.stack([jax.random.key(int(one)) for one in seeds])
        self._state = programs.reset_batch(self._batched, keys, *_reset_arguments(self.env, options))
        return _observation(self._state, self.observation_space), _info(self._state)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:  # type: ignore[override]
        actions = _checked_action(actions, self.action_space)
        self._state = state = programs.step_batch(self._batched, self.state, actions)
        observation = _observation(state, self.observation_space)
        terminated, truncated = np.array(state.terminated), np.array(state.truncated)
        return observation, np.asarray(state.reward, np.float64), terminated, truncated, _info(state)

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        return None if self.render_mode is None else tuple(np.asarray(programs.render_batch(self.env, self.state)))


def _reset_arguments(
    env: Env, options: Mapping[str, Any] | None
) -> tuple[tuple[str, ...] | None, dict[str, Array], dict[str, Array]]:
    """Gymnasium's reset options as variation (static), values and remaining options (traced), checked."""
    rest = dict(options or {})
    variation = rest.pop("variation", None)
    if variation is not None:
        env.variation_space.select(variation)
        variation = tuple(variation)
    values = env.variation_space.as_factors(rest.pop("variation_values", None) or {})
    options = {name: value for name, value in rest.items() if value is not None}
    env.check_reset(variation, values, options)
    return variation, values, {name: jnp.asarray(value) for name, value in options.items()}


def _checked_action(action: Any, space: gymnasium.Space) -> Any:
    """Actions as arrays of the space's dtypes; whole numbers may stand for floating point ones."""

    def cast(leaf: Any, part: gymnasium.Space) -> np.ndarray:
        leaf = np.asarray(leaf)
        assert part.dtype is not None
        return leaf.astype(part.dtype) if np.can_cast(leaf.dtype, part.dtype, "same_kind") else leaf

    if isinstance(space, gymnasium.spaces.Dict) and isinstance(action, Mapping):
        action = {name: cast(leaf, space[name]) if name in space.spaces else leaf for name, leaf in action.items()}
    elif not isinstance(space, gymnasium.spaces.Dict):
        action = cast(action, space)
    return checked_action(action, space)


def _checked_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, *METADATA["render_modes"]):  # type: ignore[misc]
        raise UserError(f"render_mode must be None or 'rgb_array', not {render_mode!r}")
    return render_mode


def _observation(state: State, space: gymnasium.Space) -> Any:
    """Observations as NumPy arrays of the space's dtypes."""
    assert isinstance(space, gymnasium.spaces.Dict)
    host = jax.device_get(state.obs)
    return {name: np.asarray(host[name], part.dtype) for name, part in space.spaces.items()}


def _info(state: State) -> dict[str, Any]:
    """What the environment tells, without the wrapper's note of which episodes are new."""
    return {name: value for name, value in jax.device_get(state.info).items() if name != "restarted"}
