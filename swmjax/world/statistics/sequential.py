"""A test of paired episodes that may be looked at after every one of them, and stopped at any time.

With an ordinary test, looking until it is significant finds differences where there are none. Here the evidence is a
bet: money laid on one method being better, at odds that are fair if both are equally good. Equal methods make it grow
twentyfold at any time in at most one of twenty studies, however often one looks and whatever one stops for.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import betaln

from envs_mjx.checks import check_integer
from swmjax.world.statistics.intervals import check_confidence

_PRIOR = 0.5
"""Of the beta distribution that the bet is spread over; the one that loses least against the best bet in hindsight."""


@dataclass(frozen=True)
class PairedTest:
    """What paired episodes have shown so far.

    Attributes:
        only_first: Episodes that only the first method solved.
        only_second: Those that only the second one solved.

    Raises:
        UserError: A number is no integer, or negative.

    Source: A. Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference", for tests by betting;
    the mixture over bets is that of R. Krichevsky and V. Trofimov 1981.
    """

    only_first: int = 0
    only_second: int = 0

    def __post_init__(self) -> None:
        for name in ("only_first", "only_second"):
            check_integer(f"PairedTest.{name}", getattr(self, name), 0)

    def after(self, first: bool, second: bool) -> "PairedTest":
        """The test after one more episode; one that both solve, or neither, tells nothing."""
        return PairedTest(self.only_first + (first and not second), self.only_second + (second and not first))

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence against equal methods, the wealth of the bet."""
        heads, tails = self.only_first, self.only_second
        mixed = betaln(_PRIOR + heads, _PRIOR + tails) - betaln(_PRIOR, _PRIOR)
        return float(mixed + (heads + tails) * math.log(2.0))

    @property
    def p_value(self) -> float:
        """A p-value that holds at whatever moment one stops; the smallest one seen so far holds as well."""
        return min(1.0, math.exp(-self.log_evidence))

    def decided(self, confidence: float = 0.95) -> Literal["first", "second"] | None:
        """Which method is better; None as long as that is open.

        Args:
            confidence: 1 less the rate of false alarms over all looks together, between 0 and 1 exclusive.

        Raises:
            UserError: The confidence is out of range.
        """
        check_confidence(confidence)
        if self.log_evidence < -math.log1p(-confidence):
            return None
        return "first" if self.only_first > self.only_second else "second"
