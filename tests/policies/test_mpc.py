"""The planning policy: when it plans, what it passes on, and what its plans depend on."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types

from swmjax.planning import CEMSolver, Plan, Solver, StepRecord
from swmjax.planning.spaces import nominal_actions
from swmjax.policies import MPCPolicy, PlanConfig

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


@dataclass(frozen=True, eq=False)
class NumberPolicy(MPCPolicy):
    """Observations are numbers; so are the goals, and a candidate costs what the number is away from the goal."""

    solver: Any
    config: PlanConfig
    plan_batch_size: int | None = None
    seen_numbers: list = field(default_factory=list)
    inputs = ("number", "goal_number")
    space = BOX

    def goals(self, obs):
        return 10.0 * obs["goal_number"]

    def seen(self, obs):
        return obs["number"]

    def problems(self, observations, actions, goals):
        jax.debug.callback(lambda number: self.seen_numbers.append(float(number)), observations[0, -1])
        return observations[:, -1] - goals

    def cost(self, problem, actions):
        return problem + 0.0 * actions[:, 0, 0]

    @property
    def transitions(self):
        return None

    def to_env(self, actions):
        return 3.0 * actions + 0.5


@dataclass(frozen=True)
class EchoSolver(Solver):
    """The plan is the warm start, plus the cost of the problem, plus the place of each entry."""

    n_steps: int = 1

    def init(self, key, space, horizon, warm_start=None, carry=None):
        nominal = nominal_actions(space, horizon, warm_start)
        return nominal, jnp.zeros(())

    def step(self, state, scorer):
        nominal, _ = state
        cost = scorer(nominal[None])[0]
        return (nominal, cost), StepRecord(candidates=nominal[None], costs=cost[None])

    def finish(self, state, scorer):
        nominal, cost = state
        place = jnp.arange(nominal.size, dtype=nominal.dtype).reshape(nominal.shape)
        return Plan(actions=nominal + cost + place, cost=cost, status=jnp.zeros((), jnp.int32))


@dataclass(frozen=True)
class DiceSolver(EchoSolver):
    """The plan is noise of the problem's key alone."""

    def init(self, key, space, horizon, warm_start=None, carry=None):
        return jax.random.normal(key, (horizon, *space.shape)), jnp.zeros(())

    def finish(self, state, scorer):
        return Plan(actions=state[0], cost=state[1], status=jnp.zeros((), jnp.int32))


def rolled(policy, states, goals, seeds, act=None):
    """Actions [T, B, a] of T steps and the memories after each of them."""
    towards = {"goal_number": jnp.asarray(goals, jnp.float32)}
    carry = policy.init(jnp.asarray(seeds), towards)
    act = act or jax.jit(policy.act)
    alive = jnp.ones(len(seeds), bool)
    actions, carries = [], []
    for state in np.asarray(states, np.float32):
        action, carry = act(carry, {"number": jnp.asarray(state)} | towards, alive)
        actions.append(action)
        carries.append(carry)
    jax.effects_barrier()
    return np.stack(actions), carries


@pytest.mark.parametrize("warm_start", [True, False])
@pytest.mark.parametrize(("horizon", "receding", "block"), [(4, 2, 3), (3, 3, 2), (3, 1, 1), (1, 1, 1)])
def test_queue_and_warm_start(horizon, receding, block, warm_start):
    policy = NumberPolicy(EchoSolver(), PlanConfig(horizon, receding, block, warm_start))
    between, count = receding * block, 2 * receding * block + 1
    states = np.arange(count, dtype=np.float32)[:, None] + np.array([[0.0, 100.0]], np.float32)
    goals = np.array([1.0, 2.0], np.float32)
    actions, carries = rolled(policy, states, goals, [7, 8])

    # It planned at every start of a queue and nowhere else.
    assert policy.seen_numbers == list(range(0, count, between))
    place = np.arange(horizon * block * 2, dtype=np.float32).reshape(horizon, block * 2)
    tail = np.zeros((2, horizon - receding, block * 2), np.float32)
    for step in range(count):
        if step % between == 0:
            cost = states[step] - 10.0 * goals
            warm = tail if warm_start else np.zeros_like(tail)
            nominal = np.concatenate([warm, np.zeros((2, receding, block * 2), np.float32)], axis=1)
            plan = nominal + cost[:, None, None] + place[None]
            queue = 3.0 * plan[:, :receding].reshape(2, between, 2) + 0.5
            tail = plan[:, receding:]
        np.testing.assert_array_equal(actions[step], queue[:, step % between])
        np.testing.assert_array_equal(carries[step].tail, tail)
        np.testing.assert_array_equal(carries[step].plans, step // between + 1)


def test_plans_draw_from_seed_and_plan_number_alone():
    config = PlanConfig(horizon=2, receding_horizon=1, action_block=1)
    policy = NumberPolicy(DiceSolver(), config)
    seeds = [5, 0, 2**31 - 1]
    actions, _ = rolled(policy, np.zeros((3, 3)), np.zeros(3), seeds)
    for number in range(3):
        for k, seed in enumerate(seeds):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), number), seed)
            plan = np.asarray(jax.random.normal(key, (2, 2)))
            np.testing.assert_allclose(actions[number, k], 3.0 * plan[0] + 0.5, rtol=1e-6)
    assert len(np.unique(actions.round(6))) == actions.size
    other, _ = rolled(policy, 1.0 + np.arange(3.0)[:, None], np.ones(1), [0])
    np.testing.assert_array_equal(other[:, 0], actions[:, 1])


@dataclass(frozen=True, eq=False)
class ReachPolicy(NumberPolicy):
    """Candidates should add up to what is missing."""

    def problems(self, observations, actions, goals):
        return goals - observations[:, -1]

    def cost(self, problem, actions):
        return jnp.square(actions.sum(axis=(1, 2)) - problem)


@pytest.mark.parametrize(
    ("config", "at_once"), [(PlanConfig(2, 1, 2), None), (PlanConfig(2, 1, 2), 2), (PlanConfig(3, 3, 1), 1)]
)
def test_plans_do_not_depend_on_the_rest_of_the_batch(config, at_once):
    policy = ReachPolicy(CEMSolver(num_samples=16, n_steps=3, topk=4), config, at_once)
    states = np.linspace(-1.0, 2.0, 12, dtype=np.float32).reshape(4, 3)
    goals, seeds = np.array([0.1, -0.2, 0.3]), [3, 1, 2]
    act = jax.jit(policy.act)
    together, _ = rolled(policy, states, goals, seeds, act)
    assert np.ptp(together, axis=1).min() > 0.0
    for k in range(3):
        alone, _ = rolled(policy, states[:, k : k + 1], goals[k : k + 1], seeds[k : k + 1], act)
        np.testing.assert_array_equal(alone[:, 0], together[:, k])


def test_plan_returns_whole_plans_in_the_units_of_the_solver():
    policy = ReachPolicy(CEMSolver(num_samples=64, n_steps=6, topk=8), PlanConfig(3, 1, 2))
    obs = {"number": jnp.asarray([0.0, 1.0]), "goal_number": jnp.asarray([0.2, 0.2])}
    plan = policy.plan(policy.init(jnp.asarray([1, 2]), obs), obs)
    assert plan.actions.shape == (2, 3, 4)
    np.testing.assert_allclose(plan.actions.sum(axis=(1, 2)), [2.0, 1.0], atol=0.2)
    assert plan.trace["best_cost"].shape == (2, 6)


@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_only_episodes_that_go_on_are_planned_for(at_once):
    policy = NumberPolicy(EchoSolver(), PlanConfig(2, 1, 1), at_once)
    obs = {"number": jnp.asarray([0.0, 1.0, 2.0]), "goal_number": jnp.zeros(3)}
    act, carry = jax.jit(policy.act), policy.init(jnp.arange(3), obs)
    _, carry = act(carry, obs, jnp.asarray([True, False, False]))
    jax.effects_barrier()
    planned = list(policy.seen_numbers)
    assert planned == {None: [0.0], 1: [0.0], 2: [0.0]}[at_once]
    np.testing.assert_array_equal(carry.plans, [1, 0, 0])
    _, carry = act(carry, obs, jnp.asarray([False, False, True]))
    jax.effects_barrier()
    # Groups of two begin with rows 0 and 2; only the second one has a row that needs a plan.
    assert policy.seen_numbers[1:] == {None: [0.0], 1: [2.0], 2: [2.0]}[at_once]
    np.testing.assert_array_equal(carry.plans, [1, 0, 1])
    actions, carry = act(carry, obs, jnp.zeros(3, bool))
    np.testing.assert_array_equal(actions, np.full((3, 2), 0.5))
    assert len(policy.seen_numbers) == 2
    assert not policy.looks(carry, jnp.zeros(3, bool))
    assert policy.looks(carry, jnp.ones(3, bool))


def test_a_restarted_episode_plans_again():
    policy = NumberPolicy(EchoSolver(), PlanConfig(2, 2, 1))
    obs = {"number": jnp.asarray([0.0, 1.0]), "goal_number": jnp.zeros(2)}
    act, alive = jax.jit(policy.act), jnp.ones(2, bool)
    _, carry = act(policy.init(jnp.arange(2), obs), obs, alive)
    assert not policy.looks(carry, alive)
    carry = policy.reset(carry, jnp.asarray([False, True]))
    _, carry = act(carry, obs, alive)
    np.testing.assert_array_equal(carry.plans, [1, 2])


def test_memory_keeps_its_structure():
    policy = ReachPolicy(CEMSolver(num_samples=4, n_steps=1, topk=2), PlanConfig(2, 1, 2))
    obs = {"number": jnp.zeros(2), "goal_number": jnp.zeros(2)}
    carry = policy.init(jnp.asarray([1, 2]), obs)
    assert (carry.queue.shape, carry.tail.shape) == ((2, 2, 2), (2, 1, 4))
    action, after = jax.eval_shape(policy.act, carry, obs, jnp.ones(2, bool))
    assert action.shape == (2, 2)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), carry)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"horizon": 0}, "plan.horizon must be a positive integer, got 0"),
        ({"horizon": 2.0}, "plan.horizon must be a positive integer, got 2.0"),
        ({"horizon": True}, "plan.horizon must be a positive integer, got True"),
        ({"action_block": "5"}, "plan.action_block must be a positive integer, got '5'"),
        ({"receding_horizon": -1}, "plan.receding_horizon must be a positive integer, got -1"),
        ({"horizon": 3, "receding_horizon": 4}, r"plan.receding_horizon \(4\) must not be above plan.horizon \(3\)"),
        ({"history_len": 0}, "plan.history_len must be a positive integer, got 0"),
        ({"history_max_len": -1}, "plan.history_max_len must be a positive integer, got -1"),
        ({"warm_start": 1}, "plan.warm_start must be true or false, got 1"),
    ],
)
def test_bad_plan_configs(values: dict[str, Any], message):
    with unchecked_types(), pytest.raises(ValueError, match=message):
        PlanConfig(**values)


def test_plan_config_of_the_reference():
    config = PlanConfig()
    assert (config.horizon, config.receding_horizon, config.action_block, config.warm_start) == (5, 5, 5, True)
    assert config.steps_per_plan == 25
