"""A summary of how long something took."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from envs_mjx.checks import UserError


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long one thing took, over several measurements.

    Attributes:
        median: seconds; half of the measurements took no longer.
        p95: seconds; 95 % took no longer, interpolated between neighbours.
        n: number of measurements.
    """

    median: float
    p95: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """Summarise measurements.

        Args:
            seconds: at least one duration, s, finite and not negative.

        Raises:
            UserError: if there is no measurement or one is no duration.
        """
        if len(seconds) == 0:
            raise UserError("no latency was measured, a summary needs at least 1")
        for i, value in enumerate(seconds):
            if not 0.0 <= value < math.inf:
                raise UserError(f"latency {i} is {value} s, it must be finite and not negative")
        median, p95 = np.percentile(np.asarray(seconds, float), [50, 95]).tolist()
        return cls(median=median, p95=p95, n=len(seconds))
