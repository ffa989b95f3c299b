"""Gradients through single steps instead of whole rollouts: states are planned together with actions."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import optax
from gymnasium.spaces import Box
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import check_choice, check_integer, check_nonnegative
from swmjax.planning.base import Solver
from swmjax.planning.descent import value_and_pullback
from swmjax.planning.optimizers import OPTIMIZERS, make_optimizer
from swmjax.planning.population import best, cost_dtype, finite_or_last, status_of
from swmjax.planning.scoring import Scorer
from swmjax.planning.spaces import nominal_actions
from swmjax.planning.types import Plan, StepRecord, Transitions


@chex.dataclass(frozen=True)
class GRASPState:
    """A plan in actions and states.

    Args:
        key: Key of the problem; a step draws from it and the step number.
        step: Steps done.
        start: The sequence that the solve started from; its dtype is the plan's.
        actions: The actions now, at least in float32.
        states: The latents between start and goal, free variables.
        optimizer: State of the optimisers of actions and of states.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]
    start: Float[Array, "H A"]
    actions: Float[Array, "H A"]
    states: Float[Array, "S *D"]
    optimizer: Any


@dataclass(frozen=True)
class GRASPSolver(Solver):
    """GRASP: descend in actions and states on the errors of single model steps.

    With actions a, states s and steps F, all computed side by side, the loss is the sum over t of
    |F(sg(s_t), a_t) - s_{t+1}|^2 + goal_weight |F(sg(s_t), a_t) - g|^2, where the first state is the current latent,
    the last one the goal g, and sg stops gradients: no derivative by a state is taken. States get noise after every
    step. Every `sync_every` steps the actions are improved on full rollouts. The plan is the final actions with their
    cost; if that is not finite, the warm start.

    It needs the model's single steps, see `Transitions`. A trace whose metrics look at costs needs a rollout every
    step, which the algorithm itself does not; `metrics=()` avoids it.

    The defaults are the paper's algorithm, gradient descent on sums of squares; it tunes the numbers for each
    environment and horizon. `GRASPSolver.author()` is the author's program. The reference's paper counts GRASP among
    its solvers, but the release has no code for it.

    Args:
        n_steps: Steps per solve.
        lr_s: Learning rate of the states.
        lr_a: Learning rate of the actions.
        state_noise: Standard deviation of the noise on states after every step, in latent units.
        init_noise: Standard deviation of the noise on the first states, which lie on the line from start to goal.
        goal_weight: Weight of the distance of every prediction to the goal.
        schedule_decay: Whether noise and goal weight fall linearly to their lowest values before every synchronisation.
        min_noise: Lowest noise of that schedule.
        min_goal_weight: Lowest weight of that schedule.
        sync_every: Steps from one synchronisation to the next; 0 for none.
        sync_steps: Steps of a synchronisation.
        sync_mode: 'gd': gradient steps on the distance of the last state of a rollout to the goal. 'cem': samples
            around the actions, wide where states are far from the rollout, refitted to the elites by cost.
        sync_lr: Learning rate of 'gd'.
        sync_samples: Candidates a step of 'cem'.
        sync_topk: Elites of 'cem', at most sync_samples.
        sync_scale: Variance of 'cem' per mean squared distance of a state to the rollout.
        sync_floor: Lowest variance of 'cem'.
        optimizer: 'sgd' as the paper, 'adam' as the author's program, or another name that `GradientSolver` takes;
            starts anew after a synchronisation.
        reduction: 'sum' as the paper, or 'mean' as the author's program, of squares over the entries of a latent.

    Raises:
        UserError: A hyperparameter is out of range; at the first trace, if single steps have no gradient.

    Source: Psenka et al. 2026, "GRASP", arXiv 2602.00475, and the author's program for LeWM.
    """

    takes = frozenset({"transitions"})
    num_samples = 1

    n_steps: int = 200
    lr_s: float = 0.1
    lr_a: float = 0.01
    state_noise: float = 0.01
    init_noise: float = 0.01
    goal_weight: float = 1.0
    schedule_decay: bool = False
    min_noise: float = 0.0
    min_goal_weight: float = 0.0
    sync_every: int = 50
    sync_steps: int = 10
    sync_mode: Literal["gd", "cem"] = "gd"
    sync_lr: float = 0.01
    sync_samples: int = 64
    sync_topk: int = 8
    sync_scale: float = 1.0
    sync_floor: float = 0.01
    optimizer: str = "sgd"
    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        check_integer("GRASPSolver.n_steps", self.n_steps, 1)
        check_integer("GRASPSolver.sync_every", self.sync_every, 0)
        check_integer("GRASPSolver.sync_steps", self.sync_steps, 1)
        check_integer("GRASPSolver.sync_samples", self.sync_samples, 1)
        check_integer("GRASPSolver.sync_topk", self.sync_topk, 1, self.sync_samples, "sync_samples")
        for field in dataclasses.fields(self):
            if field.type is float:
                check_nonnegative(f"GRASPSolver.{field.name}", getattr(self, field.name))
        check_choice("GRASPSolver.sync_mode", self.sync_mode, ("gd", "cem"))
        check_choice("GRASPSolver.optimizer", self.optimizer, tuple(OPTIMIZERS))
        check_choice("GRASPSolver.reduction", self.reduction, ("sum", "mean"))

    @classmethod
    def author(cls, **changes: Any) -> "GRASPSolver":
        """The author's program: Adam on means of squares, first states exactly on the line, stronger synchronisation.

        Its settings for PushT with LeWM are `author(n_steps=750, lr_a=0.005, state_noise=0.005)`, and with
        `sync_mode='cem', sync_steps=5` besides. With `schedule_decay=True` its noise starts at `state_noise=0.1`.

        Args:
            **changes: Other hyperparameters.
        """
        preset: dict[str, Any] = {"optimizer": "adam", "reduction": "mean", "init_noise": 0.0, "sync_lr": 0.05}
        return cls(**(preset | changes))

    def init(
        self,
        key: Key[Array, ""],
        space: Box,
        horizon: int,
        warm_start: Float[Array, "W A"] | None = None,
        carry: Any = None,
    ) -> GRASPState:
        """The actions before the first step; `prepare` adds the states."""
        start = nominal_actions(space, horizon, warm_start)
        actions = start.astype(cost_dtype(start.dtype))
        return GRASPState(
            key=key,
            step=jnp.zeros((), jnp.int32),
            start=start,
            actions=actions,
            states=jnp.zeros((0,), actions.dtype),
            optimizer=None,
        )

    def prepare(self, state: GRASPState, scorer: Scorer) -> GRASPState:
        """The state with latents on the line from start to goal."""
        task = _transitions(scorer)
        horizon, dtype = state.actions.shape[0], cost_dtype(task.start.dtype)
        share = (jnp.arange(1, horizon, dtype=dtype) / horizon).reshape(-1, *(1,) * task.start.ndim)
        states = share * task.goal.astype(dtype)[None] + (1 - share) * task.start.astype(dtype)[None]
        if self.init_noise > 0:
            states = states + self.init_noise * self.sample_noise(state.key, state.step, states.shape, dtype)
        return dataclasses.replace(state, states=states, optimizer=self._fresh(state.actions, states))

    def step(self, state: GRASPState, scorer: Scorer) -> tuple[GRASPState, StepRecord]:
        """One step on actions and states, and a synchronisation when it is time.

        The recorded gradient is that of the loss by the actions.
        """
        task = _transitions(scorer)
        noise, goal_weight = self._schedule(state.step, state.states.dtype)
        gradients, finite = self._gradients(state, task, goal_weight)
        before = state.actions, state.states
        moved = []
        for variable, gradient, optimizer, update in zip(
            before, gradients, state.optimizer, self._optimizers(), strict=True
        ):
            change, optimizer = update.update(gradient, optimizer, variable)
            moved.append((optax.apply_updates(variable, change), optimizer))
        (actions, of_actions), (states, of_states) = moved
        if self.state_noise > 0 or (self.schedule_decay and self.min_noise > 0):
            drawn = self.sample_noise(state.key, state.step + 1, states.shape, states.dtype)
            states = states + noise * drawn
        actions, states, optimizer = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (actions, states, (of_actions, of_states)),
            (*before, state.optimizer),
        )
        after = dataclasses.replace(state, actions=actions, states=states, optimizer=optimizer)
        if self.sync_every > 0:
            due = ((state.step + 1) % self.sync_every == 0) & (state.step > 0)
            after = jax.lax.cond(due, lambda plan: self._synchronised(plan, task, scorer), lambda plan: plan, after)
        record = StepRecord(
            candidates=state.actions.astype(state.start.dtype)[None],
            costs=finite_or_last(scorer(state.actions.astype(state.start.dtype)[None])),
            gradient=gradients[0][None],
            mean_before=state.actions,
            mean=after.actions,
        )
        return dataclasses.replace(after, step=state.step + 1), record

    def finish(self, state: GRASPState, scorer: Scorer) -> Plan:
        """The actions and their cost."""
        actions = state.actions.astype(state.start.dtype)
        cost = finite_or_last(scorer(actions[None]))[0].astype(state.actions.dtype)
        return Plan(actions=jnp.where(jnp.isfinite(cost), actions, state.start), cost=cost, status=status_of(cost))

    def _schedule(self, step: Int[Array, ""], dtype: Any) -> tuple[Any, Any]:
        """Noise and goal weight of a step."""
        if not self.schedule_decay:
            return self.state_noise, self.goal_weight
        period = self.sync_every or self.n_steps
        passed = (step % period).astype(dtype) / max(period - 1, 1)
        noise = self.state_noise + passed * (self.min_noise - self.state_noise)
        return noise, self.goal_weight + passed * (self.min_goal_weight - self.goal_weight)

    def _gradients(
        self, state: GRASPState, task: Transitions, goal_weight: Any
    ) -> tuple[tuple[Float[Array, "H A"], Float[Array, "S *D"]], Array]:
        """Gradients of the loss by actions and states, 0 unless all are finite, and whether they are."""
        dtype, goal = state.states.dtype, task.goal.astype(state.states.dtype)
        origins = jnp.concatenate([task.start[None], state.states.astype(task.start.dtype)])
        name = "predicted states"
        values, pullback = value_and_pullback(
            {name: lambda actions: task.predict(origins, actions[0])}, state.actions.astype(state.start.dtype)[None]
        )

        def loss(predicted: Array, states: Array) -> Array:
            targets = jnp.concatenate([states, goal[None]])
            return self._squares(predicted - targets) + goal_weight * self._squares(predicted - goal[None])

        value, (by_prediction, by_state) = jax.value_and_grad(loss, (0, 1))(values[name].astype(dtype), state.states)
        by_action = pullback({name: by_prediction.astype(values[name].dtype)})[0].astype(state.actions.dtype)
        finite = jnp.isfinite(value) & jnp.isfinite(by_action).all() & jnp.isfinite(by_state).all()
        return jax.tree.map(lambda gradient: jnp.where(finite, gradient, 0), (by_action, by_state)), finite

    def _squares(self, difference: Float[Array, "T *D"]) -> Float[Array, ""]:
        """Squares summed over time, and summed or averaged over the entries of a latent."""
        over_entries = jnp.sum if self.reduction == "sum" else jnp.mean
        return jnp.sum(over_entries(jnp.square(difference).reshape(difference.shape[0], -1), axis=1))

    def _synchronised(self, state: GRASPState, task: Transitions, scorer: Scorer) -> GRASPState:
        found = self._by_gradient(state, task) if self.sync_mode == "gd" else self._by_samples(state, task, scorer)
        actions = jnp.where(jnp.isfinite(found).all(), found, state.actions)
        return dataclasses.replace(state, actions=actions, optimizer=self._fresh(actions, state.states))

    def _by_gradient(self, state: GRASPState, task: Transitions) -> Float[Array, "H A"]:
        update = make_optimizer(self.optimizer, self.sync_lr)

        def distance(actions: Array) -> Array:
            reached = task.rollout(actions.astype(state.start.dtype)[None])[0, -1:]
            return self._squares((reached - task.goal[None]).astype(state.states.dtype))

        def advance(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
            actions, optimizer = carry
            change, optimizer = update.update(jax.grad(distance)(actions), optimizer, actions)
            return (optax.apply_updates(actions, change), optimizer), None

        (actions, _), _ = jax.lax.scan(advance, (state.actions, update.init(state.actions)), length=self.sync_steps)
        return actions

    def _by_samples(self, state: GRASPState, task: Transitions, scorer: Scorer) -> Float[Array, "H A"]:
        dtype = state.actions.dtype
        reached = task.rollout(state.actions.astype(state.start.dtype)[None])[0].astype(dtype)
        gaps = reached[:-1] - state.states if state.states.shape[0] else reached - task.goal.astype(dtype)[None]
        far = jnp.mean(jnp.square(gaps).reshape(gaps.shape[0], -1), axis=1)
        # No state is planned before the first action, which takes the mean.
        far = jnp.concatenate([jnp.mean(far, keepdims=True), far])[: state.actions.shape[0]]
        shape = (self.sync_steps, self.sync_samples, *state.actions.shape)
        noise = self.sample_noise(jax.random.fold_in(state.key, 0), state.step + 1, shape, dtype)

        def refit(carry: tuple[Array, Array], drawn: Array) -> tuple[tuple[Array, Array], None]:
            mean, variance = carry
            candidates = mean[None] + jnp.sqrt(variance)[None, :, None] * drawn
            costs = finite_or_last(scorer(candidates.astype(state.start.dtype)))
            elites = best(candidates, costs, self.sync_topk)
            fitted = elites.mean, jnp.mean(jnp.square(elites.std), axis=1) + self.sync_floor
            return jax.tree.map(lambda new, old: jnp.where(elites.found, new, old), fitted, carry), None

        first = state.actions, self.sync_scale * far + self.sync_floor
        return jax.lax.scan(refit, first, noise)[0][0]

    def _optimizers(self) -> tuple[optax.GradientTransformationExtraArgs, optax.GradientTransformationExtraArgs]:
        return make_optimizer(self.optimizer, self.lr_a), make_optimizer(self.optimizer, self.lr_s)

    def _fresh(self, actions: Float[Array, "H A"], states: Float[Array, "S *D"]) -> tuple[Any, Any]:
        of_actions, of_states = self._optimizers()
        return of_actions.init(actions), of_states.init(states)


def _transitions(scorer: Scorer) -> Transitions:
    assert scorer.transitions is not None
    return scorer.transitions
