"""What a solver is: hyperparameters, what it asks of a problem, and pure functions from one state to the next."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from envs_mjx.checks import UserError, check_integer
from swmjax.planning.metrics import Metric, trace_row
from swmjax.planning.scoring import PROBLEMS, BatchScorer, Scorer
from swmjax.planning.types import Plan, Problem, StepRecord

Listener = Callable[[Any, dict[str, Any]], None]
"""Called on the host with the number of the step and the metrics of that step, as NumPy arrays."""


class Solver(ABC):
    """A planning algorithm: a frozen dataclass of hyperparameters, with pure functions that the driver calls.

    A solve is `init`, `prepare`, `n_steps` times `step`, `finish`. States are pytrees.

    Attributes:
        actions: What it plans: 'box' (of one axis), 'discrete' (`Discrete` or `MultiDiscrete`), or a 'dict' of these.
        takes: What it takes besides costs: 'constraints' or 'carry', which a solve may give, 'transitions', which it
            must give.
        from_settings: Whether names and numbers describe it fully; other solvers are made of objects.
        n_steps: Steps of a solve; a field or a property of the subclass.
        num_samples: Candidates of a step, likewise.
    """

    actions: ClassVar[Literal["box", "discrete", "dict"]] = "box"
    takes: ClassVar[frozenset[str]] = frozenset()
    from_settings: ClassVar[bool] = True

    n_steps: int
    num_samples: int

    @abstractmethod
    def init(self, key: Key[Array, ""], space: Any, horizon: int, warm_start: Any = None, carry: Any = None) -> Any:
        """The state before the first step.

        Args:
            key: Typed key of this problem.
            space: Action space of one planner step, of the kind that `actions` names.
            horizon: H, planner steps.
            warm_start: The first W <= H actions to start from; zeros follow.
            carry: `Plan.carry` of the solve before of the same problem, if the solver takes it.

        Returns:
            The state; the dtype of its actions is that of the warm start, or of the space.

        Raises:
            UserError: Space, horizon or warm start do not fit.
        """

    def prepare(self, state: Any, scorer: Scorer) -> Any:
        """The state completed by what depends on the cost function: the number of constraints, the size of a latent."""
        return state

    @abstractmethod
    def step(self, state: Any, scorer: Scorer) -> tuple[Any, StepRecord]:
        """One step.

        Args:
            state: The state before.
            scorer: Scores candidates; has constraints and transitions where the problem does.

        Returns:
            The state after, and what was seen on the way.
        """

    @abstractmethod
    def finish(self, state: Any, scorer: Scorer) -> Plan:
        """The plan of the state after the last step."""

    def sample_noise(
        self, key: Key[Array, ""], step: Int[Array, ""], shape: tuple[int, ...], dtype: jax.typing.DTypeLike
    ) -> Float[Array, "..."]:
        """Standard normal noise of one step: the only random draw of a solver, so that tests can put in recorded noise.

        Args:
            key: Key of the problem.
            step: Number of the step, from 0.
            shape: Shape of the noise, [N, H, A] where a docstring of the solver says nothing else.
            dtype: Type of the noise.

        Returns:
            Noise of that shape.
        """
        return jax.random.normal(jax.random.fold_in(key, step), shape, dtype)

    def run(
        self,
        scorer: Scorer,
        space: Any,
        key: Key[Array, ""],
        horizon: int,
        warm_start: Any = None,
        carry: Any = None,
        metrics: tuple[Metric, ...] = (),
        on_step: Listener | None = None,
    ) -> Plan:
        """A whole solve of one problem, one compiled loop; `solve` calls it and says what the arguments are."""

        def advance(state: Any, number: Array) -> tuple[Any, dict[str, Array]]:
            state, record = self.step(state, scorer)
            row = trace_row(metrics, record)
            if on_step is not None:
                jax.debug.callback(on_step, number, row)
            return state, row

        state = self.prepare(self.init(key, space, horizon, warm_start, carry), scorer)
        state, trace = jax.lax.scan(advance, state, jnp.arange(self.n_steps))
        return self.finish(state, scorer).replace(trace=trace)

    def run_batch(
        self,
        scorer: BatchScorer,
        problems: Problem,
        space: Any,
        keys: Key[Array, " B"],
        horizon: int,
        warm_start: Any = None,
        carry: Any = None,
        metrics: tuple[Metric, ...] = (),
        on_step: Listener | None = None,
        batch_size: int | None = None,
    ) -> Plan:
        """A whole solve of B problems, one program; `solve_batch` calls it and says what the arguments are."""

        def one(problem: Problem, key: Array, warm_start: Any, carry: Any) -> Plan:
            return self.run(scorer.of(problem), space, key, horizon, warm_start, carry, metrics, on_step)

        arguments = problems, keys, warm_start, carry
        axis, mesh = None, scorer.mesh
        if mesh is not None and PROBLEMS in mesh.axis_names:
            _check_shares(keys.shape[0], mesh.shape[PROBLEMS], batch_size)
            arguments = jax.lax.with_sharding_constraint(arguments, NamedSharding(mesh, PartitionSpec(PROBLEMS)))
            axis = PROBLEMS
        if batch_size is None:
            return jax.vmap(one, spmd_axis_name=axis)(*arguments)
        check_integer("batch_size", batch_size, 1)
        return jax.lax.map(lambda row: one(*row), arguments, batch_size=batch_size)


def _check_shares(count: int, devices: int, batch_size: int | None) -> None:
    """Refuse problems that a mesh cannot share among its devices."""
    if batch_size is not None:
        raise UserError("batch_size cannot be combined with a mesh that shares the problems among devices")
    if count % devices:
        raise UserError(
            f"the number of problems must be a multiple of the {devices} devices that share them, got {count}"
        )
