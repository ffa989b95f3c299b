"""The contract of every environment: a frozen `Env` whose methods are pure functions of a `State`."""

import abc
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, final

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.arguments import check_key, check_single, checked_action, valid_action
from envs_mjx.checks import UserError, check_name
from envs_mjx.processes import check_process
from envs_mjx.state import CHANGING, State, choose
from envs_mjx.state_bounds import StateBounds, check_vectors, is_traced, traced_vector, unbounded


@dataclass(frozen=True)
class Env(abc.ABC):
    """A functional environment.

    Subclasses are frozen dataclasses that hold hyperparameters only; they are hashable and therefore static under
    `jit`. All methods are pure and work under `jit`, `vmap` and `scan`; called as they are, they run the programs of
    `envs_mjx.programs`. A subclass writes `_start`, `_advance`, `_render`, `_set_physics` and `_observed`; the methods
    around them draw the factors, check the arguments and keep the books. `state_bounds` says which states can be.

    Where there are goals, it also writes `_set_goal`, `goal_from`, `distance` and `planning_cost`. Where there are
    none, whoever asks for them is told so.

    Attributes:
        option_names: what `reset` understands in `options`.
    """

    option_names: ClassVar[tuple[str, ...]] = ()

    @property
    @abc.abstractmethod
    def action_space(self) -> gymnasium.Space:
        """Space of one action."""

    @property
    @abc.abstractmethod
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Space of `State.obs`."""

    @property
    @abc.abstractmethod
    def variation_space(self) -> spaces.Dict:
        """Factors of variation with their bounds, defaults and sampling order."""

    @property
    @abc.abstractmethod
    def default_variation(self) -> tuple[str, ...]:
        """Names of the factors that `reset` samples when it is not told which."""

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """Names of the factors that do nothing here whatever the others are; the class's docstring says why."""
        return ()

    @property
    def has_success(self) -> bool:
        """Whether episodes may be counted as solved or not; False where only rewards tell how well one went."""
        return True

    @property
    def reaches_goals(self) -> bool:
        """Whether `success` means that the goal of `set_goal` is reached; False where it means something else."""
        return self.has_success

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a run should tell its user about this environment on this machine."""
        return ()

    @property
    def rollout_bytes(self) -> int:
        """Memory that `rollout` takes for each of its steps, beside what is kept; 0 where it goes step by step."""
        return 0

    def check_reset(
        self,
        variation: Sequence[str] | None = None,
        values: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse arguments of `reset` that this environment cannot serve.

        Raises:
            UserError: names the factor or option and what is allowed; see `check_state` for vectors.
        """
        options = _given(options)
        for name, value in options.items():
            check_name(f"option of {type(self).__name__}.reset", name, self.option_names)
            self.check_state(value, name)
        space = self.variation_space
        given = space.as_factors(values or {})
        sampled = set(space.select(self.default_variation if variation is None else variation)) - set(given)
        self._check_start(sampled, given, options)

    def state_bounds(self, size: int) -> StateBounds:
        """Bounds of the state and goal vectors of this size: where an episode can be put, or aim.

        They are those of the arena, the observations or the joints, with a margin for what starts and steps exceed
        them by. Without an override, and for sizes that the environment has no vectors of, all finite numbers are
        allowed.

        Args:
            size: entries of the vector.
        """
        return unbounded(size)

    @final
    def check_state(self, value: Any, name: str = "state") -> None:
        """Refuse a state or goal vector that cannot be: not finite, or outside `state_bounds`.

        `reset`, `set_state` and `set_goal` ask it. Traced values are let pass; they set `info["invalid_state"]`.

        Args:
            value: vector [S], or a batch of them [n, S]; anything else that may be given needs to be finite.
            name: what the message calls it.

        Raises:
            UserError: names the row of a batch, the entry, its value and what is allowed.
        """
        check_vectors(name, value, self.state_bounds)

    @final
    def reset(
        self,
        key: Key[Array, ""],
        *,
        variation: Sequence[str] | None = None,
        values: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> State:
        """Start an episode; a function of its arguments alone.

        Args:
            key: typed random key.
            variation: dotted names of factors or groups to sample, `("all",)` for every factor, `()` for none;
                `default_variation` when None. The other factors take their initial values.
            values: explicit factor values by dotted name; they win over sampled ones.
            options: what else the environment understands, see `option_names`; None values count as absent. A traced
                one that cannot be sets `info["invalid_state"]`; if it is not finite, a state that can be stands in.

        Returns:
            The first state, with step 0 and reward 0.

        Raises:
            UserError: unknown factor or option name, or a concrete value outside its space or `state_bounds`.
        """
        check_process()
        check_key(key, "reset", "jax.vmap(env.reset) takes a batch")
        self.check_reset(variation, values, options)
        names = None if variation is None else tuple(variation)
        given = self.variation_space.as_factors(values or {})
        state = programs.reset(self, key, names, given, _given(options))
        self._check_factors(state.factors, given)
        return state

    def _reset(
        self, key: Array, variation: tuple[str, ...] | None, values: Mapping[str, Any], options: Mapping[str, Any]
    ) -> State:
        """`reset` with arguments that `check_reset` lets pass."""
        draw_key, key = jax.random.split(key)
        names = self.default_variation if variation is None else variation
        entered = {name: traced_vector(value, self.state_bounds) for name, value in options.items()}
        options = {name: value for name, (value, _, _) in entered.items()}
        state = self._start(key, self.variation_space.draw(draw_key, names, values), options)
        invalid = jnp.asarray(False)
        for _, _, possible in entered.values():
            invalid |= ~possible
        return state.replace(info=state.info | {"invalid_action": jnp.asarray(False), "invalid_state": invalid})

    def _first_state(
        self,
        physics: Any,
        goal: Any,
        factors: dict[str, Array],
        key: Array,
        dtype: jax.typing.DTypeLike,
        info: Mapping[str, Array] | None = None,
    ) -> State:
        """A first state: whatever follows from the physics, and for the rest nothing yet.

        Args:
            physics: where the episode starts.
            goal: the goal.
            factors: value of every factor.
            key: source of the episode's randomness.
            dtype: of rewards.
            info: entries of `State.info` that do not follow from the physics.
        """
        return self._rested(
            State(
                physics=physics,
                obs={},
                reward=jnp.zeros((), dtype),
                success=jnp.asarray(False),
                terminated=jnp.asarray(False),
                truncated=jnp.asarray(False),
                info=dict(info or {}),
                goal=goal,
                factors=factors,
                key=key,
                step=jnp.zeros((), jnp.int32),
            )
        )

    def _rested(self, state: State) -> State:
        """A state to whose physics no step has led: the reward is 0, everything else follows from the physics."""
        no = jnp.asarray(False)
        reward = jnp.zeros_like(state.reward)
        return self._observed(state.replace(reward=reward, success=no, terminated=no, truncated=no))

    @final
    def step(self, state: State, action: Any) -> State:
        """Advance by one control step.

        Args:
            state: the state before.
            action: of the shape of `action_space` (a dict for a `Dict` space), whole numbers for a discrete one. An
                action that is not finite, or not in a discrete space, changes nothing but the step counter: the reward
                is 0 and `info["invalid_action"]` is set.

        Returns:
            The state after.

        Raises:
            UserError: another shape or kind of number.
        """
        check_process()
        check_single(state, "step")
        action = checked_action(action, self.action_space)
        return programs.step(self, state, action)

    def _step(self, state: State, action: Any) -> State:
        """`step` as it is traced."""
        return self._guarded(state, action, self._advance)

    def _guarded(self, state: State, action: Any, advance: Callable[[State, Any], State]) -> State:
        """The state that `advance` leads to from an action that is checked."""
        action = checked_action(action, self.action_space)
        valid = valid_action(action, self.action_space)
        safe = jax.tree.map(lambda leaf: jnp.where(valid, leaf, jnp.zeros_like(leaf)), action)
        after = advance(state, safe)
        after = after.replace(info=state.info | after.info)
        after = choose(valid, after, state.replace(reward=jnp.zeros_like(after.reward)))
        flags = {"invalid_action": ~valid, "invalid_state": state.info["invalid_state"]}
        return after.replace(info=after.info | flags)

    def _step_batch(self, states: State, actions: Any) -> State:
        """One step of B environments."""
        return jax.vmap(self._step)(states, actions)

    @final
    def rollout(self, state: State, actions: Any, keep: Callable[[State], Any] | None = None) -> tuple[State, Any]:
        """Apply H actions, one after the other.

        Args:
            state: the state before.
            actions: what `step` takes, every array with a leading axis of H.
            keep: what to keep of the state after each action, a pytree; the whole state if None.

        Returns:
            The last state, and what was kept, every array with a leading axis of H.
        """
        check_process()
        check_single(state, "rollout")
        if keep is None:
            return programs.rollout(self, state, actions)
        return self._rollout(state, actions, keep)

    def _rollout(self, state: State, actions: Any, keep: Callable[[State], Any]) -> tuple[State, Any]:
        """`rollout` as it is traced."""

        def advance(before: State, action: Any) -> tuple[State, Any]:
            after = self._step(before, action)
            return after, keep(after)

        return jax.lax.scan(advance, state, actions)

    @final
    def set_state(self, state: State, value: Any) -> State:
        """Move the environment to a recorded state vector; goal, factors, key and step counter stay.

        Args:
            state: what stays is taken from it.
            value: as in `info["state"]`; see the class for what else it may be. A traced one that cannot be sets
                `info["invalid_state"]`; if it is not finite, nothing else changes.

        Returns:
            The state there, with the reward 0.

        Raises:
            UserError: another shape, or a state that cannot be, see `check_state`.
        """
        check_process()
        check_single(state, "set_state")
        self.check_state(value)
        return programs.set_state(self, state, value)

    def _set_state(self, state: State, value: Any) -> State:
        """`set_state` as it is traced."""
        value, finite, possible = traced_vector(value, self.state_bounds)
        moved = choose(finite, self._rested(self._set_physics(state, value)), state)
        flags = {"invalid_action": jnp.asarray(False), "invalid_state": state.info["invalid_state"] | ~possible}
        return moved.replace(info=moved.info | flags)

    def _check_start(  # noqa: B027
        self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]
    ) -> None:
        """Refuse factors, sampled ones by name and given ones, and options that cannot start an episode together."""

    def _check_factors(self, factors: Mapping[str, Array], given: Mapping[str, Array]) -> None:  # noqa: B027
        """Refuse explicit factors that contradict each other; traced ones are not looked at."""

    @abc.abstractmethod
    def _start(self, key: Array, factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        """The first state of an episode with these factors; `options` are known and not None."""

    @abc.abstractmethod
    def _advance(self, state: State, action: Any) -> State:
        """The state after an action that is known to be good; `step` is counted here, goal, factors and key stay."""

    @abc.abstractmethod
    def _set_physics(self, state: State, value: Any) -> State:
        """The state with the physics of a state vector, and those entries of `info` that `_observed` does not make."""

    @abc.abstractmethod
    def _observed(self, state: State) -> State:
        """The state with what follows from its physics, goal, factors and step.

        That is `obs`, `success`, `terminated`, `truncated` and entries of `info`; others stay.
        """

    @final
    def render(self, state: State) -> UInt8[Array, "height width 3"]:
        """Image of the state, RGB, 0 to 255."""
        check_process()
        check_single(state, "render")
        return programs.render(self, state)

    @abc.abstractmethod
    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The image."""

    @final
    def set_goal(self, state: State, goal: Any) -> State:
        """Replace the goal; physics, factors and the reward of the last step stay.

        Args:
            state: what stays is taken from it.
            goal: as `goal_from` gives it; see the class for what else it may be. A traced one that cannot be sets
                `info["invalid_state"]`; if it is not finite, nothing else changes.

        Returns:
            The state with that goal.

        Raises:
            UserError: another shape, a goal that cannot be, see `check_state`, or an environment without goals.
        """
        check_single(state, "set_goal")
        return self._entered("goal_state", self._set_goal, state, goal)

    def _entered(self, name: str, change: Callable[[State, Any], State], state: State, value: Any) -> State:
        """A state into which `change` enters a value: if it is known it is checked, and else a bad one is flagged."""
        self.check_state(value, name)
        if not is_traced(value):
            return change(state, value)
        value, finite, possible = traced_vector(value, self.state_bounds)
        after = choose(finite, change(state, value), state, (*CHANGING, "goal"))
        return after.replace(info=after.info | {"invalid_state": state.info["invalid_state"] | ~possible})

    def _set_goal(self, state: State, goal: Any) -> State:
        """`set_goal` with a goal that is known to be good."""
        raise self._no_goals()

    def goal_from(self, state: State) -> Array:
        """The goal that a state reaches, as `set_goal` takes it."""
        raise self._no_goals()

    def distance(self, state: State) -> Float[Array, ""]:
        """Distance from the goal in the environment's own unit (px for 2-D environments)."""
        raise self._no_goals()

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """What a planner through the environment's physics should minimise; with goals, 0 exactly at the goal."""
        raise self._no_goals()

    def _no_goals(self) -> UserError:
        return UserError(f"{type(self).__name__} has no goals, only rewards")

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Any:
        """An action of the behaviour policy, with which reachable goals are made: by default a uniformly random one."""
        space = self.action_space
        if isinstance(space, gymnasium.spaces.Discrete):
            return jax.random.randint(key, (), int(space.start), int(space.start + space.n))
        if isinstance(space, gymnasium.spaces.Box):
            return jax.random.uniform(key, space.shape, jnp.float32, space.low, space.high)
        raise UserError(f"{type(self).__name__} has no behaviour policy for its actions {space}")

    def expert_action(self, key: Key[Array, ""], state: State) -> Any:
        """An action of a policy that solves the task, written by hand.

        Raises:
            UserError: The environment has none.
        """
        raise UserError(f"{type(self).__name__} has no expert that is written by hand")


def _given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of a reset without absent ones."""
    return {name: value for name, value in (options or {}).items() if value is not None}


# The programs know what an environment is, so they come last.
from envs_mjx import programs  # noqa: E402
