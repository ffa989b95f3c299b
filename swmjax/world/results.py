"""What an evaluation comes to: its figures, and in words what they do not tell."""

import platform
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import swmjax
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.statistics import mean_interval, wilson_interval

Row = dict[str, Any]


def results_of(config: EvalConfig, rows: Sequence[Row], notes: Sequence[str], complete: bool) -> dict[str, Any]:
    """The content of `results.json`, times apart.

    Args:
        config: Settings.
        rows: Rows of the episodes that were played.
        notes: What the user was told before.
        complete: Whether these are all.
    """
    counted = [row for row in rows if not (config.skip_solved and row["solved_at_start"])]
    judged = [row["success"] for row in counted if row["success"] is not None]
    distances = [row["final_distance"] for row in counted if row["final_distance"] is not None]
    returns = [row["return"] for row in counted if row["return"] is not None]
    plans, failed = (_sum(rows, name) for name in ("plans", "failed_plans"))
    return {
        "env": config.env,
        "model": config.model,
        "solver": config.solver["name"],
        "protocol": config.protocol_name,
        "variation": config.variation,
        "values": config.values,
        "episodes": len(rows),
        "complete": complete,
        "counted": len(counted),
        "solved_at_start": _sum(rows, "solved_at_start"),
        "successes": sum(judged) if judged else None,
        "success_rate": sum(judged) / len(judged) if judged else None,
        "success_interval_95": list(wilson_interval(sum(judged), len(judged))) if judged else None,
        "mean_final_distance": float(np.mean(distances)) if distances else None,
        "mean_return": float(np.mean(returns)) if returns else None,
        "return_interval_95": list(mean_interval(returns)) if len(returns) > 1 and np.isfinite(returns).all() else None,
        "plans": plans,
        "failed_plans": failed,
        "notes": [*notes, *_remarks(config, rows, len(counted), plans, failed)],
        "device": jax.devices()[0].device_kind,
        "dtype": str(jnp.result_type(float)),
        "versions": {"swmjax": swmjax.__version__, "jax": jax.__version__, "python": platform.python_version()},
    }


def every_plan_failed(results: dict[str, Any]) -> bool:
    """Whether the planner never had anything to go by, so that the other figures tell nothing of the model."""
    return bool(results["plans"]) and results["failed_plans"] == results["plans"]


def _sum(rows: Sequence[Row], name: str) -> int:
    # Rows of earlier releases do not tell.
    return sum(row[name] or 0 for row in rows)


def _remarks(config: EvalConfig, rows: Sequence[Row], counted: int, plans: int, failed: int) -> list[str]:
    remarks = []
    solved = _sum(rows, "solved_at_start")
    if solved:
        left = "are left out" if config.skip_solved else "count as successes; --skip-solved leaves them out"
        remarks.append(f"{solved} of {len(rows)} problems are solved at the start and {left}")
    if rows and not counted:
        remarks.append("nothing is left to count")
    if failed:
        remarks.append(
            f"{failed} of {plans} plans failed: no candidate had a finite cost, and the plan before "
            "went on, or nothing was done"
        )
    if config.protocol_name == "episodic" and rows and not any(row["return"] for row in rows):
        reach = config.plan.horizon * config.plan.action_block
        remarks.append(f"every episode returned 0: plans, which look {reach} steps ahead, came upon no reward")
    if any(row["success"] is None for row in rows):
        cut = sum(row["ended"] is False for row in rows)
        if cut:
            remarks.append(f"{cut} of {len(rows)} episodes were cut by the budget of {config.budget} steps")
    return remarks


def speed_of(config: EvalConfig, fresh: Sequence[Row], plans: int, compile_s: float, run_s: float) -> dict[str, Any]:
    """Figures of the episodes that a run added.

    Args:
        config: Settings.
        fresh: Their rows.
        plans: Plans that were made for them.
        compile_s: Time of compiling, s.
        run_s: Time of playing, s.
    """
    solver = config.make_solver()
    candidates = plans * solver.num_samples * solver.n_steps
    executed = sum(row["steps"] for row in fresh)
    simulated = candidates * config.plan.horizon * config.plan.action_block if config.model == ORACLE else 0

    def rate(count: int) -> float | None:
        return count / run_s if fresh and run_s > 0.0 else None

    return {
        "candidates": solver.num_samples,
        "iterations": solver.n_steps,
        "model_steps": candidates * config.plan.horizon,
        "compile_s": {"episodes": compile_s},
        "run_s": run_s,
        "candidates_per_s": rate(candidates),
        "env_steps_per_s": rate(executed + simulated),
        "executed_env_steps_per_s": rate(executed),
    }
