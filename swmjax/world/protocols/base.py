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

    @property
    def count(self) -> int | None:
        """Number of episodes there are; None if there is no end to them."""
        return None

    @abc.abstractmethod
    def start(self, env: Env, rows: Int[Array, " B"]) -> Start:
        """Where some of the episodes begin; pure.

        Args:
            env: The environment.
            rows: Numbers of the episodes.
        """

    def check(self, env: Env) -> None:
        """Refuse an environment whose episodes this protocol cannot start.

        Raises:
            UserError: Says what does not fit.
        """
