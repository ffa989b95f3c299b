"""Every solver of continuous actions on the same PushT problems, planned through the environment's own physics.

    python examples/compare_solvers.py [--problems 8] [--figure compare_solvers.png]

One plan of 3 blocks of 5 actions a problem. Prints one table and draws one figure: how far the block and the agent are
from the goal after the plan was executed, against the seconds that planning took.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import envs_mjx
from swmjax.models import OracleModel
from swmjax.planning import SOLVERS, block_space, make_solver, solve_batch
from swmjax.world import draw_problem

BLOCK, HORIZON = 5, 3
SETTINGS = {
    "random": {"num_samples": 512},
    "predictive_sampling": {"num_samples": 512, "noise_scale": 0.5},
    "cem": {"num_samples": 64, "n_steps": 8, "topk": 8, "var_scale": 0.5},
    "icem": {"num_samples": 64, "n_steps": 8, "topk": 8, "var_scale": 0.5},
    "mppi": {"num_samples": 64, "n_steps": 8, "topk": 32, "var_scale": 0.5, "temperature": 0.05},
}
"""About 512 rollouts each; the gradient solvers need smooth contacts, and PushT's are not."""


def main() -> None:
    """Plan, execute, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=8, help="default 8")
    parser.add_argument("--figure", type=Path, default=Path("compare_solvers.png"), help="default compare_solvers.png")
    arguments = parser.parse_args()
    env = envs_mjx.make("swm/PushT-v1")
    oracle, space = OracleModel(env), block_space(env.action_space, BLOCK)
    states, _ = jax.jit(jax.vmap(partial(draw_problem, env, goal_offset=BLOCK * HORIZON)))(
        jnp.arange(arguments.problems)
    )

    def cost(state, actions):
        return oracle.cost_fn(state, env.planning_cost)(actions)

    @jax.jit
    def distances(states, actions):
        ends = jax.vmap(lambda state, plan: oracle.rollout(state, plan[None]))(states, actions)
        return jax.vmap(jax.vmap(env.distance))(ends)[:, 0], jax.vmap(jax.vmap(lambda end: end.terminated))(ends)[:, 0]

    table = Table(title=f"PushT physics, {arguments.problems} problems, one plan of {HORIZON} x {BLOCK} actions")
    for column in ("solver", "kind", "median distance px", "solved", "plan s", "compile s"):
        table.add_column(column, justify="left" if column in ("solver", "kind") else "right")
    points = {}
    for name, settings in SETTINGS.items():
        solver = make_solver(name, settings)
        run = jax.jit(lambda key, solver=solver: solve_batch(solver, cost, states, space, key, HORIZON).actions)
        started = time.perf_counter()
        program = run.lower(jax.random.key(0)).compile()
        compiled = time.perf_counter() - started
        started = time.perf_counter()
        actions = jax.block_until_ready(program(jax.random.key(0)))
        seconds = time.perf_counter() - started
        left, solved = map(np.asarray, distances(states, actions))
        points[name] = seconds, left
        table.add_row(
            name, SOLVERS[name].kind, f"{np.median(left):.1f}", f"{solved.sum()} of {solved.size}",
            f"{seconds:.2f}", f"{compiled:.1f}",
        )  # fmt: skip
    Console().print(table)
    draw(points, np.asarray(jax.vmap(env.distance)(states)), arguments.figure)
    print(f"Figure: {arguments.figure}")


def draw(points: dict[str, tuple[float, np.ndarray]], before: np.ndarray, file: Path) -> None:
    """Remaining distance of every problem against planning time, one colour a solver."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, (seconds, left) in points.items():
        axis.scatter(np.full(left.size, seconds), left, s=14, label=name)
    axis.axhline(np.median(before), color="grey", linewidth=1, linestyle=":", label="before (median)")
    axis.set_xlabel("planning, s for all problems")
    axis.set_ylabel("distance from the goal after the plan, px")
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(file)


if __name__ == "__main__":
    main()
