"""Gradient-free optimisers of nevergrad."""

import contextlib
import difflib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Key

from envs_mjx.checks import UserError, check_choice, check_integer, needs_extra
from swmjax.planning.host import HostSolver, Search


@dataclass(frozen=True)
class NevergradSolver(HostSolver):
    """Any optimiser of nevergrad, on the host.

    Every problem has its own, with a budget of n_steps x num_samples evaluations. Every step asks for num_samples
    candidates, scores them in one call and tells all of them. The first candidate is the warm start. The plan is the
    best candidate of all steps, with its own cost. See `HostSolver`.

    Differs from the reference (where it never worked): candidates are scored together instead of one by one; every
    problem has its own optimiser; the optimiser is chosen by name. A cost that is not finite is told as one above all
    others of its population.

    Args:
        optimizer: Name in nevergrad's registry, such as 'CMA', 'DE', 'PSO', 'NgIohTuned'.
        num_samples: Candidates per step.
        n_steps: Steps per solve.
        clip: 'bounds' to search inside the action space, which must be bounded, starting with a sixth of its width, or
            'none' to search everywhere, starting with a standard deviation of 1.

    Raises:
        UserError: nevergrad is not installed, it has no such optimiser, or a hyperparameter is out of range.

    Source: Rapin and Teytaud 2018, "Nevergrad: A gradient-free optimization platform"; reference,
    `solver/nevergrad.py` of its first releases.
    """

    optimizer: str = "NgIohTuned"
    num_samples: int = 300
    n_steps: int = 30
    clip: Literal["bounds", "none"] = "bounds"

    def __post_init__(self) -> None:
        check_integer("NevergradSolver.num_samples", self.num_samples, 1)
        check_integer("NevergradSolver.n_steps", self.n_steps, 1)
        check_choice("NevergradSolver.clip", self.clip, ("bounds", "none"))
        known = _nevergrad().optimizers.registry
        if self.optimizer not in known:
            near = difflib.get_close_matches(self.optimizer, list(known), n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise UserError(
                f"NevergradSolver.optimizer must be a name in nevergrad's registry of {len(known)} "
                f"optimisers, got {self.optimizer!r}{hint}"
            )

    def start(self, key: Key[Array, ""], space: Any, nominal: np.ndarray) -> Search:
        """See `HostSolver`."""
        return _Search(self, int(jax.random.bits(key, dtype="uint32")), space, nominal)


def _nevergrad() -> Any:
    with needs_extra("NevergradSolver needs", "search"):
        return importlib.import_module("nevergrad")


class _Search:
    def __init__(self, solver: NevergradSolver, seed: int, space: Any, nominal: np.ndarray) -> None:
        nevergrad = _nevergrad()
        if solver.clip == "none":
            actions = nevergrad.p.Array(init=nominal)
        elif np.isfinite([space.low, space.high]).all():
            low, high = (np.broadcast_to(bound, nominal.shape).astype(float) for bound in (space.low, space.high))
            nominal = np.clip(nominal, low, high)
            actions = nevergrad.p.Array(init=nominal, lower=low, upper=high)
        else:
            raise UserError(f"NevergradSolver needs finite bounds of the action space, or clip='none'; got {space}")
        actions.random_state = np.random.RandomState(seed)
        self.random = np.random.RandomState(seed).get_state()
        self.count = solver.num_samples
        self.asked: list[Any] = []
        with self._own_random_state():
            self.optimizer = nevergrad.optimizers.registry[solver.optimizer](
                actions, budget=solver.n_steps * solver.num_samples, num_workers=solver.num_samples
            )
            self.optimizer.suggest(nominal)

    def ask(self) -> np.ndarray:
        with self._own_random_state():
            self.asked = [self.optimizer.ask() for _ in range(self.count)]
        return np.stack([candidate.value for candidate in self.asked])

    def tell(self, costs: np.ndarray) -> None:
        with self._own_random_state():
            for candidate, cost in zip(self.asked, costs, strict=True):
                self.optimizer.tell(candidate, float(cost))

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        # Some of nevergrad's optimisers draw from NumPy's global generator as well. Each search brings a state of its
        # own for that, so that its key alone decides, and leaves the global one as it was.
        before = np.random.get_state()  # noqa: NPY002
        np.random.set_state(self.random)  # noqa: NPY002
        try:
            yield
        finally:
            self.random = np.random.get_state()  # noqa: NPY002
            np.random.set_state(before)  # noqa: NPY002
