"""Factor spaces: the stateful face of the reference and the pure one."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs_mjx.pusht.factors import DEFAULT_VARIATIONS, pusht_variation_space
from envs_mjx.spaces import Box, Dict, Discrete, FactorError, MultiDiscrete, RGBBox, reset_variation_space

LEAVES = {
    "float box": lambda **kw: Box(-1.0, 2.0, (2,), np.float32, init_value=[0.5, 1], **kw),
    "double box": lambda **kw: Box(-2 * np.pi, 2 * np.pi, (), np.float64, init_value=0, **kw),
    "int box": lambda **kw: Box(3, 5, (4,), np.int32, init_value=[3, 4, 5, 3], **kw),
    "rgb": lambda **kw: RGBBox(init_value=[1, 2, 255], **kw),
    "discrete": lambda **kw: Discrete(4, start=2, init_value=5, **kw),
    "multi-discrete": lambda **kw: MultiDiscrete([3, 2], start=[1, 10], init_value=[3, 11], **kw),
}


def two_level(**kwargs) -> Dict:
    """A wall and an agent that must stay left of it; the wall is drawn first."""
    wall = Box(0.0, 10.0, (), np.float32, init_value=8.0)
    agent = Box(
        0.0,
        10.0,
        (),
        np.float32,
        init_value=1.0,
        constrain_fn=lambda x: bool(x < wall.value),
        traced_constrain_fn=lambda x, factors: x < factors["wall.x"],
    )
    spaces = {
        "agent": Dict({"x": agent, "speed": Discrete(3, init_value=1)}),
        "wall": Dict({"x": wall, "color": RGBBox(init_value=[0, 0, 0])}),
    }
    return Dict(spaces, sampling_order=("wall", "agent"), **kwargs)


@pytest.fixture(params=LEAVES)
def leaf(request):
    return LEAVES[request.param]


def test_value_starts_as_the_initial_value_and_returns_to_it(leaf):
    space = leaf()
    space.seed(0)
    first = space.sample()
    assert space.contains(first)
    np.testing.assert_array_equal(space.value, first)
    space.sample(set_value=False)
    np.testing.assert_array_equal(space.value, first)
    space.reset()
    np.testing.assert_array_equal(space.value, space.init_value)
    assert space.check()


def test_samples_come_from_gymnasiums_generator(leaf):
    space = leaf()
    space.seed(3)
    if isinstance(space, Box):
        plain = gymnasium.spaces.Box(space.low, space.high, space.shape, space.dtype)
    elif isinstance(space, Discrete):
        plain = gymnasium.spaces.Discrete(space.n, start=space.start)
    else:
        plain = gymnasium.spaces.MultiDiscrete(space.nvec, start=space.start)
    plain.seed(3)
    for _ in range(3):
        np.testing.assert_array_equal(space.sample(), plain.sample())


def test_set_value_rejects_what_is_outside(leaf):
    space = leaf()
    outside = np.asarray(space.bounds[1]) + 1
    for setter in (space.set_value, space.set_init_value):
        with pytest.raises(ValueError, match="is not in"):
            setter(outside.tolist())


def test_set_init_value_takes_effect_at_reset():
    space = LEAVES["discrete"]()
    space.set_init_value(2)
    assert space.value == 5
    space.reset()
    assert space.value == 2


def test_constraints_are_met_or_reported():
    space = Box(0.0, 1.0, (), np.float32, init_value=0.1, constrain_fn=lambda x: x < 0.25)
    space.seed(0)
    assert all(space.sample() < 0.25 for _ in range(20))
    with pytest.raises(ValueError, match="breaks the constraint"):
        space.set_value(0.5)
    impossible = Box(0.0, 1.0, (), np.float32, constrain_fn=lambda x: False)
    with pytest.raises(RuntimeError, match="in 7 tries"):
        impossible.sample(max_tries=7)


def test_a_slow_search_is_logged(caplog):
    space = Box(0.0, 1.0, (), np.float32, constrain_fn=lambda x: False)
    with pytest.raises(RuntimeError):
        space.sample(max_tries=3, warn_after_s=-1.0)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (40, True),
        (40.5, True),
        (np.float32(40), True),
        (np.float64(40), False),
        (61, False),
        ([40], False),
        ("x", False),
    ],
)
def test_box_containment_follows_gymnasium(value, inside):
    assert Box(20, 60, (), np.float32).contains(value) is inside


def test_integer_boxes_hold_integers():
    assert not RGBBox().contains([0.5, 0, 0])
    assert not RGBBox().contains([300, 0, 0])
    with pytest.raises(ValueError, match="length 3"):
        RGBBox(shape=(4,))


def test_init_value_outside_is_an_error():
    with pytest.raises(FactorError, match="init_value 9"):
        Discrete(3, init_value=9)


def test_names_and_sampling_order():
    space = two_level()
    assert space.names() == ["agent.x", "agent.speed", "wall.x", "wall.color"]
    assert space.sampling_order == ["wall", "wall.x", "wall.color", "agent", "agent.x", "agent.speed"]
    partial = Dict({"a": Discrete(2), "b": Discrete(2), "c": Discrete(2)}, sampling_order=("c",))
    assert partial.sampling_order == ["c", "a", "b"]


def test_dict_constructor_errors():
    with pytest.raises(ValueError, match="did you mean 'wall'"):
        Dict({"wall": Discrete(2)}, sampling_order=("walls",))
    with pytest.raises(ValueError, match="no dot"):
        Dict({"a.b": Discrete(2)})
    with pytest.raises(ValueError, match=r"envs_mjx\.spaces"):
        Dict({"a": gymnasium.spaces.Discrete(2)})


def test_sampling_order_lets_constraints_see_earlier_factors():
    space = two_level()
    space.seed(0)
    for _ in range(20):
        drawn = space.sample()
        assert drawn["agent"]["x"] < drawn["wall"]["x"]
        assert space.check()
        assert space.contains(drawn)


def test_own_constraint_of_a_dict_is_met():
    space = two_level(
        constrain_fn=lambda x: x["agent"]["speed"] != 0, traced_constrain_fn=lambda x, factors: x["agent"]["speed"] != 0
    )
    space.seed(0)
    assert all(space.sample()["agent"]["speed"] != 0 for _ in range(10))
    drawn = jax.vmap(lambda key: space.draw(key, ("all",)))(jax.random.split(jax.random.key(0), 64))
    assert set(np.unique(drawn["agent.speed"])) == {1, 2}
    assert not space.valid(space.draw(jax.random.key(0), (), {"agent.speed": 0}))


def test_update_resamples_only_what_is_named():
    space = two_level()
    space.seed(0)
    space.update(["wall.color"])
    assert space.value["agent"]["x"] == np.float32(1.0)
    assert space.value["wall"]["color"].any()
    space.update(["agent"])
    assert space.value["wall"]["x"] == np.float32(8.0)
    space.update(["all"])
    assert space.value["wall"]["x"] != np.float32(8.0)


def test_unknown_names_offer_the_nearest():
    space = two_level()
    calls = [
        lambda: space.update(["wall.colour"]),
        lambda: space.set_value({"wall.colour": [0, 0, 0]}),
        lambda: space.set_init_value({"wall": {"colour": [0, 0, 0]}}),
        lambda: space.draw(jax.random.key(0), ["wall.colour"]),
        lambda: space.draw(jax.random.key(0), (), {"wall.colour": [0, 0, 0]}),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="did you mean .*color"):
            call()


def test_a_bare_string_is_not_a_sequence_of_names():
    with pytest.raises(ValueError, match=r"\('agent.color',\)"):
        two_level().update("wall.color")


def test_set_value_addresses_leaves_and_groups():
    space = two_level()
    space.set_value({"wall": {"x": 9.0}, "agent.speed": 2})
    assert (space.value["wall"]["x"], space.value["agent"]["speed"]) == (9.0, 2)
    with pytest.raises(AssertionError, match="factor 'agent.x'"):
        space.set_value({"agent.x": 9.5})
    with pytest.raises(ValueError, match="takes a mapping"):
        space.set_value({"agent": 3})


def test_update_reports_a_broken_combination():
    space = two_level()
    space.set_value({"agent.x": 7.9})
    space.factor("wall").seed(0)
    with pytest.raises(AssertionError, match=r"agent\.x"):
        for _ in range(50):
            space.update(["wall.x"])


def test_reset_variation_space():
    space = pusht_variation_space()
    reset_variation_space(space, seed=1, defaults=DEFAULT_VARIATIONS)
    first = space.value
    assert first["block"]["angle"] != 0
    assert first["block"]["scale"] == 30
    reset_variation_space(space, seed=1, options={"variation": (), "variation_values": {"block.scale": 45}})
    assert space.value["block"]["angle"] == 0
    assert space.value["block"]["scale"] == 45
    reset_variation_space(space, seed=1, defaults=DEFAULT_VARIATIONS)
    jax.tree.map(np.testing.assert_array_equal, first, space.value)


def test_reset_variation_space_lets_values_repair_a_combination():
    space = two_level()
    options = {"variation": ["wall.x"], "variation_values": {"wall.x": 9.0, "agent.x": 8.5}}
    for seed in range(5):
        reset_variation_space(space, seed=seed, options=options)
    assert space.value["agent"]["x"] == 8.5


def test_draw_of_nothing_gives_the_initial_values():
    space = pusht_variation_space()
    factors = space.draw(jax.random.key(0))
    assert list(factors) == space.names()
    for name, value in factors.items():
        np.testing.assert_allclose(value, space.factor(name).init_value, rtol=1e-7)


def test_draw_agrees_under_jit_and_vmap():
    space = pusht_variation_space()
    keys = jax.random.split(jax.random.key(0), 4)
    batch = jax.jit(jax.vmap(lambda key: space.draw(key, ("all",))))(keys)
    for i, key in enumerate(keys):
        one = space.draw(key, ("all",))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6), batch, one)
        assert space.valid(one)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sets(st.sampled_from(pusht_variation_space().names()), max_size=4))
def test_draws_are_inside_their_spaces_and_independent(seed, names):
    space = pusht_variation_space()
    key = jax.random.key(seed)
    factors, everything = space.draw(key, tuple(names)), space.draw(key, ("all",))
    for name, value in factors.items():
        factor = space.factor(name)
        assert factor.contains(np.asarray(value, factor.dtype)), (name, value)
        expected = everything[name] if name in names else factor.init_value
        np.testing.assert_allclose(value, expected, rtol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_drawn_constraints_hold(seed):
    space = two_level()
    factors = space.draw(jax.random.key(seed), ("all",))
    assert factors["agent.x"] < factors["wall.x"]
    assert space.valid(factors)


def test_draw_covers_each_leaf_evenly(leaf):
    space = Dict({"x": leaf()})
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda key: space.draw(key, ("x",))["x"])(keys), np.float64)
    low, high = space.factor("x").bounds
    np.testing.assert_allclose(drawn.mean(0), (low + high) / 2, atol=0.05 * np.max(high - low))
    if np.issubdtype(space.factor("x").dtype, np.integer) and np.max(high - low) < 10:
        np.testing.assert_array_equal(drawn.min(0), low)
        np.testing.assert_array_equal(drawn.max(0), high)


def test_a_constraint_that_cannot_be_met_ends_and_is_flagged():
    space = Dict({"x": Box(0.0, 1.0, (), np.float32, init_value=0.5, traced_constrain_fn=lambda x, factors: x > 2)})
    factors = jax.jit(lambda key: space.draw(key, ("x",)))(jax.random.key(0))
    assert np.isfinite(factors["x"])
    assert not space.valid(factors)


def test_explicit_values_win_and_are_checked():
    space = pusht_variation_space()
    key = jax.random.key(0)
    factors = space.draw(key, ("all",), {"block.scale": 33, "agent": {"start_position": np.array([60.0, 70.0])}})
    assert factors["block.scale"] == 33
    assert factors["block.scale"].dtype == np.float32
    np.testing.assert_array_equal(factors["agent.start_position"], [60, 70])
    for values, message in [
        ({"block.scale": 61.0}, "factor 'block.scale'"),
        ({"block.scale": np.nan}, "factor 'block.scale'"),
        ({"block.scale": [33.0]}, "shape"),
        ({"block.shape": 0}, "factor 'block.shape'"),
        ({"block.shape": 1.5}, "integers"),
    ]:
        with pytest.raises(ValueError, match=message):
            space.draw(key, (), values)
    traced = jax.jit(lambda shape: space.draw(key, (), {"block.shape": shape})["block.shape"])(jnp.asarray(4))
    assert traced == 4


def test_draw_in_x64_keeps_double_precision():
    space = pusht_variation_space()
    with jax.enable_x64(True):
        factors = space.draw(jax.random.key(0), ("all",), {"goal.angle": 2 * np.pi})
        assert factors["block.angle"].dtype == np.float64
        assert factors["block.scale"].dtype == np.float32
        assert factors["goal.angle"] == 2 * np.pi
        assert space.valid(factors)


def test_draw_needs_an_initial_value_and_finite_bounds():
    with pytest.raises(ValueError, match="no initial value"):
        Dict({"x": Discrete(2)}).draw(jax.random.key(0))
    with pytest.raises(ValueError, match="finite"):
        Dict({"x": Box(0.0, np.inf, (), np.float32)}).draw(jax.random.key(0), ("x",))
