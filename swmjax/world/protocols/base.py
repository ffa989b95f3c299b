"""Which episodes are played: the contract of protocols."""

import abc
from typing import Any, ClassVar

from jaxtyping import Array, Int

from envs_mjx import Env
from swmjax.policies.rollout import Start


class Protocol(abc.ABC):
    """A numbered list of episodes; each starts the same whichever others are played with it.

    A subclass is a frozen dataclass and a pytree, so that compiled programs take it as an argument; what decides the
    shape of a program is static.

    Attributes:
        options: What `make` understands beside the seed.
        files: Those of them that name a file.
    """

    options: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()

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

    def check(self, env: Env, name: str, episodes: int) -> None:  # noqa: B027
        """Refuse what this protocol cannot start.

        Args:
            env: The environment.
            name: Its id, for messages.
            episodes: Number of episodes that are wanted.

        Raises:
            UserError: Says what does not fit.
        """
