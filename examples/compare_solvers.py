"""Every solver on the same PushT problems, planned through the environment's own physics.

    python examples/compare_solvers.py [--problems 8] [--solvers cem,mppi] [--figure compare_solvers.png]

One plan of 3 blocks of 5 actions a problem, 512 rollouts a plan (gradients count as one each). Prints one table and
draws one figure: how far block and agent are from the goal after the plan was executed, against the seconds that
planning took. Discrete solvers choose among eight directions and rest. Composite and ask/tell solvers are made of
others: see `composite.py` and `evolution.py`. Compiling takes most of the time, up to a minute a solver on two cores.

By default without the solvers that follow gradients (gradient, lagrangian, pgd, grasp): their gradients pass through
every substep of the contacts, which takes minutes a solver on a CPU, and far from the block none reaches its pose.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Discrete
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs_mjx
from swmjax.models import OracleModel
from swmjax.planning import SOLVERS, Transitions, block_space, make_solver, one_hot, solve_batch
from swmjax.planning.host import HostSolver
from swmjax.world import draw_problem

BLOCK, HORIZON = 5, 3
ENV = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
ORACLE, SPACE = OracleModel(ENV), block_space(ENV.action_space, BLOCK)
SMOOTH = OracleModel(envs_mjx.make("swm/PushT-v1", agent_shapes="circle", differentiable=True))
"""The same physics in loops that gradients pass through; slower."""
ANGLES = np.arange(8) * np.pi / 4
MOVES = np.concatenate([np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), np.zeros((1, 2))]).astype(np.float32)
MOVES_SPACE = block_space(Discrete(len(MOVES)), BLOCK)
SETTINGS = {
    "random": {"num_samples": 512},
    "predictive_sampling": {"num_samples": 512, "noise_scale": 0.5},
    "cem": {"num_samples": 64, "n_steps": 8, "topk": 8, "var_scale": 0.5},
    "icem": {"num_samples": 64, "n_steps": 8, "topk": 8, "var_scale": 0.5},
    "mppi": {"num_samples": 64, "n_steps": 8, "topk": 32, "var_scale": 0.5, "temperature": 0.05},
    "evosax": {"num_samples": 64, "n_steps": 8, "var_scale": 0.5},
    "nevergrad": {"num_samples": 64, "n_steps": 8},
    "categorical_cem": {"num_samples": 64, "n_steps": 8, "topk": 8},
    "gradient": {"num_samples": 16, "n_steps": 32, "var_scale": 0.5},
    "lagrangian": {"num_samples": 16, "n_inner_steps": 8, "n_outer_steps": 4, "var_scale": 0.5},
    "pgd": {"num_samples": 16, "n_steps": 32, "var_scale": 0.3},
    "grasp": {"n_steps": 64, "sync_every": 32, "optimizer": "adam", "state_noise": 0.5},
}
FOLLOW_GRADIENTS = ("gradient", "lagrangian", "pgd", "grasp")


def cost(state, actions, oracle=ORACLE):
    """Distance after the candidates [N, H, BLOCK * 2] of one problem."""
    return oracle.cost_fn(state, ENV.planning_cost)(actions)


def moves_cost(state, choices, oracle=ORACLE):
    """`cost` of one-hot choices among the moves, or of mixtures of them."""
    return cost(state, to_actions(choices), oracle)


def to_actions(choices):
    """Actions [N, H, BLOCK * 2] of one-hot choices [N, H, BLOCK * 9]."""
    moves = choices.reshape(*choices.shape[:2], BLOCK, len(MOVES)) @ jnp.asarray(MOVES)
    return moves.reshape(*choices.shape[:2], -1)


def in_bounds(state, actions):
    """At most 0 where every action lies in [-1, 1]."""
    return jnp.abs(actions).max(axis=(1, 2))[:, None] - 1.0


def transitions(state):
    """One block of actions as a step between state vectors, for GRASP; contacts start anew with every block."""

    def predict(vectors, actions):
        starts = jax.vmap(ENV.set_state, in_axes=(None, 0))(state, vectors)
        ends = jax.vmap(lambda start, block: SMOOTH.rollout(start, block[None, None]))(starts, actions)
        return ends.obs["state"][:, 0]

    def rollout(candidates):
        def step(now, block):
            after = jax.vmap(lambda one, actions: SMOOTH.rollout(one, actions[None, None]))(now, block)
            after = jax.tree.map(lambda leaf: leaf[:, 0], after)
            return after, after.obs["state"]

        start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(candidates), *leaf.shape)), state)
        return jnp.moveaxis(jax.lax.scan(step, start, jnp.moveaxis(candidates, 1, 0))[1], 0, 1)

    return Transitions(state.obs["state"], state.goal, predict, rollout)


def planner(name):
    """From the problems and a key to the actions [B, H, BLOCK * 2] that a solver plans."""
    solver, discrete = make_solver(name, SETTINGS[name]), SOLVERS[name].actions == "discrete"
    space = MOVES_SPACE if discrete else SPACE
    cost_fn = moves_cost if discrete else cost
    if name in FOLLOW_GRADIENTS:
        cost_fn = partial(cost_fn, oracle=SMOOTH)
    problem = {"transitions": transitions, "constraint_fn": in_bounds if name == "lagrangian" else None}

    def plan(states, key):
        actions = solve_batch(solver, cost_fn, states, space, key, HORIZON, **problem).actions
        return to_actions(one_hot(actions, space)) if discrete else actions

    return plan if isinstance(solver, HostSolver) else jax.jit(plan)


def main() -> None:
    """Plan, execute, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=8, help="default 8")
    usual = ",".join(name for name in SETTINGS if name not in FOLLOW_GRADIENTS)
    parser.add_argument("--solvers", default=usual, help=f"among {', '.join(SETTINGS)}; default {usual}")
    parser.add_argument("--figure", type=Path, default=Path("compare_solvers.png"), help="default compare_solvers.png")
    arguments = parser.parse_args()
    names = arguments.solvers.split(",")
    if unknown := set(names) - set(SETTINGS):
        parser.error(f"--solvers: unknown {', '.join(sorted(unknown))}; known are {', '.join(SETTINGS)}")
    if arguments.problems < 1:
        parser.error(f"--problems must be at least 1, got {arguments.problems}")

    seeds = jnp.arange(arguments.problems)
    states, _ = jax.jit(jax.vmap(partial(draw_problem, ENV, goal_offset=BLOCK * HORIZON)))(seeds)

    @jax.jit
    def execute(states, actions):
        # Actions are clipped as the environment's users do.
        ends = jax.vmap(lambda state, plan: ORACLE.rollout(state, plan[None]))(states, jnp.clip(actions, -1.0, 1.0))
        return jax.vmap(jax.vmap(ENV.distance))(ends)[:, 0], ends.terminated[:, 0]

    columns = [("solver", "left"), ("actions", "left"), ("distance px", "right"), ("solved", "right"),
               ("plan s", "right"), ("first s", "right")]  # fmt: skip
    table = Table(title=f"PushT physics, {len(seeds)} problems, one plan of {HORIZON} x {BLOCK} actions each")
    for column, side in columns:
        table.add_column(column, justify=side, no_wrap=True)
    points = {}
    for name in track(names, "Planning"):
        try:
            plan = planner(name)
        except ValueError as error:
            print(f"{name} left out: {error}")
            continue
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            actions = jax.block_until_ready(plan(states, jax.random.key(0)))
            seconds.append(time.perf_counter() - started)
        left, solved = map(np.asarray, execute(states, actions))
        points[name] = seconds[1], left
        table.add_row(
            name, SOLVERS[name].actions, f"{np.median(left):.1f}", f"{solved.sum()} of {solved.size}",
            f"{seconds[1]:.2f}", f"{seconds[0]:.1f}",
        )  # fmt: skip
    Console().print(table)
    draw(points, np.asarray(jax.vmap(ENV.distance)(states)), arguments.figure)
    print(f"Distance: median over the problems after the plan. Figure: {arguments.figure}")


def draw(points: dict[str, tuple[float, np.ndarray]], before: np.ndarray, file: Path) -> None:
    """Remaining distance of every problem against planning time, one colour a solver."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for index, (name, (seconds, left)) in enumerate(points.items()):
        axis.scatter(np.full(left.size, seconds), left, s=14, color=f"C{index % 10}", label=name,
                     marker="o" if index < 10 else "^")  # fmt: skip
    axis.axhline(np.median(before), color="grey", linewidth=1, linestyle=":", label="before (median)")
    axis.set_xscale("log")
    axis.set_xlabel("planning, s for all problems")
    axis.set_ylabel("distance from the goal after the plan, px")
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    figure.savefig(file)


if __name__ == "__main__":
    main()
