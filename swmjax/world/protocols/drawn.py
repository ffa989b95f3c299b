"""Drawn problems: starts with reachable goals, those of the reference's dataset protocol without a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from envs_mjx import Env, State
from envs_mjx.checks import check_count
from swmjax.policies.base import zeros_of
from swmjax.policies.rollout import Start
from swmjax.world.protocols.base import Protocol, remarks_on_offset

MAX_ATTEMPTS = 100
"""Draws after which a pair that starts solved is kept."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drawn(Protocol):
    """The goal is the state that the behaviour policy reaches some steps after the start; pairs that start solved are
    left out.

    Args:
        goal_offset: Steps of the behaviour policy between start and goal.
        seed, variation, values: See `Protocol`.

    Raises:
        UserError: A number is out of range.
    """

    options = ("goal_offset",)

    goal_offset: int = field(default=25, metadata={"static": True})

    def __post_init__(self) -> None:
        check_count("goal_offset", self.goal_offset)

    @classmethod
    def make(cls, seed: int, **options: Any) -> "Drawn":
        """The protocol as settings describe it."""
        return cls(np.asarray(seed, np.int32), **options)

    def start(self, env: Env, rows: Int[Array, " B"]) -> Start:
        """Drawn starts, and the states in which the behaviour policy ended."""
        seeds = self.seed + rows

        def one(seed: Array) -> tuple[State, State]:
            return draw_problem(env, seed, self.goal_offset, self.variation, self.values)

        states, goals = jax.vmap(one)(seeds)
        return Start(states=states, seeds=seeds, goals=goals)

    def remarks(self, env: Env, name: str, reach: int, budget: int) -> tuple[str, ...]:
        """As every protocol, and on how far away the goals are."""
        return super().remarks(env, name, reach, budget) + remarks_on_offset(self.goal_offset, reach, budget)


def draw_problem(
    env: Env,
    seed: Int[Array, ""],
    goal_offset: int,
    variation: tuple[str, ...] | None = None,
    values: Mapping[str, Any] | None = None,
) -> tuple[State, State]:
    """A start with a reachable goal.

    Args:
        env: The environment.
        seed: Number of the episode; the only source of randomness.
        goal_offset: Steps of the behaviour policy from the start to the goal.
        variation: Factors of variation that the reset samples; the environment's own choice if None.
        values: Factors that are set, by dotted name.

    Returns:
        The start, whose goal is set, and the state that shows the goal.
    """

    @partial(jax.jit, inline=True)  # traced once, though its shapes are asked for as well
    def attempt(key: Key[Array, ""]) -> tuple[State, State]:
        start_key, walk_key = jax.random.split(key)
        start = env.reset(start_key, variation=variation, values=values)

        def walk(state: State, key: Key[Array, ""]) -> tuple[State, None]:
            return env.step(state, env.behaviour_action(key, state)), None

        end, _ = jax.lax.scan(walk, start, jax.random.split(walk_key, goal_offset))
        return env.set_goal(start, env.goal_from(end)), end

    key = jax.random.key(seed)

    def again(carry: tuple[Array, State, State]) -> tuple[Array, State, State]:
        tries = carry[0] + 1
        return (tries, *attempt(jax.random.fold_in(key, tries)))

    def solved(carry: tuple[Array, State, State]) -> Array:
        return carry[1].success & (carry[0] < MAX_ATTEMPTS - 1)

    # A blank pair that counts as solved starts the loop, so that the environment is compiled into it only once.
    start, end = zeros_of(attempt, key)
    first = (jnp.asarray(-1, jnp.int32), start.replace(success=jnp.asarray(True)), end)
    _, start, end = jax.lax.while_loop(solved, again, first)
    return start, end
