"""Metrics of solver steps, their pictures, and listeners."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box
from planning.recorded_costs import wavy

from swmjax.planning import BestCost, CEMSolver, StepRecord, solve, solve_batch
from swmjax.planning.memory import auto_chunk, check_memory
from swmjax.planning.metrics import (
    ActionNorm,
    Cloud,
    EliteCost,
    EliteSpread,
    GradNorm,
    MeanCost,
    MeanShift,
    NonFinite,
    VarNorm,
)

SPACE = Box(-1.0, 1.0, (2,), np.float32)
TARGET = jnp.linspace(-0.5, 0.5, 6).reshape(3, 2)
SOLVER = CEMSolver(num_samples=24, n_steps=4, topk=4)


def record():
    random = np.random.default_rng(0)
    candidates, gradient = random.normal(size=(2, 5, 3, 2)).astype(np.float32)
    mean_before, mean, std = random.normal(size=(3, 3, 2)).astype(np.float32)
    return StepRecord(
        candidates=jnp.asarray(candidates),
        costs=jnp.asarray([3.0, 1.0, jnp.inf, 2.0, 6.0]),
        elites=jnp.asarray([1, 3, 2]),
        mean_before=jnp.asarray(mean_before),
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
        gradient=jnp.asarray(gradient),
    )


def test_each_metric_is_what_its_name_says():
    r = record()
    candidates, gradient = np.asarray(r.candidates), np.asarray(r.gradient)
    expected = {
        BestCost(): 1.0,
        MeanCost(): 3.0,
        EliteCost(): 1.5,
        EliteCost(statistic="min"): 1.0,
        EliteCost(statistic="max"): 2.0,
        NonFinite(): 1,
        VarNorm(): np.mean(r.std),
        MeanShift(): np.linalg.norm(r.mean - r.mean_before),
        EliteSpread(): candidates[[1, 3, 2]].std(0, ddof=1).mean(),
        GradNorm(): np.linalg.norm(gradient.reshape(5, -1), axis=1).mean(),
        GradNorm(per_step=True): np.linalg.norm(gradient, axis=-1).mean(0),
        ActionNorm(): np.linalg.norm(candidates.reshape(5, -1), axis=1).mean(),
        Cloud(count=2): candidates[:2, 0],
    }
    for metric, value in expected.items():
        np.testing.assert_allclose(metric(r), value, rtol=1e-6, err_msg=metric.name)


def test_nothing_finite_counts_as_infinite():
    r = record().replace(costs=jnp.full(5, jnp.inf))
    for metric in (BestCost(), MeanCost(), EliteCost(), EliteCost(statistic="max")):
        assert metric(r) == jnp.inf


def test_the_trace_has_what_was_asked_for():
    metrics = (BestCost(), MeanCost(), EliteCost(statistic="max"), MeanShift(), VarNorm(), EliteSpread(), Cloud())
    plan = solve(SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3, metrics=metrics)
    assert set(plan.trace) == {metric.name for metric in metrics}
    assert plan.trace["cloud"].shape == (4, 24, 2)
    assert np.all(np.diff(plan.trace["var_norm"]) < 0)
    assert np.all(plan.trace["best_cost"] <= plan.trace["mean_cost"])


def test_wrong_metrics_are_refused():
    run = partial(solve, SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3)
    with pytest.raises(ValueError, match="GradNorm needs a solver that has gradients"):
        run(metrics=(GradNorm(),))
    with pytest.raises(ValueError, match="different names"):
        run(metrics=(BestCost(), BestCost()))
    with pytest.raises(ValueError, match="Cloud.count must be at least 1, got 0"):
        Cloud(count=0)


def test_a_listener_hears_every_step():
    heard = {}

    def listen(step, row):
        heard[int(step)] = float(row["best_cost"])

    plan = jax.jit(lambda: solve(SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3, on_step=listen))()
    jax.effects_barrier()
    np.testing.assert_allclose([heard[step] for step in range(4)], plan.trace["best_cost"])


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    metrics = (BestCost(), EliteCost(), VarNorm(), Cloud(count=8))
    plan = solve(SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3, metrics=metrics)
    figure = plan.plot(tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 5000
    costs, spread, cloud, _ = figure.axes
    assert [line.get_label() for line in costs.lines] == ["best cost", "elite cost"]
    np.testing.assert_allclose(spread.lines[0].get_ydata(), plan.trace["var_norm"])
    assert len(cloud.collections[0].get_offsets()) == 4 * 8
    (whole,) = plan.replace(trace={"best_cost": plan.trace["best_cost"], "non_finite": jnp.zeros(4, int)}).plot().axes
    assert [line.get_label() for line in whole.lines] == ["best cost"]
    assert whole.get_title() == "non finite 0 in every step"
    (only,) = plan.replace(trace={"non_finite": jnp.zeros(4, int)}).plot().axes
    assert only.get_ylabel() == "non finite"
    batch = solve_batch(SOLVER, wavy, TARGET[None], SPACE, jax.random.key(0), 3)
    with pytest.raises(ValueError, match=r"draws one plan, got a batch of shape \[1\]"):
        batch.plot()
    with pytest.raises(ValueError, match="no trace"):
        plan.replace(trace={}).plot()


def test_populations_that_cannot_fit_are_refused():
    looked = []

    def problem():
        looked.append(1)
        return {"state": jax.ShapeDtypeStruct((250,), jnp.float32)}

    check = partial(check_memory, space=SPACE, horizon=3, problems=10, problem=problem, memory_bytes=10**9)
    check(CEMSolver(num_samples=4_000))
    assert not looked
    # 24 bytes of actions and 1,000 of the state, for each of ten problems.
    check(CEMSolver(num_samples=97_000))
    assert looked == [1]
    message = "solver.num_samples: 98000 candidates for each of 10 problems need at least 1.0 GB .* there are 1.0 GB"
    with pytest.raises(ValueError, match=message):
        check(CEMSolver(num_samples=98_000))
    with pytest.raises(ValueError, match=r"need at least 24,000,000,000.0 GB of memory, but there are \d"):
        check_memory(CEMSolver(num_samples=10**18), SPACE, 3)


def test_the_chunk_follows_the_memory():
    def cost(actions):
        # Every candidate needs 64 kB.
        wide = jnp.sin(actions.reshape(actions.shape[0], -1, 1) * jnp.arange(16384.0)[None, None])
        return jnp.sum(jnp.sort(wide[:, 0]), axis=1)

    chunk = partial(auto_chunk, cost, SPACE, 3, 100_000)
    few, many = chunk(memory_bytes=2**26), chunk(memory_bytes=2**29)
    assert 100 < few < 600
    assert 7 * few < many < 9 * few
    assert chunk(memory_bytes=1) == 1
    assert auto_chunk(cost, SPACE, 3, 50) == 50
    with pytest.raises(ValueError, match="fraction must be above 0"):
        chunk(fraction=0.0)
