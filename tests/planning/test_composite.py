"""Solvers of the parts of a Dict action space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from planning.recorded_costs import discrete, quad

from swmjax.planning import (
    CategoricalCEMSolver,
    CEMSolver,
    CompositeSolver,
    ICEMSolver,
    Status,
    block_space,
    make_solver,
    one_hot,
    solve,
    solve_batch,
)
from swmjax.planning.metrics import NonFinite, VarNorm

SPACE = Dict({"arm": Box(-1.0, 1.0, (2,), np.float32), "grip": Discrete(3)})
TARGETS = jnp.asarray([[[0.5, 0.5]] * 3, [[-0.5, 0.1]] * 3, [[0.2, -0.9]] * 3])
ARM = CEMSolver(num_samples=200, n_steps=12, topk=20)
GRIP = CategoricalCEMSolver(num_samples=200, n_steps=12, topk=20, smoothing=0.02)
SOLVER = CompositeSolver({"arm": ARM, "grip": GRIP})


def cost(candidates):
    """The arm's target depends on the grip: neither part can be planned alone."""
    near = jnp.stack([quad(target, candidates["arm"]) for target in TARGETS], axis=-1)
    grip = jnp.mean(candidates["grip"], axis=1)
    return jnp.sum(grip * (near + jnp.asarray([2.0, 0.0, 1.0])[None]), axis=-1)


def test_parts_are_planned_together():
    plan = solve(SOLVER, cost, SPACE, jax.random.key(0), 3)
    assert plan.status == Status.OK
    np.testing.assert_array_equal(plan.actions["grip"], [[1]] * 3)
    np.testing.assert_allclose(plan.actions["arm"], TARGETS[1], atol=0.1)
    assert plan.trace["best_cost"].shape == (12,)


def test_one_call_scores_one_dict_of_candidates():
    shapes = []

    def seen(candidates):
        shapes.append(jax.tree.map(jnp.shape, candidates))
        return cost(candidates)

    jax.jit(lambda key: solve(SOLVER, seen, SPACE, key, 3))(jax.random.key(0))
    assert shapes == [{"arm": (200, 3, 2), "grip": (200, 3, 3)}]


def test_a_part_that_does_not_matter_leaves_the_other_as_if_alone():
    target = TARGETS[0]
    joint = solve(SOLVER, lambda c: quad(target, c["arm"]), SPACE, jax.random.key(5), 3)
    alone = solve(ARM, lambda a: quad(target, a), SPACE["arm"], jax.random.fold_in(jax.random.key(5), 0), 3)
    np.testing.assert_allclose(joint.actions["arm"], alone.actions, atol=1e-6)
    np.testing.assert_allclose(joint.cost, alone.cost, rtol=1e-5)


def test_chunks_blocks_nesting_and_batches():
    space = Dict({"body": SPACE, "mode": MultiDiscrete([2, 2])})
    blocked = block_space(space, 2)
    solver = CompositeSolver((("body", SOLVER), ("mode", GRIP)))

    def nested(weights, candidates):
        body = candidates["body"]
        return quad(jnp.full((3, 4), 0.3), body["arm"]) + discrete(weights, candidates["mode"]) + body["grip"][:, 0, 0]

    weights = jnp.asarray(np.random.default_rng(0).permuted(np.tile([0.0, 1.0], (2, 3, 4, 1)), axis=-1), jnp.float32)
    best = jnp.argmin(weights, axis=-1)
    weights = weights.reshape(2, 3, 8)
    plans = solve_batch(solver, nested, weights, blocked, jax.random.key(0), 3, candidate_chunk=80)
    assert plans.actions["body"]["arm"].shape == (2, 3, 4)
    assert plans.actions["body"]["grip"].shape == (2, 3, 2)
    np.testing.assert_array_equal(plans.actions["mode"], best)


def test_nothing_finite_returns_the_warm_starts():
    start = {"arm": jnp.full((2, 2), 0.3), "grip": jnp.asarray([[2]])}
    plan = solve(SOLVER, lambda c: jnp.full(200, jnp.nan), SPACE, jax.random.key(0), 3, start, metrics=(NonFinite(),))
    assert plan.status == Status.NO_FINITE_COST
    np.testing.assert_allclose(plan.actions["arm"], [[0.3, 0.3], [0.3, 0.3], [0, 0]])
    np.testing.assert_array_equal(plan.actions["grip"], [[2], [0], [0]])
    np.testing.assert_array_equal(plan.trace["non_finite"], 200)


def test_a_warm_start_may_be_of_one_part():
    smooth = CategoricalCEMSolver(num_samples=200, n_steps=12, topk=20, warm_start="smooth")
    solver = CompositeSolver({"arm": ARM, "grip": smooth})
    state = solver.init(jax.random.key(0), SPACE, 3, {"grip": jnp.asarray([[2]])})
    np.testing.assert_array_equal(solver.propose(state)["grip"][0, 0], one_hot(jnp.asarray([2]), SPACE["grip"]))
    np.testing.assert_array_equal(state["arm"].mean, 0)


def test_hashable_and_made_by_name():
    assert hash(SOLVER) == hash(CompositeSolver((("arm", ARM), ("grip", GRIP))))
    assert make_solver("composite", {"solvers": {"arm": ARM, "grip": GRIP}}) == SOLVER


@pytest.mark.parametrize(
    ("solvers", "message"),
    [
        ({}, "must have at least one solver"),
        ((("a", ARM), ("a", ARM)), "no name twice"),
        ({"a": ARM, "b": CEMSolver()}, r"must have the same num_samples, got \{'a': 200, 'b': 300\}"),
        ({"a": ARM, "b": ICEMSolver(num_samples=200)}, r"must have the same n_steps, got \{'a': 12, 'b': 30\}"),
        ({"a": 3}, r"CompositeSolver.solvers\['a'\] must be a solver that works on a population.*got int"),
    ],
)
def test_bad_solvers(solvers, message):
    with pytest.raises(ValueError, match=message):
        CompositeSolver(solvers)


@pytest.mark.parametrize(
    ("space", "warm_start", "message"),
    [
        (SPACE["arm"], None, "CompositeSolver needs a Dict action space, got Box"),
        (Dict({"arm": SPACE["arm"]}), None, r"has solvers for \['arm', 'grip'\], the space is \['arm'\]"),
        (SPACE, {"leg": jnp.zeros((1, 2))}, r"warm_start must be a dict with names out of .* got \['leg'\]"),
        (SPACE, {"arm": jnp.zeros((4, 2))}, r"warm_start must have the shape \[at most 3, 2\]"),
    ],
)
def test_bad_input(space, warm_start, message):
    with pytest.raises(ValueError, match=message):
        solve(SOLVER, cost, space, jax.random.key(0), 3, warm_start)


def test_metrics_of_one_distribution_say_that_they_need_one():
    with pytest.raises(ValueError, match="VarNorm needs a solver that has a standard deviation"):
        solve(SOLVER, cost, SPACE, jax.random.key(0), 3, metrics=(VarNorm(),))


@pytest.mark.parametrize(
    ("name", "message"),
    [("composite", "must have at least one solver"), ("ask_tell", "strategy must have num_samples")],
)
def test_solvers_made_of_others_cannot_be_made_of_nothing(name, message):
    with pytest.raises(ValueError, match=message):
        make_solver(name)
