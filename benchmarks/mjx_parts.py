"""What `mjx_planning.py` builds its programs from: actions that are held, and several solvers in one program."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import chex
import jax
from jaxtyping import Array, Float, Int

from swmjax.planning import Plan, StepRecord
from swmjax.planning.population import PopulationSolver, finite_or_last


@dataclass(frozen=True)
class Held:
    """An environment that takes each action several times, so that planners search fewer numbers further ahead.

    Args:
        env: The environment.
        repeat: Environment steps per action; their rewards are added up.
    """

    env: Any
    repeat: int

    @property
    def action_space(self) -> Any:
        """That of the environment."""
        return self.env.action_space

    def step(self, state: Any, action: Float[Array, " nu"]) -> Any:
        """The state after the steps."""
        if self.repeat == 1:
            return self.env.step(state, action)

        def once(carry: Any, _: None) -> tuple[Any, Any]:
            after = self.env.step(carry, action)
            return after, after.reward

        state, rewards = jax.lax.scan(once, state, None, self.repeat)
        return state.replace(reward=rewards.sum())


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
