"""What a plan is for: objectives over rolled-out latents, goals and actions, and constraints made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from envs_mjx.checks import UserError, check_choice

Objective = Callable[[Any, Any, Float[Array, "N H A"]], Float[Array, " N"]]
"""Latents [N, T, *D] of N rollouts (context, then H predictions), latents [Tg, *D] of the goal frames, and the
candidates, to costs. Latents may be pytrees."""


@dataclass(frozen=True)
class _GoalDistance:
    """What the distances of predicted latents from that of the last goal frame share.

    Args:
        reduction: 'sum' (LeWM) or 'mean' (DINO-WM) over the latent's entries.
        steps: 'last' to look at the last prediction alone, 'all' to average over all H predictions.
        source: Entry of a latent that is a dict; all entries are added up if None.

    Raises:
        UserError: Another word.
    """

    reduction: Literal["sum", "mean"] = "sum"
    steps: Literal["last", "all"] = "last"
    source: str | None = None

    def __post_init__(self) -> None:
        check_choice(f"{type(self).__name__}.reduction", self.reduction, ("sum", "mean"))
        check_choice(f"{type(self).__name__}.steps", self.steps, ("last", "all"))

    def __call__(self, latents: Any, goal: Any, actions: Float[Array, "N H A"] | None = None) -> Float[Array, " N"]:
        """Cost of each rollout.

        Args:
            latents: Latents [N, T, *D] of N rollouts, or a pytree of them.
            goal: Latents [Tg, *D] of the goal frames, alike; no gradient flows into them.
            actions: The candidates, needed for `steps='all'`.

        Returns:
            One cost a rollout.

        Raises:
            UserError: The latents have no such source, or the actions are missing.
        """
        if self.source is not None:
            if not isinstance(latents, dict) or self.source not in latents:
                found = ", ".join(latents) if isinstance(latents, dict) else "none, since they are one array"
                raise UserError(f"{type(self).__name__}.source is {self.source!r}; the latents have: {found}")
            latents, goal = latents[self.source], goal[self.source]
        if self.steps == "all" and actions is None:
            raise UserError(f"{type(self).__name__} with steps='all' needs the candidates to know the predicted steps")
        steps = 1 if self.steps == "last" else actions.shape[1]  # type: ignore[union-attr]

        def one(predicted: Float[Array, "N T *D"], wanted: Float[Array, "Tg *D"]) -> Float[Array, " N"]:
            predicted, wanted = predicted[:, -steps:], jax.lax.stop_gradient(wanted[-1:])
            return self._measure(predicted, wanted[None]).mean(axis=1)

        return sum(jax.tree.leaves(jax.tree.map(one, latents, goal)))  # type: ignore[return-value]

    def _measure(self, predicted: Float[Array, "N T *D"], wanted: Float[Array, "1 1 *D"]) -> Float[Array, "N T"]:
        raise NotImplementedError

    def _reduce(self, entries: Float[Array, "N T *D"]) -> Float[Array, "N T"]:
        return getattr(jnp, self.reduction)(entries, axis=tuple(range(2, entries.ndim)))


@dataclass(frozen=True)
class GoalMSE(_GoalDistance):
    """Squared distance between predicted latents and that of the last goal frame; see `reduction` and `steps`.

    Source: reference, `planning/objectives` (`GoalMSE`).
    """

    def _measure(self, predicted: Float[Array, "N T *D"], wanted: Float[Array, "1 1 *D"]) -> Float[Array, "N T"]:
        return self._reduce(jnp.square(predicted - wanted))


@dataclass(frozen=True)
class GoalL1(_GoalDistance):
    """Sum (or mean) of the absolute differences between predicted latents and that of the last goal frame."""

    def _measure(self, predicted: Float[Array, "N T *D"], wanted: Float[Array, "1 1 *D"]) -> Float[Array, "N T"]:
        return self._reduce(jnp.abs(predicted - wanted))


@dataclass(frozen=True)
class GoalCosine(_GoalDistance):
    """One minus the cosine between predicted latents and that of the last goal frame, along the last axis.

    Further axes (tokens of a frame) are reduced as `reduction` says.
    """

    def _measure(self, predicted: Float[Array, "N T *D"], wanted: Float[Array, "1 1 *D"]) -> Float[Array, "N T"]:
        dot = (predicted * wanted).sum(-1)
        squares = jnp.square(predicted).sum(-1) * jnp.square(wanted).sum(-1)
        return self._reduce(1.0 - dot * jax.lax.rsqrt(jnp.maximum(squares, 1e-16)))


@dataclass(frozen=True)
class ActionPenalty:
    """Sum of the squares of all actions of a candidate.

    Source: reference, `planning/objectives` (`ControlPenalty`).
    """

    def __call__(self, latents: Any, goal: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Cost of each rollout."""
        return jnp.square(actions).sum(axis=(1, 2))


@dataclass(frozen=True)
class WeightedSum:
    """Objectives times their weights, added up.

    Args:
        terms: Pairs (weight, objective), at least one.

    Raises:
        UserError: There are no terms.

    Source: reference, `planning/objectives` (`WeightedSum`).
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise UserError("WeightedSum needs at least one (weight, objective), got none")

    def __call__(self, latents: Any, goal: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Cost of each rollout."""
        return sum(weight * term(latents, goal, actions) for weight, term in self.terms)  # type: ignore[return-value]


@dataclass(frozen=True)
class AtMost:
    """A constraint made of an objective: what it is above its limit, so satisfied when at most 0.

    Args:
        objective: Any objective.
        limit: Its largest allowed value.
    """

    objective: Objective
    limit: float

    def __call__(self, latents: Any, goal: Any, actions: Float[Array, "N H A"]) -> Float[Array, " N"]:
        """Constraint value of each rollout."""
        return self.objective(latents, goal, actions) - self.limit
