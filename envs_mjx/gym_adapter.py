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
from envs_mjx.arguments import checked_action
from envs_mjx.checks import UserError, check_choice, check_whole
from envs_mjx.core import Env
from envs_mjx.processes import check_process
from envs_mjx.state import State
from envs_mjx.wrappers import AutoReset, TimeLimit
from envs_mjx.wrappers.auto_reset import NOTES

METADATA = {"render_modes": ["rgb_array"], "render_fps": 10}


class GymnasiumEnv(gymnasium.Env):
    """One environment behind Gymnasium's interface; states stay on the device, NumPy comes out.

    `reset(seed, options)` understands `variation` (names of factors to sample) and `variation_values` (explicit
    values); all other options go to the functional environment. The same seed gives the same episode, and every whole
    number of at least 0 is a seed of its own.
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

    def reset(
        self, *, seed: int | np.integer | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        check_process()
        seed = _checked_seed(seed)
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._state = programs.reset(self.env, _key(seed), *_reset_arguments(self.env, options))
        for name, value in jax.device_get(self._state.factors).items():
            factor = self.variation_space.factor(name)
            factor.value = np.asarray(value, factor.dtype)
        return _observation(self._state, self.observation_space), jax.device_get(self._state.info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        check_process()
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
        check_process()
        return None if self.render_mode is None else np.asarray(programs.render(self.env, self.state))


class GymnasiumVectorEnv(gymnasium.vector.VectorEnv):
    """A batch of one environment, stepped by one compiled call.

    Environment `i` of `reset(seed=s)` is the single environment of seed `s + i`; a list has a seed for each, where None
    stands for a random one. Options of `reset` hold for all environments until one restarts by itself, and
    `options["reset_mask"]`, an array of truth values, says which are reset.

    Args:
        env_id: the environment.
        num_envs: how many.
        render_mode: None or `rgb_array`.
        max_episode_steps: steps after which episodes are truncated.
        autoreset_mode: Gymnasium's: an ended episode restarts at the next step (`NextStep`), at once (`SameStep`, with
            `final_obs` and `final_info` in `info`), or when the user resets it (`Disabled`).
        **kwargs: arguments of the environment.

    Raises:
        UserError: an argument of another kind or value.
    """

    metadata = METADATA | {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **kwargs: Any,
    ) -> None:
        check_whole("num_envs", num_envs, 1)
        mode = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
        check_choice("autoreset_mode", mode, [known.value for known in AutoresetMode])
        self.env = registry.make(env_id, **kwargs)
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(mode)
        self.metadata = METADATA | {"autoreset_mode": self.autoreset_mode}
        self.render_mode = _checked_render_mode(render_mode)
        self.single_action_space = self.env.action_space
        self.single_observation_space = self.env.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.variation_space = self.env.variation_space
        limited = self.env if max_episode_steps is None else TimeLimit(self.env, max_episode_steps)
        modes = {AutoresetMode.NEXT_STEP: "next_step", AutoresetMode.SAME_STEP: "same_step"}
        automatic = self.autoreset_mode in modes
        self._batched = AutoReset(limited, mode=modes[self.autoreset_mode]) if automatic else limited
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The functional states, batched; RuntimeError before the first reset."""
        if self._state is None:
            raise RuntimeError("reset the environments first")
        return self._state

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | np.integer | Sequence[int | np.integer | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        check_process()
        options = dict(options or {})
        mask = self._checked_mask(options.pop("reset_mask", None))
        keys = jnp.stack([_key(one) for one in self._seeds(seed)])
        fresh = programs.reset_batch(self._batched, keys, *_reset_arguments(self.env, options))
        self._state = fresh if mask is None else programs.choose_rows(jnp.asarray(mask), fresh, self.state)
        return _observation(self._state, self.observation_space), _info(self._state)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:  # type: ignore[override]
        check_process()
        actions = _checked_action(actions, self.action_space)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            self._refuse_ended()
        self._state = state = programs.step_batch(self._batched, self.state, actions)
        observation = _observation(state, self.observation_space)
        terminated, truncated = np.array(state.terminated), np.array(state.truncated)
        info = _info(state)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            info |= self._final(state)
        return observation, np.asarray(state.reward, np.float64), terminated, truncated, info

    def _seeds(self, seed: int | np.integer | Sequence[int | np.integer | None] | np.ndarray | None) -> list[int]:
        """A seed for each environment; drawn where there is none."""
        if seed is None or isinstance(seed, int | np.integer):
            first = _checked_seed(seed)
            super().reset(seed=first)
            first = int(self.np_random.integers(2**31)) if first is None else first
            return [first + index for index in range(self.num_envs)]
        seeds = list(seed) if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str) else []
        if len(seeds) != self.num_envs:
            raise UserError(f"seed must be one int or a list of {self.num_envs}, not {seed!r}")
        checked = [_checked_seed(one) for one in seeds]
        return [int(self.np_random.integers(2**31)) if one is None else one for one in checked]

    def _checked_mask(self, mask: Any) -> np.ndarray | None:
        """Which environments to reset; None for all."""
        if mask is None:
            return None
        if np.shape(mask) != (self.num_envs,) or np.asarray(mask).dtype != np.bool_ or not np.any(mask):
            raise UserError(
                f"options['reset_mask'] must be an array of {self.num_envs} truth values, not all of them false, "
                f"got {mask!r}"
            )
        return np.asarray(mask)

    def _refuse_ended(self) -> None:
        ended = np.asarray(self.state.terminated | self.state.truncated)
        if ended.any():
            raise UserError(
                f"the episodes of environments {np.flatnonzero(ended).tolist()} have ended, and with "
                "autoreset_mode='Disabled' they are yours to reset: reset(options={'reset_mask': ...})"
            )

    def _final(self, state: State) -> dict[str, Any]:
        """What Gymnasium tells of episodes that ended at this step, with masks; nothing where none has."""
        ended = np.asarray(state.info["restarted"])
        if not ended.any():
            return {}
        seen = _observation(state.replace(obs=state.info["final_obs"]), self.observation_space)
        final = np.full(self.num_envs, None, object)
        for index in np.flatnonzero(ended):
            final[index] = {name: values[index] for name, values in seen.items()}
        told = jax.device_get(state.info["final_info"])
        told |= {f"_{name}": ended.copy() for name in told}
        return {"final_obs": final, "_final_obs": ended.copy(), "final_info": told, "_final_info": ended.copy()}

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        check_process()
        return None if self.render_mode is None else tuple(np.asarray(programs.render_batch(self.env, self.state)))


def _checked_seed(seed: Any) -> int | None:
    """A seed as Python's integer."""
    if seed is None:
        return None
    check_whole("seed", seed, 0)
    return int(seed)


def _key(seed: int) -> Array:
    """The key of a seed; JAX by itself forgets what of a seed is beyond 32 bits."""
    high, low = divmod(seed, 2**32)
    key = jax.random.key(low)
    while high:
        high, part = divmod(high, 2**32)
        key = jax.random.fold_in(key, np.uint32(part))
    return key


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
    """What the environment tells, without the wrapper's notes."""
    return {name: value for name, value in jax.device_get(state.info).items() if name not in NOTES}
