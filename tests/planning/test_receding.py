"""Receding-horizon control: queues of single rows, history, flushes and plans that are not finite."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from swmjax.planning import Plan, PlanConfig, Status, receding

BOX = Box(-1.0, 1.0, (2,), np.float32)


def planner(made, config, batch, size, statuses=None, dtype=jnp.float32):
    """Plans whose every entry is their number; `made` collects how many observations they started from."""

    def plan(needed, length):
        number = len(made)
        made.append(length)
        actions = jnp.full((batch, config.horizon, size), number + 1.0, dtype)
        status = jnp.zeros(batch, jnp.int32) if statuses is None else jnp.asarray(statuses[number])
        return Plan(actions=actions, cost=jnp.zeros(batch), status=status)

    return plan


def eager_act(config, carry, plan, alive=None):
    alive = jnp.ones(carry.position.shape, bool) if alive is None else alive
    with jax.disable_jit():
        return receding.act(config, carry, plan, alive)


def test_rows_plan_when_their_own_queue_is_used_up():
    config = PlanConfig(horizon=2, receding_horizon=1, action_block=2)
    made = []
    plan = planner(made, config, 2, 4)
    carry = receding.start(config, BOX, jnp.arange(2))
    executed, counts = [], []
    for step in range(6):
        if step == 3:
            carry = receding.flush(config, carry, jnp.asarray([False, True]))
        actions, carry = eager_act(config, carry, plan)
        executed.append(np.asarray(actions[:, 0]))
        counts.append(len(made))
    # Row 1 was flushed after three steps, and plans one step before row 0 from then on.
    np.testing.assert_array_equal(np.transpose(executed), [[1, 1, 2, 2, 4, 4], [1, 1, 2, 3, 3, 5]])
    assert counts == [1, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(carry.plans, [3, 4])


def test_rows_that_ended_never_plan():
    config = PlanConfig(horizon=1, receding_horizon=1, action_block=1)
    made = []
    plan = planner(made, config, 2, 2)
    carry = receding.start(config, BOX, jnp.arange(2))
    alive = jnp.asarray([True, False])
    for _ in range(2):
        actions, carry = eager_act(config, carry, plan, alive)
        np.testing.assert_array_equal(actions[1], 0)
    np.testing.assert_array_equal(carry.plans, [2, 0])
    actions, carry = eager_act(config, carry, plan, jnp.zeros(2, bool))
    assert len(made) == 2


def test_a_step_without_a_plan_runs_no_solver():
    config = PlanConfig(horizon=1, receding_horizon=1, action_block=3)
    calls = []

    def plan(needed, length):
        jax.debug.callback(lambda: calls.append(length))
        return Plan(actions=jnp.ones((1, 1, 6)), cost=jnp.zeros(1), status=jnp.zeros(1, jnp.int32))

    step = jax.jit(lambda carry: receding.act(config, carry, plan, jnp.ones(1, bool))[1])
    carry = receding.start(config, BOX, jnp.arange(1))
    for _ in range(7):
        carry = step(carry)
    jax.effects_barrier()
    assert len(calls) == 3


@pytest.mark.parametrize("bad", ["status", "nan"])
def test_a_plan_that_is_not_finite_is_the_rest_of_the_one_before(bad):
    config = PlanConfig(horizon=3, receding_horizon=1, action_block=1)
    carry = receding.start(config, BOX, jnp.arange(2))

    def plan(number):
        actions = jnp.arange(12.0).reshape(2, 3, 2) + 100 * number
        failed = jnp.asarray([number > 0, False])
        if bad == "nan":
            actions = jnp.where(failed[:, None, None], jnp.nan, actions)
            failed = jnp.zeros(2, bool)
        return Plan(actions=actions, cost=jnp.zeros(2), status=failed.astype(jnp.int32))

    first, carry = eager_act(config, carry, lambda needed, length: plan(0))
    np.testing.assert_array_equal(first, [[0, 1], [6, 7]])
    np.testing.assert_array_equal(carry.status, [Status.OK, Status.OK])
    for expected in ([2, 3], [4, 5], [0, 0]):
        actions, carry = eager_act(config, carry, lambda needed, length: plan(1))
        np.testing.assert_array_equal(actions, [expected, [106, 107]])
        np.testing.assert_array_equal(carry.status, [Status.NO_FINITE_COST, Status.OK])


def reference_history(frames, actions, block, length, n):
    """The rows of the reference's buffer, with lists: strided frames and the blocks between them."""
    frames, actions = frames[-length:], actions[-length:]
    strided = list(range(len(frames) - 1, -1, -block))[::-1][-n:]
    taken = [frames[i] for i in strided]
    blocks = [np.concatenate(actions[a + 1 : b + 1]) for a, b in itertools.pairwise(strided)]
    missing = n - len(taken)
    return [taken[0]] * missing + taken, [np.zeros(2 * block)] * missing + blocks


@pytest.mark.parametrize(("block", "n", "kept"), [(1, 3, None), (2, 3, None), (3, 2, None), (2, 3, 4), (2, 2, 9)])
def test_history_is_that_of_the_reference(block, n, kept):
    config = PlanConfig(horizon=1, receding_horizon=1, action_block=block, history_len=n, history_max_len=kept)
    carry = receding.start(config, BOX, jnp.arange(2), jax.ShapeDtypeStruct((2, 3), jnp.float32))
    random = np.random.default_rng(0)
    frames, actions = [[], []], [[], []]
    led = np.zeros((2, 2), np.float32)
    for step in range(12):
        if step == 7:
            carry = receding.flush(config, carry, jnp.asarray([False, True]))
            frames[1], actions[1], led[1] = [], [], 0
        seen = random.normal(size=(2, 3)).astype(np.float32)
        for row in range(2):
            frames[row].append(seen[row])
            actions[row].append(led[row].copy())
        carry = receding.remember(config, carry, jnp.asarray(seen))
        for length in range(1, n + 1):
            observed, blocks = receding.context(config, carry.history, length)
            for row in range(2):
                want, between = reference_history(frames[row], actions[row], block, config.kept_steps, length)
                np.testing.assert_array_equal(observed[row], want)
                np.testing.assert_array_equal(blocks[row], np.reshape(between, (length - 1, 2 * block)))
        planned = jnp.asarray(random.normal(size=(2, 1, 2 * block)), jnp.float32)
        taken, carry = eager_act(
            config,
            carry,
            lambda needed, length, planned=planned: Plan(
                actions=planned, cost=jnp.zeros(2), status=jnp.zeros(2, jnp.int32)
            ),
        )
        led = np.array(taken)


def test_plans_start_from_as_many_observations_as_there_are():
    config = PlanConfig(horizon=1, receding_horizon=1, action_block=2, history_len=3)
    made = []
    plan = planner(made, config, 1, 4)
    carry = receding.start(config, BOX, jnp.arange(1), jax.ShapeDtypeStruct((1,), jnp.float32))
    for step in range(9):
        carry = receding.remember(config, carry, jnp.full(1, float(step)))
        _, carry = eager_act(config, carry, plan)
    assert made == [1, 2, 3, 3, 3]


def test_discrete_actions_stay_whole_numbers():
    config = PlanConfig(horizon=2, receding_horizon=2, action_block=3)
    carry = receding.start(config, Discrete(5), jnp.arange(2))
    assert (carry.queue.shape, carry.queue.dtype) == ((2, 6, 1), jnp.int32)
    actions, _ = eager_act(config, carry, planner([], config, 2, 3, dtype=jnp.int32))
    assert actions.dtype == jnp.int32
