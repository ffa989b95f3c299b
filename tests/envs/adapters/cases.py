"""What is run of the libraries: a small environment of each by default, the others in slow tests."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

import envs_mjx

BATCH, STEPS = 3, 3

NAMES = {"brax": "brax", "playground": "mujoco_playground", "craftax": "craftax"}


def library_of(id):
    return envs_mjx.spec(id).extra


def case(id, *, slow=False, **kwargs):
    missing = importlib.util.find_spec(NAMES[library_of(id)]) is None
    marks = [pytest.mark.skipif(missing, reason=f"{library_of(id)} is not installed")]
    name = "-".join([id, *map(str, kwargs.values())])
    return pytest.param((id, tuple(kwargs.items())), marks=marks + [pytest.mark.slow] * slow, id=name)


def slow(param):
    """The same case, in slow tests alone."""
    return pytest.param(*param.values, marks=[*param.marks, pytest.mark.slow], id=param.id)


ROBOTS = [
    case("brax/InvertedPendulum-v1"),
    case("playground/PendulumSwingup-v0"),
    *(
        case(id, slow=True)
        for id in envs_mjx.registered_ids()
        if id.startswith("brax/") and id != "brax/InvertedPendulum-v1"
    ),
    *(case("brax/Hopper-v1", slow=True, backend=backend) for backend in ("positional", "spring", "mjx")),
    *(case(f"playground/{task}-v0", slow=True) for task in ("CheetahRun", "FingerTurnEasy", "ReacherHard")),
]
GAMES = [
    case("swm/CraftaxClassicSymbolic-v1"),
    *(case(f"swm/Craftax{name}-v1", slow=True) for name in ("ClassicPixels", "Symbolic", "Pixels")),
]


@functools.cache
def made(case):
    id, kwargs = case
    return envs_mjx.make(id, **dict(kwargs))


@functools.cache
def programs(case):
    """Reset and step of a batch, compiled."""
    env = made(case)
    return quick_jit(jax.vmap(env.reset)), quick_jit(jax.vmap(env.step))


def keys_of(seed=7):
    return jax.random.split(jax.random.key(seed), BATCH)


@functools.cache
def actions_of(case):
    """Actions [STEPS, BATCH, ...]."""
    space = made(case).action_space
    space.seed(3)
    return jnp.asarray(np.stack([[space.sample() for _ in range(BATCH)] for _ in range(STEPS)]))


@functools.cache
def walked(case):
    """The states of a batch of episodes, first to last."""
    reset, step = programs(case)
    states = [reset(keys_of())]
    for index in range(STEPS):
        states.append(step(states[-1], actions_of(case)[index]))
    return states


def row(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def bits(tree):
    """The numbers of a pytree, keys among them."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, tree
    )
