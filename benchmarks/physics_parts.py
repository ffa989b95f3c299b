"""What `physics.py` builds its programs from: actions that are held, and several solvers in one program."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from envs_mjx.core import State
from envs_mjx.wrappers.base import Wrapper
from swmjax.planning import Plan, StepRecord
from swmjax.planning.population import PopulationSolver, finite_or_last


@dataclass(frozen=True)
class Held(Wrapper):
    """An environment that takes each action several times, so that planners search fewer numbers further ahead.

    Args:
        env: The environment.
        repeat: Environment steps per action; their rewards are added up.
    """

    repeat: int

    @property
    def rollout_bytes(self) -> int:
        """Those of all steps inside."""
        return self.repeat * self.env.rollout_bytes

    def _advance(self, state: State, action: Float[Array, " nu"]) -> State:
        return self._rollout(state, action[None], lambda state: state)[0]

    def _rollout(self, state: State, actions: Float[Array, "H nu"], keep: Callable[[State], Any]) -> tuple[State, Any]:
        """All steps of all actions in one rollout of the environment inside."""
        last, states = self.env._rollout(state, jnp.repeat(actions, self.repeat, axis=0), lambda state: state)
        held = jax.tree.map(lambda leaf: leaf.reshape(len(actions), self.repeat, *leaf.shape[1:]), states)
        rewards = held.reward.sum(1)
        ends = jax.tree.map(lambda leaf: leaf[:, -1], held).replace(reward=rewards)
        return last.replace(reward=rewards[-1]), jax.vmap(keep)(ends)


@chex.dataclass(frozen=True)
class OneOfState:
    """The states of all solvers, of which one goes on.

    Args:
        index: Which.
        states: One per solver.
    """

    index: Int[Array, ""]
    states: tuple[Any, ...]


@dataclass(frozen=True)
class OneOf(PopulationSolver):
    """Several solvers in one program, so that the physics, which takes most of the compiling, is compiled once.

    Which of them plans is an argument of the program; the others do not run.

    Args:
        solvers: Solvers with `propose` and `update`, with equally many candidates and steps.
        index: Which one plans.

    Raises:
        ValueError: The solvers differ in `num_samples` or `n_steps`.
    """

    solvers: tuple[Any, ...]
    index: Any

    def __post_init__(self) -> None:
        for name in ("num_samples", "n_steps"):
            values = [getattr(solver, name) for solver in self.solvers]
            if len(set(values)) != 1:
                raise ValueError(f"solvers of one program must agree in {name}, got {values}")

    @property
    def n_steps(self) -> int:
        """Steps per solve."""
        return int(self.solvers[0].n_steps)

    def init(self, key: Any, space: Any, horizon: int, warm_start: Any = None, carry: Any = None) -> OneOfState:
        """All states before the first step."""
        states = tuple(solver.init(key, space, horizon, warm_start) for solver in self.solvers)
        return OneOfState(index=self.index, states=states)

    def propose(self, state: OneOfState) -> Float[Array, "N H A"]:
        """The population of the one that plans."""

        def proposed(number: int) -> Any:
            return lambda states: self.solvers[number].propose(states[number])

        return jax.lax.switch(state.index, [proposed(number) for number in range(len(self.solvers))], state.states)

    def update(self, state: OneOfState, candidates: Any, costs: Float[Array, " N"]) -> tuple[OneOfState, StepRecord]:
        """Only the one that plans learns."""

        def learn(number: int) -> Any:
            def branch(states: tuple[Any, ...]) -> tuple[Any, ...]:
                after, _ = self.solvers[number].update(states[number], candidates, costs)
                return (*states[:number], after, *states[number + 1 :])

            return branch

        states = jax.lax.switch(state.index, [learn(number) for number in range(len(self.solvers))], state.states)
        record = StepRecord(candidates=candidates, costs=finite_or_last(costs))
        return dataclasses.replace(state, states=states), record

    def finish(self, state: OneOfState, scorer: Any) -> Plan:
        """The plan of the one that plans."""

        def finished(number: int) -> Any:
            return lambda states: self.solvers[number].finish(states[number], scorer)

        return jax.lax.switch(state.index, [finished(number) for number in range(len(self.solvers))], state.states)
