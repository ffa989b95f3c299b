"""The closed loop of a task of `physics.py`: plan, act and step, with any of the solvers."""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from physics_tasks import OBJECTIVES, Bench

from swmjax.models import OracleModel
from swmjax.policies import PhysicsPolicy, Start, rollout
from swmjax.runs.watched import Watched


@dataclass
class Played:
    """An episode.

    Attributes:
        program: What it was played with.
        rewards: Of its planner steps, in pieces [T].
        costs: What the planner minimises, of the same steps.
        states: After the same steps, a batch of one each.
        seconds: Of each piece.
        plan_seconds: Of a plan, in each piece that has one.
        plans: How many there were.
        diverged: Whether the physics did.
    """

    program: "Program"
    rewards: list[np.ndarray] = field(default_factory=list)
    costs: list[np.ndarray] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    plan_seconds: list[float] = field(default_factory=list)
    plans: int = 0
    diverged: bool = False

    @property
    def score(self) -> float:
        """Sum of the rewards."""
        return float(np.concatenate(self.rewards).sum())

    def figures(self) -> dict[str, Any]:
        """What is kept of it."""
        program, plan, run_s = self.program, self.program.settings.plan, sum(self.seconds)
        candidates = program.ahead.n_steps * program.ahead.num_samples * self.plans
        taken = program.env.taken
        return {
            "score": self.score,
            "cost": float(np.concatenate(self.costs).mean()),
            "diverged": self.diverged,
            "physics": [taken.name, taken.why],
            "compile_s": program.compile_s,
            "run_s": run_s,
            "plan_ms": 1e3 * statistics.median(self.plan_seconds),
            "model_steps_per_s": candidates * plan.horizon * plan.action_block * program.settings.hold / run_s,
        }


class Program:
    """The closed loop of a task, compiled once: some steps a call.

    Args:
        bench: All settings.
        cell: Those of one of the cells; of them, `task` and `steps` matter.
        run: Stops when it is asked to.
    """

    def __init__(self, bench: Bench, cell: dict[str, Any], run: Watched) -> None:
        self.task, self.steps, self.solvers, self._run = cell["task"], cell["steps"], list(bench.solvers), run
        self.settings = bench.tasks[self.task]
        self.ahead = bench.make_solver(self.task, 0).solvers[0]
        hold = self.settings.hold
        self.per_call = math.gcd(self.steps // hold, max(bench.chunk // hold, 1))
        env, model = self.settings.make_envs(bench.impl)
        self.env = env.env
        objective, terminal = OBJECTIVES[self.settings.objective], self.settings.terminal
        final = (lambda state: terminal * objective(state)) if terminal else None
        plan = self.settings.plan

        def policy(index: Any) -> PhysicsPolicy:
            return PhysicsPolicy(OracleModel(model), bench.make_solver(self.task, index), plan, final, objective)

        def seen(states: Any, memory: Any) -> Any:
            return states.reward, jax.vmap(objective)(states), memory.position == 1, states

        def advance(index: Any, states: Any, memory: Any, seeds: Any) -> Any:
            start = Start(states=states, seeds=seeds, carry=memory)
            played = rollout(env, policy(index), start, self.per_call, keep=seen)
            return played.states, played.carry, jax.tree.map(lambda leaf: leaf[1:], played.kept)

        @jax.jit
        def begin(seeds: Any) -> Any:
            states = jax.vmap(lambda seed: self.env.reset(jax.random.key(seed)))(seeds)
            return states, policy(0).init(seeds, {"env_state": states})

        self._begin = begin
        seeds = jnp.zeros(1, jnp.int32)
        start = time.perf_counter()
        example = jnp.asarray(0), *begin(seeds), seeds
        self._advance, _ = run.compile(f"{self.task}: compiling", advance, *example)
        self.compile_s = time.perf_counter() - start

    def play(self, solver: str, seed: int, label: str) -> Played:
        """Play an episode.

        Args:
            solver: Name of the one that plans.
            seed: Of the episode.
            label: What to put before the signs of life.

        Raises:
            Stopped: The run was asked to stop.
        """
        index, seeds, hold = jnp.asarray(self.solvers.index(solver)), jnp.asarray([seed], jnp.int32), self.settings.hold
        states, memory = self._begin(seeds)
        played = Played(self)
        while (count := len(played.rewards) * self.per_call * hold) < self.steps:
            clock = time.perf_counter()
            states, memory, kept = self._run.finish(self._advance, index, states, memory, seeds)
            played.seconds.append(time.perf_counter() - clock)
            reward, cost, planned, seen = kept
            played.rewards.append(np.asarray(reward[:, 0]))
            played.costs.append(np.asarray(cost[:, 0]))
            played.states.append(seen)
            if plans := int(planned[:, 0].sum()):
                played.plan_seconds.append(played.seconds[-1] / plans)
            count += self.per_call * hold
            seconds = sum(played.seconds)
            left = seconds / count * (self.steps - count)
            shown = f"score {played.score:.0f}, {count / seconds:.1f} steps/s, {left:.0f} s left"
            self._run.show(f"{label} {self.task} {solver} seed {seed}: step {count}/{self.steps}, {shown}")
            self._run.leave_if_asked()
        played.plans = int(memory.plans.sum())
        played.diverged = bool(states.info["diverged"].any())
        return played
