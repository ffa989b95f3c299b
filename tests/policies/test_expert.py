"""Experts and random actions: the contract of policies, and files that are no experts."""

import json
import zipfile

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv, unchecked_types

from swmjax.checkpoints.actors import read_actor, write_actor
from swmjax.models.actor import Actor
from swmjax.policies import ExpertPolicy, RandomPolicy, load_expert


def actor(**changes):
    rng = np.random.default_rng(0)
    fields = {
        "mean": rng.normal(size=1),
        "std": np.ones(1) * 2,
        "kernels": (rng.normal(size=(1, 5)), rng.normal(size=(5, 4))),
        "biases": (rng.normal(size=5), rng.normal(size=4)),
        "low": np.array([-2.0, 0.0]),
        "high": np.array([2.0, 1.0]),
    }
    arrays = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float32), fields, is_leaf=lambda v: isinstance(v, np.ndarray)
    )
    return Actor(**arrays | {"observations": ("x",), "activation": "swish"} | changes)


def observed(count):
    return jax.jit(jax.vmap(GoalEnv().reset))(jax.random.split(jax.random.key(1), count)).obs


@jax.jit
def act(policy, seeds, obs):
    """The first actions of some episodes, and the memory after."""
    return policy.act(policy.init(seeds, obs), obs, jnp.ones(seeds.shape, bool))


def acted(policy, count):
    return np.asarray(act(policy, jnp.arange(count), observed(count))[0])


def test_actions_lie_in_the_bounds_of_the_environment():
    policy = ExpertPolicy(actor(), noise=3.0)
    actions = acted(policy, 200)
    low, high = actions.min(axis=0), actions.max(axis=0)
    np.testing.assert_array_equal(low, [-2.0, 0.0])
    np.testing.assert_array_equal(high, [2.0, 1.0])


def test_an_episode_acts_as_it_would_alone():
    for policy in (ExpertPolicy(actor(), noise=0.2), RandomPolicy.of(gymnasium.spaces.Box(-2.0, 1.0, (2,)))):
        obs = observed(3)
        together, carry = act(policy, jnp.array([4, 5, 6]), obs)
        again, _ = jax.jit(policy.act)(carry, obs, jnp.ones(3, bool))
        assert (np.asarray(together) != np.asarray(again)).all()
        alone, _ = act(policy, jnp.array([5]), jax.tree.map(lambda leaf: leaf[1:2], obs))
        np.testing.assert_allclose(alone[0], together[1], rtol=1e-5)


def test_noise_and_draws_have_their_sizes():
    still = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], (4000, *leaf.shape[1:])), observed(1))
    expert = actor()

    def drawn(**options):
        policy = ExpertPolicy(expert, **options)
        return np.asarray(act(policy, jnp.arange(4000), still)[0])

    mode = drawn(deterministic=True)
    assert (mode == mode[0]).all()
    noisy = drawn(deterministic=True, noise=0.05) - mode
    np.testing.assert_allclose(noisy.std(axis=0), [0.1, 0.025], rtol=0.1)
    loc, scale = expert.distribution({"x": still["x"][0]})
    raw = np.arctanh(np.clip((drawn() - [0.0, 0.5]) / [2.0, 0.5], -0.999999, 0.999999))
    np.testing.assert_allclose(raw.mean(axis=0), loc, atol=0.2)
    np.testing.assert_allclose(raw.std(axis=0), scale, rtol=0.2)


def test_random_actions_fill_the_space():
    space = gymnasium.spaces.Box(np.float32([-2.0, 0.0]), np.float32([1.0, 5.0]), dtype=np.float32)
    policy = RandomPolicy.of(space)
    actions = acted(policy, 2000)
    np.testing.assert_allclose(actions.min(axis=0), space.low, atol=0.02)
    np.testing.assert_allclose(actions.max(axis=0), space.high, atol=0.02)


def test_random_whole_actions_fill_their_range():
    for space, low, high in (
        (gymnasium.spaces.Discrete(3, start=-1), -1, 1),
        (gymnasium.spaces.MultiDiscrete([2, 5], start=[0, 3]), [0, 3], [1, 7]),
    ):
        actions = np.asarray(acted(RandomPolicy.of(space), 400))
        assert actions.dtype == np.int32
        assert actions.shape == (400, *space.shape)
        np.testing.assert_array_equal(actions.min(axis=0), low)
        np.testing.assert_array_equal(actions.max(axis=0), high)


def test_policies_that_cannot_be():
    for space in (gymnasium.spaces.MultiBinary(2), gymnasium.spaces.Box(-np.inf, np.inf, (1,))):
        with pytest.raises(ValueError, match="random actions need a Box with bounds"):
            RandomPolicy.of(space)
    for noise in (-0.1, np.nan):
        with pytest.raises(ValueError, match="noise must be finite and at least 0"):
            ExpertPolicy(actor(), noise=noise)


def test_a_file_holds_the_actor_to_the_bit(tmp_path):
    write_actor(tmp_path / "expert.npz", actor(), {"env": "test/Goal-v0"})
    back, facts = read_actor(tmp_path / "expert.npz")
    assert facts == {"env": "test/Goal-v0"}
    assert (back.observations, back.activation) == (("x",), "swish")
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(actor()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert load_expert(tmp_path).actor.activation == load_expert(tmp_path / "expert.npz").actor.activation


def _rewritten(path, change):
    """Change header and arrays of a file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, arrays: header["swmjax"].update(format=2), "format 2; this release reads 1 to 1"),
        (lambda header, arrays: header.update(activation="exec"), "activation: is 'exec'; allowed are relu, swish"),
        (lambda header, arrays: header.update(layers=10**9), "layers: is 1000000000; allowed are 1 to 64"),
        (lambda header, arrays: arrays.pop("kernel_1"), "is damaged, or no actor of swmjax"),
        (lambda header, arrays: arrays.update(std=arrays["std"][:0]), r"std: expected shape \(1,\), found \(0,\)"),
        (lambda header, arrays: arrays.update(low=np.float32([1])), r"low: expected shape \(2,\), found \(1,\)"),
        (lambda header, arrays: arrays["bias_0"].fill(np.nan), "bias_0: expected finite float32"),
    ],
)
def test_damaged_files_name_what_is_wrong(tmp_path, change, message):
    path = tmp_path / "expert.npz"
    write_actor(path, actor(), {})
    _rewritten(path, change)
    with pytest.raises(ValueError, match=f"expert.npz: .*{message}|expert.npz: {message}"):
        load_expert(tmp_path)


def test_files_that_are_no_archives(tmp_path):
    with pytest.raises(ValueError, match="expert.npz: no such file; expected an actor"):
        load_expert(tmp_path)
    path = tmp_path / "expert.npz"
    for content in (b"", b"PK\3\4", b"\x93NUMPY", b"cos\nsystem\n(S'true'\ntR."):
        path.write_bytes(content)
        with unchecked_types(), pytest.raises(ValueError, match="expert.npz: is damaged, or no actor"):
            load_expert(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"nothing")
    with pytest.raises(ValueError, match="expert.npz: is damaged, or no actor"):
        load_expert(path)
