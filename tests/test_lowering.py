"""The main programs lower for GPUs and TPUs, which takes neither: they are traced and lowered, not compiled.

What works on the host by design is listed here; nothing else may call it.
"""

import functools
import importlib.util

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from planning import cases

import envs_mjx
from envs_mjx import programs
from swmjax.checkpoints.torch.families import FAMILIES
from swmjax.models import OracleModel, PlannableModel
from swmjax.planning import SOLVERS, CategoricalCEMSolver, CEMSolver, PlanConfig, solve
from swmjax.planning.host import HostSolver
from swmjax.policies import ActionBox, PhysicsPolicy, Scaler, Start, WorldModelPolicy, rollout

PLATFORMS = ("cuda", "tpu")
# MuJoCo's own renderer is OpenGL.
RENDERED_BY_HOST = ("mujoco", "brax", "playground")
SEARCHED_BY_HOST = ("nevergrad",)
MODULES = {"mujoco": "mujoco.mjx", "brax": "brax", "playground": "mujoco_playground", "craftax": "craftax"}
# No policy acts in several parts yet.
WITHOUT_POLICY = ("swm/ImagePositioning-v1",)
# One robot for all: the others have more bodies, and take longer to trace.
QUICK = ("swm/CartpoleDMControl-v0",)
SLOW = ("swm/PushT-Discrete-v1",)
BATCH = 2
POPULATION = {"num_samples": 4, "n_steps": 2, "topk": 2}
PLAN = PlanConfig(horizon=2, receding_horizon=1, action_block=1)
KEY = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
SEEDS = jax.ShapeDtypeStruct((BATCH,), jnp.int32)


def environment(id):
    extra = envs_mjx.spec(id).extra
    marks = []
    if extra is not None:
        missing = importlib.util.find_spec(MODULES[extra].partition(".")[0]) is None
        marks.append(pytest.mark.skipif(missing, reason=f"{extra} is not installed"))
    if id in SLOW or (extra is not None and id not in QUICK):
        marks.append(pytest.mark.slow)
    return pytest.param(id, marks=marks, id=id)


def lowers(program, *arguments):
    """Whether a program lowers for every platform; one that does not calls the host."""
    try:
        jax.export.export(program, platforms=PLATFORMS)(*arguments)
    except NotImplementedError as error:
        assert "python_callback" in str(error)
        return False
    return True


def shapes(tree, *batch):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*batch, *jnp.shape(leaf)), jnp.result_type(leaf)), tree)


def physics_policy(env):
    """A planner that follows the reward, which every environment has."""
    discrete = not isinstance(env.action_space, gymnasium.spaces.Box)
    return PhysicsPolicy(
        model=OracleModel(env),
        solver=(CategoricalCEMSolver if discrete else CEMSolver)(**POPULATION),
        config=PLAN,
        state_cost=None,
        running_cost=lambda state: -state.reward,
    )


@pytest.mark.parametrize("id", [environment(id) for id in envs_mjx.registered_ids()])
def test_environments(id):
    """Reset, step, picture, and episodes with a plan at every step."""
    env, space = envs_mjx.make(id), envs_mjx.make(id).action_space
    several = isinstance(space, gymnasium.spaces.Dict)
    action = shapes(dict(space.sample()) if several else space.sample())
    state = programs.reset.eval_shape(env, KEY)
    assert lowers(programs.reset, env, KEY)
    assert lowers(programs.step, env, state, action)
    assert lowers(programs.render, env, state) == (envs_mjx.spec(id).extra not in RENDERED_BY_HOST)

    def play(policy, states, seeds):
        return rollout(env, policy, Start(states=states, seeds=seeds), steps=2)

    assert several == (id in WITHOUT_POLICY)
    if not several:
        assert lowers(jax.jit(play), physics_policy(env), shapes(state, BATCH), SEEDS)


def test_solvers_of_the_host_are_those_listed():
    assert {name for name, solver in SOLVERS.items() if issubclass(solver, HostSolver)} == set(SEARCHED_BY_HOST)


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in SEARCHED_BY_HOST])
def test_solvers(name):
    case = cases.case(name)

    def plan(problem, key):
        transitions = case.transitions and case.transitions(problem)
        cost = functools.partial(case.cost, problem)
        return solve(case.solver, cost, case.space, key, cases.HORIZON, transitions=transitions)

    assert lowers(jax.jit(plan), shapes(case.problem), KEY)


@pytest.mark.parametrize("family", [pytest.param(family, id=family.model.__name__) for family in FAMILIES])
def test_models(family):
    """What a checkpoint is compared by, and a plan in the latent space of each family that is planned with."""
    config = family.example()
    model = nnx.eval_shape(lambda: family.model(config, rngs=nnx.Rngs(0)))
    assert lowers(jax.jit(family.outputs), model, shapes(family.inputs(config, np.random.default_rng(0))))
    if not isinstance(model, PlannableModel):
        return
    inputs = model.inputs
    policy = WorldModelPolicy(
        model=model,
        solver=CEMSolver(**POPULATION),
        config=PLAN,
        actions=ActionBox((-1.0,) * inputs.action_size, (1.0,) * inputs.action_size),
        scaler=Scaler.identity(inputs.action_size),
        objective=model.objective,
        image_size=inputs.image_size,
        vectors=tuple((name, Scaler.identity(size)) for name, size in inputs.vectors),
    )
    side, of_goals = inputs.image_size, {f"goal_{name}": name for name, _ in inputs.vectors} | {"goal": "pixels"}
    seen = {"pixels": jax.ShapeDtypeStruct((BATCH, side, side, inputs.channels), jnp.uint8)} if side else {}
    seen |= {name: jax.ShapeDtypeStruct((BATCH, size), jnp.float32) for name, size in inputs.vectors}
    obs = {name: seen[of_goals.get(name, name)] for name in policy.inputs}

    def act(policy, seeds, obs):
        return policy.act(policy.init(seeds, obs), obs, jnp.ones(BATCH, bool))

    assert lowers(jax.jit(act), policy, SEEDS, obs)
