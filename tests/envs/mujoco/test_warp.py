"""NVIDIA Warp's steps and pictures beside those of MJX's JAX code and of OpenGL; Warp compiles its kernels for minutes.

Warp also runs on the CPU, slowly, so that this needs no GPU.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.mujoco import recorded

from envs_mjx.checks import MissingExtraError

needs_warp = pytest.mark.skipif(importlib.util.find_spec("warp") is None, reason="NVIDIA Warp is not installed")


@pytest.mark.slow
@needs_warp
@pytest.mark.parametrize("domain", ["pendulum", "walker"])
def test_warp_steps_as_jax_does(domain):
    env, warp = recorded.make(domain, impl="jax"), recorded.make(domain, impl="warp")
    keys = jax.random.split(jax.random.key(0), 3)
    state = jax.jit(jax.vmap(lambda key: env.reset(key, variation=("gravity", "agent"))))(keys)
    action = jnp.linspace(-1, 1, 3)[:, None] * jnp.ones((3, *env.action_space.shape))
    ours, theirs = (jax.jit(jax.vmap(one.step))(state, action) for one in (env, warp))
    np.testing.assert_allclose(theirs.info["qpos"], ours.info["qpos"], atol=1e-4)
    np.testing.assert_allclose(theirs.info["qvel"], ours.info["qvel"], atol=1e-2)
    np.testing.assert_allclose(theirs.reward, ours.reward, atol=1e-3)
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)


@pytest.mark.slow
@needs_warp
def test_warp_draws_a_batch_as_opengl_does():
    env, warp = (recorded.make("walker", resolution=64, renderer=renderer, impl="jax") for renderer in ("host", "warp"))
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.jit(jax.vmap(lambda key: env.reset(key, variation=("agent.color", "light"))))(keys)
    ours, theirs = (np.asarray(jax.jit(jax.vmap(one.render))(states), int) for one in (env, warp))
    assert np.abs(ours - theirs).mean() < 6
    # Every row has its own colour: rows differ from each other by more than the renderers do.
    assert min(np.abs(theirs[row] - theirs[row - 1]).mean() for row in range(3)) > 6
    alone = jax.jit(warp.render)(jax.tree.map(lambda leaf: leaf[1], states))
    np.testing.assert_array_equal(alone, theirs[1])


@pytest.mark.parametrize("argument", ["impl", "renderer"])
def test_without_warp_it_says_what_is_missing(argument, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=f'{argument}="warp" needs NVIDIA Warp: pip install "swmjax\\[warp\\]"'):
        recorded.make("pendulum", **{argument: "warp"})


@needs_warp
def test_double_precision_is_refused():
    with jax.enable_x64(True), pytest.raises(ValueError, match="single precision"):
        recorded.make("pendulum", impl="warp")
