"""What the training loop asks of whatever learns."""

import abc
from typing import Any

from jaxtyping import Array, Key


class Learner(abc.ABC):
    """Something that learns: a frozen dataclass, hashable, so that it is static to its programs.

    Its state is one pytree that holds everything a training continues from: two whole numbers `steps` and `updates`,
    counted from the start, are among it.
    """

    @property
    @abc.abstractmethod
    def steps_per_epoch(self) -> int:
        """What an epoch adds to `steps`."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Any:
        """The state before the first epoch."""

    @abc.abstractmethod
    def epoch(self, state: Any, batches: Any) -> tuple[Any, dict[str, Array]]:
        """One epoch, pure.

        Args:
            state: Where to go on from.
            batches: What to learn from; None for a learner that gathers it itself.

        Returns:
            The state after, and figures of the epoch, such as means of losses.
        """

    @abc.abstractmethod
    def export(self, state: Any) -> Any:
        """What has been learnt, as others use it; a pytree."""
