"""What solvers that follow gradients share."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from envs_mjx.checks import UserError, check_integer, check_nonnegative
from swmjax.planning.base import Solver
from swmjax.planning.optimizers import Options, checked_options, make_optimizer
from swmjax.planning.population import clipped, cost_dtype
from swmjax.planning.scoring import Scorer
from swmjax.planning.simplex import Slots


@chex.dataclass(frozen=True)
class DescentState:
    """Sequences that follow their gradients, each for itself.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        start: The sequence that the solve started from; its dtype is the plan's.
        iterates: The sequences, at least in float32, so that small updates are not rounded away.
        optimizer: State of the optimiser, one a sequence.
        known: Of every sequence the last value with a finite cost.
        known_costs: Costs of these; inf before the first.
        region: Where sequences must stay: between the lowest and the highest action, or in the simplices of a discrete
            space's slots; None for no limits.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    start: Float[Array, "H A"]
    iterates: Float[Array, "N H A"]
    optimizer: Any
    known: Float[Array, "N H A"]
    known_costs: Float[Array, " N"]
    region: Float[Array, "2 A"] | Slots | None = None

    @property
    def candidates(self) -> Float[Array, "N H A"]:
        """The sequences in the plan's dtype."""
        return self.iterates.astype(self.start.dtype)


@dataclass(frozen=True)
class DescentSolver(Solver):
    """Several sequences that follow their gradients; the solvers of this family say which, and where they must stay.

    Args:
        num_samples: Sequences; the first starts at the warm start, the others around it.
        var_scale: Standard deviation of the other starts around the warm start (the reference's name).
        action_noise: Standard deviation of the noise added to every sequence after every step.
        optimizer: 'sgd', 'adam', 'adamw', 'adamax', 'rmsprop', 'nadam', 'radam', 'lion', or an
            `optax.GradientTransformation`. Every sequence has an optimiser state of its own.
        learning_rate: Of an optimiser given by name.
        optimizer_kwargs: Further options of that Optax constructor, for example {'weight_decay': 0.0}.
    """

    num_samples: int = 1
    var_scale: float = 1.0
    action_noise: float = 0.0
    optimizer: str | optax.GradientTransformation = "sgd"
    learning_rate: float = 1.0
    optimizer_kwargs: Options = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_integer(f"{name}.num_samples", self.num_samples, 1)
        check_nonnegative(f"{name}.var_scale", self.var_scale)
        check_nonnegative(f"{name}.action_noise", self.action_noise)
        options = checked_options(name, self.optimizer, self.learning_rate, self.optimizer_kwargs)
        object.__setattr__(self, "optimizer_kwargs", options)

    def begin(
        self,
        key: Key[Array, ""],
        start: Float[Array, "H A"],
        region: Float[Array, "2 A"] | Slots | None = None,
    ) -> DescentState:
        """The sequences before the first step.

        Args:
            key: Typed key of this problem.
            start: The sequence to start from.
            region: Where sequences must stay; in the simplices only from the first step on.
        """
        dtype = cost_dtype(start.dtype)
        step = jnp.zeros((), jnp.int32)
        iterates = jnp.broadcast_to(start.astype(dtype)[None], (self.num_samples, *start.shape))
        if self.num_samples > 1 and self.var_scale > 0:
            # The draw of step 0; steps draw from number 1 on.
            noise = self.sample_noise(key, step, iterates.shape, dtype)
            iterates = iterates + self.var_scale * noise.at[0].set(0)
        if not isinstance(region, Slots):
            iterates = clipped(iterates, region)
        return DescentState(
            key=key,
            step=step,
            start=start,
            iterates=iterates,
            optimizer=self.fresh_optimizer(iterates),
            known=iterates,
            known_costs=jnp.full(self.num_samples, jnp.inf, dtype),
            region=region,
        )

    def fresh_optimizer(self, iterates: Float[Array, "N H A"]) -> Any:
        """State of the optimiser before its first step."""
        return jax.vmap(self._transformation().init)(iterates)

    def descend(
        self,
        state: DescentState,
        losses: Float[Array, " N"],
        gradient: Float[Array, "N H A"],
        usable: Bool[Array, " N"],
        loss_of_one: Callable[[Float[Array, "H A"], Any], Float[Array, ""]],
        context: Any = None,
    ) -> DescentState:
        """One step of the optimiser, then noise, then the projection.

        Args:
            state: The sequences.
            losses: What they descend.
            gradient: Its gradient.
            usable: Which sequences move; the others keep their value and their optimiser state.
            loss_of_one: The loss of one sequence with its context, for optimisers with a line search.
            context: What the loss of a sequence depends on besides it; a leading axis of N.
        """
        transformation, dtype = self._transformation(), state.iterates.dtype

        def move(gradient: Array, optimizer: Any, iterate: Array, loss: Array, context: Any) -> tuple[Array, Any]:
            updates, optimizer = transformation.update(
                gradient, optimizer, iterate, value=loss, grad=gradient, value_fn=lambda one: loss_of_one(one, context)
            )
            return optax.apply_updates(iterate, updates), optimizer

        iterates, optimizer = jax.vmap(move)(gradient, state.optimizer, state.iterates, losses.astype(dtype), context)
        step = state.step + 1
        if self.action_noise > 0:
            iterates = iterates + self.action_noise * self.sample_noise(state.key, step, iterates.shape, dtype)
        if isinstance(state.region, Slots):
            iterates = state.region.project(iterates)
        else:
            iterates = clipped(iterates, state.region)
        iterates, optimizer = jax.tree.map(
            lambda new, old: jnp.where(_column(usable, new.ndim), new, old),
            (iterates, optimizer),
            (state.iterates, state.optimizer),
        )
        return dataclasses.replace(state, step=step, iterates=iterates, optimizer=optimizer)

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        return make_optimizer(self.optimizer, self.learning_rate, self.optimizer_kwargs)


def remember(state: DescentState, costs: Float[Array, " N"]) -> DescentState:
    """Keep those sequences that have a finite cost, in case they later lose it."""
    finite = jnp.isfinite(costs)
    return dataclasses.replace(
        state,
        known=jnp.where(_column(finite, 3), state.iterates, state.known),
        known_costs=jnp.where(finite, costs.astype(state.known_costs.dtype), state.known_costs),
    )


def value_and_pullback(
    functions: Mapping[str, Callable[[Float[Array, "N H A"]], Array]], candidates: Float[Array, "N H A"]
) -> tuple[dict[str, Array], Callable[[dict[str, Array]], Float[Array, "N H A"]]]:
    """Values of some functions of the candidates, and the map from their weights to a gradient.

    Args:
        functions: Functions by the name that an error message should use.
        candidates: Where.

    Returns:
        Values by name, and a function of weights of the same shapes.

    Raises:
        UserError: A function has no gradient at all. Found while tracing, before anything is computed.
    """
    reached: set[str] = set()

    def marked(name: str, values: Array) -> Array:
        @jax.custom_jvp
        def mark(values: Array) -> Array:
            return values

        # JAX asks for this rule only if some derivative arrives here.
        def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            reached.add(name)
            return primals[0], tangents[0]

        mark.defjvp(rule, symbolic_zeros=True)
        return mark(values)

    values, pullback = jax.vjp(
        lambda candidates: {name: marked(name, function(candidates)) for name, function in functions.items()},
        candidates,
    )
    missing = [name for name in functions if name not in reached]
    if missing:
        raise UserError(
            f"the {' and the '.join(missing)} have no gradient with respect to the actions (argmax, round and "
            "stop_gradient have none); use a solver that samples, for example CEMSolver"
        )
    return values, lambda weights: pullback(weights)[0]


def costs_and_gradient(
    cost_fn: Callable[[Float[Array, "N H A"]], Float[Array, " N"]], state: DescentState
) -> tuple[Float[Array, " N"], Float[Array, "N H A"], Bool[Array, " N"]]:
    """Costs of the sequences, their gradients, and which of them may move.

    Args:
        cost_fn: Candidates to costs.
        state: The sequences.

    Returns:
        Costs as they are; gradients, 0 where cost or gradient is not finite; where both are.
    """
    values, pullback = value_and_pullback({"costs": cost_fn}, state.candidates)
    gradient, usable = finite_gradient(values["costs"], pullback({"costs": jnp.ones_like(values["costs"])}))
    return values["costs"], gradient.astype(state.iterates.dtype), usable


def best_sequence(state: DescentState, scorer: Scorer) -> tuple[Float[Array, "H A"], Float[Array, ""]]:
    """The sequence with the lowest cost now, in the plan's dtype, and that cost.

    Args:
        state: The sequences after the last step.
        scorer: Scores candidates.

    Returns:
        The start and inf, if no sequence ever had a finite cost.
    """
    state = remember(state, scorer(state.candidates))
    index = jnp.argmin(state.known_costs)
    cost = state.known_costs[index]
    return jnp.where(jnp.isfinite(cost), state.known[index].astype(state.start.dtype), state.start), cost


def cost_of_one(scorer: Scorer, state: DescentState) -> Callable[[Float[Array, "H A"], None], Float[Array, ""]]:
    """The cost of one sequence in the precision of the descent, for optimisers with a line search."""
    return lambda one, _: scorer(one[None].astype(state.start.dtype))[0].astype(one.dtype)


def finite_gradient(
    losses: Float[Array, " N"], gradient: Float[Array, "N H A"]
) -> tuple[Float[Array, "N H A"], Bool[Array, " N"]]:
    """Gradients with 0 for sequences whose loss or gradient is not finite, and which are the others."""
    usable = jnp.isfinite(losses) & jnp.isfinite(gradient).all(axis=(1, 2))
    return jnp.where(_column(usable, 3), gradient, 0), usable


def _column(flags: Bool[Array, " N"], ndim: int) -> Array:
    return flags.reshape(-1, *(1,) * (ndim - 1))
