"""Which episodes are played: the contract of protocols."""

import abc

from jaxtyping import Array, Int

from envs_mjx import Env
from swmjax.policies.rollout import Start


class Protocol(abc.ABC):
    """A numbered list of episodes; each starts the same whichever others are played with it.

    A subclass is a frozen dataclass and a pytree, so that compiled programs take it as an argument; what decides the
    shape of a program is static.
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
