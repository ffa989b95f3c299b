"""Planning under constraints: the augmented Lagrangian."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import chex
import jax
import jax.numpy as jnp
import optax
from gymnasium.spaces import Box
from jaxtyping import Array, Bool, Float, Key

from envs_mjx.checks import UserError, check_choice, check_integer, check_nonnegative
from swmjax.planning.descent import DescentSolver, DescentState, finite_gradient, remember, value_and_pullback
from swmjax.planning.population import action_bounds, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord


@chex.dataclass(frozen=True)
class LagrangianCarry:
    """What one solve leaves for the next of the same problem.

    Args:
        multipliers: One a constraint, at least 0.
        violation: By how much the plan violates each constraint, at least 0; the next solve does not look at it.
    """

    multipliers: Float[Array, "*batch C"]
    violation: Float[Array, "*batch C"]


@chex.dataclass(frozen=True)
class LagrangianState:
    """Sequences on their way, with the weights of their constraints.

    Args:
        descent: The sequences.
        known_constraints: Constraint values of `descent.known`.
        multipliers: One a constraint and sequence.
        rho: Weight of the squared violations.
    """

    descent: DescentState
    known_constraints: Float[Array, "N C"]
    multipliers: Float[Array, "N C"]
    rho: Float[Array, ""]


@dataclass(frozen=True)
class LagrangianSolver(DescentSolver):
    """Augmented Lagrangian: gradient descent under constraints, with multipliers that persist.

    It descends on cost and weighted violations, whose weights grow between rounds. Every round of `n_inner_steps` has a
    fresh optimiser. `Plan.carry` holds the multipliers, and the next solve continues from them if it gets it as
    `carry`. Without constraints this is gradient descent that forgets its momentum every round.

    Differs from the reference: the number of inner steps is `n_inner_steps` (there `n_steps`, which here counts all
    steps, as for every solver), with a default; any part of a batch can be solved; sequences whose cost, constraint or
    gradient is not finite stay where they are and do not count for the multipliers.

    Args:
        n_inner_steps: Steps a round.
        n_outer_steps: Rounds.
        rho_init: Weight of the squared violations in the first round.
        rho_max: Its limit.
        rho_scale: Its growth from round to round.
        persist_multipliers: Whether a solve starts from the multipliers in `carry`; else from 0.
        method: 'reference': the loss is J + l g + rho max(0, g)^2, which also pays for being far inside the feasible
            set, and l grows by rho times the mean g of all sequences. 'standard': the loss is
            J + (max(0, l + 2 rho g)^2 - l^2) / (4 rho), and l of every sequence grows by the gradient, 2 rho g.
        selection: 'cost', as the reference: the plan has the lowest cost, feasible or not. 'feasible': the lowest cost
            among the sequences that violate nothing by more than `tolerance`, or if there are none the least violation.
        tolerance: Violation that counts as none.
        clip: 'none' as the reference, or 'bounds' to keep sequences in the action space.
        num_samples, var_scale, action_noise, optimizer, learning_rate, optimizer_kwargs: See `DescentSolver`.

    Raises:
        UserError: A hyperparameter is out of range; at the first trace, if costs or constraints have no gradient.

    Source: Nocedal and Wright 2006, chapter 17.4; reference, `solver/lagrangian.py`.
    """

    takes = frozenset({"constraints", "carry"})

    optimizer: str | optax.GradientTransformation = "adam"
    n_inner_steps: int = 30
    n_outer_steps: int = 5
    rho_init: float = 1.0
    rho_max: float = 1e4
    rho_scale: float = 2.0
    persist_multipliers: bool = True
    method: Literal["reference", "standard"] = "reference"
    selection: Literal["cost", "feasible"] = "cost"
    tolerance: float = 1e-3
    clip: Literal["none", "bounds"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("LagrangianSolver.n_inner_steps", self.n_inner_steps, 1)
        check_integer("LagrangianSolver.n_outer_steps", self.n_outer_steps, 1)
        for name in ("rho_init", "rho_max", "rho_scale", "tolerance"):
            check_nonnegative(f"LagrangianSolver.{name}", getattr(self, name))
        if min(self.rho_init, self.rho_max, self.rho_scale) == 0:
            raise UserError("LagrangianSolver.rho_init, rho_max and rho_scale must be above 0")
        check_choice("LagrangianSolver.method", self.method, ("reference", "standard"))
        check_choice("LagrangianSolver.selection", self.selection, ("cost", "feasible"))
        check_choice("LagrangianSolver.clip", self.clip, ("none", "bounds"))

    @property
    def n_steps(self) -> int:  # type: ignore[override]
        """Steps of all rounds together."""
        return self.n_inner_steps * self.n_outer_steps

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: LagrangianCarry | None = None,
    ) -> LagrangianState:
        """The sequences before the first step; `prepare` adds what depends on the constraints."""
        start = nominal_actions(space, horizon, warm_start)
        descent = self.begin(key, start, action_bounds(space, start.dtype) if self.clip == "bounds" else None)
        dtype = descent.iterates.dtype
        multipliers = jnp.zeros((self.num_samples, 0), dtype)
        if carry is not None and self.persist_multipliers:
            kept = carry.multipliers.astype(dtype)
            multipliers = jnp.broadcast_to(kept[None], (self.num_samples, *kept.shape))
        return LagrangianState(
            descent=descent,
            known_constraints=jnp.full_like(multipliers, jnp.inf),
            multipliers=multipliers,
            rho=jnp.asarray(min(self.rho_init, self.rho_max), dtype),
        )

    def prepare(self, state: LagrangianState, scorer: Scorer) -> LagrangianState:
        """The state with as many multipliers as there are constraints.

        Raises:
            UserError: The multipliers that were carried over are of another number.
        """
        count = jax.eval_shape(lambda: self._constraints(scorer)(state.descent.candidates)).shape[1]
        carried = state.multipliers.shape[1]
        if carried == count:
            return state
        if carried:
            raise UserError(f"carry must have {count} multipliers for {count} constraints, got {carried}")
        empty = jnp.zeros((self.num_samples, count), state.rho.dtype)
        return dataclasses.replace(state, multipliers=empty, known_constraints=jnp.full_like(empty, jnp.inf))

    def step(self, state: LagrangianState, scorer: Scorer) -> tuple[LagrangianState, StepRecord]:
        """One step of the optimiser; before the first of a round the multipliers of the round before are updated.

        The recorded gradient is that of the augmented Lagrangian.
        """
        descent, dtype = state.descent, state.rho.dtype
        functions: dict[str, Callable[[Float[Array, "N H A"]], Array]] = {"costs": scorer}
        if scorer.constraint_fn is not None:
            functions["constraints"] = scorer.constraints
        values, pullback = value_and_pullback(functions, descent.candidates)
        costs = values["costs"].astype(dtype)
        constraints = values.get("constraints", jnp.zeros((self.num_samples, 0))).astype(dtype)
        costs, state = self._seen(state, costs, constraints)

        # The last round's end and this round's start are the same point, so one evaluation serves both.
        first = descent.step % self.n_inner_steps == 0
        updated = self._dual_step(state, constraints, jnp.isfinite(costs))
        state = jax.tree.map(lambda new, old: jnp.where(first & (descent.step > 0), new, old), updated, state)
        optimizer = jax.tree.map(
            lambda fresh, old: jnp.where(first, fresh, old),
            self.fresh_optimizer(descent.iterates),
            descent.optimizer,
        )
        descent = dataclasses.replace(state.descent, optimizer=optimizer)

        def summed(costs: Array, constraints: Array) -> tuple[Array, Array]:
            losses = self._augmented(costs, constraints, state.multipliers, state.rho)
            return jnp.sum(losses), losses

        (_, losses), weights = jax.value_and_grad(summed, (0, 1), has_aux=True)(costs, constraints)
        weights = dict(zip(("costs", "constraints"), weights, strict=True))
        gradient, usable = finite_gradient(
            losses, pullback({name: weights[name].astype(value.dtype) for name, value in values.items()})
        )
        gradient = gradient.astype(dtype)

        def loss_of_one(one: Float[Array, "H A"], multipliers: Float[Array, " C"]) -> Float[Array, ""]:
            candidate = one[None].astype(descent.start.dtype)
            cost, constraint = scorer(candidate).astype(dtype), self._constraints(scorer)(candidate).astype(dtype)
            return self._augmented(cost, constraint, multipliers[None], state.rho)[0]

        record = StepRecord(candidates=descent.candidates, costs=costs, gradient=gradient)
        descent = self.descend(descent, losses, gradient, usable, loss_of_one, state.multipliers)
        return dataclasses.replace(state, descent=descent), record

    def finish(self, state: LagrangianState, scorer: Scorer) -> Plan:
        """The sequence that `selection` chooses, its unconstrained cost, and the multipliers after the last round."""
        candidates, dtype = state.descent.candidates, state.rho.dtype
        constraints = self._constraints(scorer)(candidates).astype(dtype)
        costs, state = self._seen(state, scorer(candidates).astype(dtype), constraints)
        state = self._dual_step(state, constraints, jnp.isfinite(costs))

        known, costs = state.descent, state.descent.known_costs
        violation = jnp.maximum(state.known_constraints, 0)
        score = costs
        if self.selection == "feasible":
            worst = jnp.max(violation, axis=1, initial=0)
            feasible = (worst <= self.tolerance) & jnp.isfinite(costs)
            score = jnp.where(feasible.any(), jnp.where(feasible, costs, jnp.inf), worst)
            score = jnp.where(jnp.isfinite(costs), score, jnp.inf)
        index = jnp.argmin(score)
        cost = costs[index]
        carry = LagrangianCarry(multipliers=state.multipliers[index], violation=violation[index])
        return Plan(
            actions=jnp.where(jnp.isfinite(cost), known.known[index].astype(known.start.dtype), known.start),
            cost=cost,
            status=status_of(cost),
            carry=carry if violation.shape[1] else None,
        )

    def _constraints(self, scorer: Scorer) -> Callable[[Float[Array, "N H A"]], Float[Array, "N C"]]:
        if scorer.constraint_fn is None:
            return lambda candidates: jnp.zeros((candidates.shape[0], 0), candidates.dtype)
        return scorer.constraints

    def _seen(
        self, state: LagrangianState, costs: Float[Array, " N"], constraints: Float[Array, "N C"]
    ) -> tuple[Float[Array, " N"], LagrangianState]:
        """Costs with inf where cost or constraints are not finite, and the state that remembers the others."""
        finite = jnp.isfinite(costs) & jnp.isfinite(constraints).all(axis=1)
        costs = finite_or_last(jnp.where(finite, costs, jnp.inf))
        known = jnp.where(finite[:, None], constraints, state.known_constraints)
        return costs, dataclasses.replace(state, descent=remember(state.descent, costs), known_constraints=known)

    def _augmented(
        self,
        costs: Float[Array, " N"],
        constraints: Float[Array, "N C"],
        multipliers: Float[Array, "N C"],
        rho: Float[Array, ""],
    ) -> Float[Array, " N"]:
        if self.method == "reference":
            terms = multipliers * constraints + rho * jnp.square(jax.nn.relu(constraints))
        else:
            pressure = jax.nn.relu(multipliers + 2 * rho * constraints)
            terms = (jnp.square(pressure) - jnp.square(multipliers)) / (4 * rho)
        return costs + jnp.sum(terms, axis=1)

    def _dual_step(
        self, state: LagrangianState, constraints: Float[Array, "N C"], finite: Bool[Array, " N"]
    ) -> LagrangianState:
        """Multipliers and rho after a round."""
        rows = finite[:, None]
        if self.method == "reference":
            number = jnp.maximum(jnp.sum(finite), 1).astype(constraints.dtype)
            mean = jnp.sum(jnp.where(rows, constraints, 0), axis=0, keepdims=True) / number
            grown = jax.nn.relu(state.multipliers + state.rho * mean)
            rows = finite.any()
        else:
            grown = jax.nn.relu(state.multipliers + 2 * state.rho * constraints)
        return dataclasses.replace(
            state,
            multipliers=jnp.where(rows, grown, state.multipliers),
            rho=jnp.minimum(state.rho * self.rho_scale, self.rho_max),
        )
