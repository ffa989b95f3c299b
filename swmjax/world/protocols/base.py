"""Which episodes are played: the contract of protocols."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
from jaxtyping import Array, Int

from envs_mjx import Env, State
from envs_mjx.checks import UserError
from swmjax.policies.rollout import Start


@dataclass(frozen=True)
class Protocol(abc.ABC):
    """A numbered list of episodes; each starts the same whichever others are played with it.

    A subclass is a frozen dataclass and a pytree (`jax.tree_util.register_dataclass`), so that compiled programs take
    it as an argument; what decides the shape of a program is static.

    Args:
        seed: Seed of episode 0; episode i has seed + i.
        variation: Factors of variation that every reset samples; the environment's own choice if None.
        values: Factors that have the same value in every episode, by dotted name.

    Attributes:
        options: What `make` understands beside the seed.
        files: Those of them that name a file.
        places: Whether starts and goals come from elsewhere than resets, whatever factors of variation say.
        until: What an episode is over at: `success`, when its goal is reached, or `end`, when the environment ends it.
    """

    options: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[bool] = False
    until: ClassVar[Literal["success", "end"]] = "success"

    seed: Any
    variation: tuple[str, ...] | None = field(default=None, kw_only=True, metadata={"static": True})
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @classmethod
    @abc.abstractmethod
    def make(cls, seed: int, **options: Any) -> "Protocol":
        """The protocol as settings describe it.

        Args:
            seed: Seed of episode 0; episode i has seed + i.
            **options: Those of `options` that are given.

        Raises:
            UserError: An option is out of range, or names a file that cannot be used.
        """

    @abc.abstractmethod
    def start(self, env: Env, rows: Int[Array, " B"]) -> Start:
        """Where some of the episodes begin; pure.

        Args:
            env: The environment.
            rows: Numbers of the episodes.
        """

    def fresh(self, env: Env, seed: Int[Array, ""]) -> State:
        """A reset of one episode, with the factors of variation that were asked for."""
        return env.reset(jax.random.key(seed), variation=self.variation, values=self.values)

    def check(self, env: Env, name: str, episodes: int) -> None:
        """Refuse what this protocol cannot start.

        Args:
            env: The environment.
            name: Its id, for messages.
            episodes: Number of episodes that are wanted.

        Raises:
            UserError: Says what does not fit.
        """
        if self.until == "success" and not env.has_success:
            raise UserError(
                f"env: {name} has no success to count, only rewards; play whole episodes for their return with "
                "--set protocol.name=episodic"
            )

    def remarks(self, env: Env, name: str, reach: int, budget: int) -> tuple[str, ...]:
        """What the user should know about the numbers that come out.

        Args:
            env: The environment.
            name: Its id.
            reach: Environment steps that a plan looks ahead.
            budget: Environment steps of an episode.
        """
        if self.until == "success" and not env.reaches_goals:
            return (f"success in {name} is its own rule, not the goal that plans aim at",)
        return ()


def remarks_on_offset(offset: int, reach: int, budget: int) -> tuple[str, ...]:
    """What to say where a goal is some steps away, and plans or episodes are not made for that.

    Args:
        offset: Environment steps between start and goal in the trajectory that both come from.
        reach: Environment steps that a plan looks ahead.
        budget: Environment steps of an episode.
    """
    remarks = []
    if reach > offset:
        remarks.append(
            f"plans look {reach} steps ahead, goals are {offset} steps away: a plan is judged by where it ends, "
            "after the goal could have been reached"
        )
    if offset > budget:
        remarks.append(f"goals are {offset} steps away, but an episode has only {budget}: few can be reached")
    return tuple(remarks)
