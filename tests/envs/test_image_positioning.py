"""ImagePositioning: recorded layouts, distances, noise and frames, pictures, gradients, bad input."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types

from envs_mjx.image_positioning import ImagePositioning, Picture, optimal_action
from envs_mjx.image_positioning.pictures import framed
from envs_mjx.image_positioning.render import colored_noise, render_frame, turned

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
ENV = ImagePositioning(resolution=48)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "image_positioning.npz"))


@pytest.fixture(scope="module")
def env(golden):
    return ImagePositioning(resolution=60, images=(Picture.of(golden["picture_0"]), Picture.of(golden["picture_1"])))


def as_action(env, vector):
    return {f"delta_{part}": values for part, values in env._parts(vector).items()}


def test_recorded_layouts_are_met(golden, env):
    def replay(layout, target, actions):
        state = env.reset(jax.random.key(0), options={"state": layout, "goal_state": target})

        def step(state, action):
            after = env.step(state, as_action(env, action))
            return after, (after, optimal_action(env, state))

        return state, jax.lax.scan(step, state, actions)[1]

    inputs = (golden["state"][:, 0], golden["goal"], golden["action"])
    first, (states, experts) = jax.jit(jax.vmap(replay))(*(jnp.asarray(one, jnp.float32) for one in inputs))
    np.testing.assert_allclose(states.physics, golden["state"][:, 1:], atol=1e-6)
    for i, name in enumerate(("background_distance", "location_distance", "rotation_distance")):
        np.testing.assert_allclose(states.info[name], golden["distances"][:, 1:, i], atol=2e-6)
    np.testing.assert_array_equal(states.terminated, golden["terminated"])
    np.testing.assert_array_equal(states.reward, golden["terminated"].astype(float))
    assert golden["terminated"].any(1).all()
    assert not golden["terminated"].all(1).any()
    # From the fourth step on the reference's own expert acts.
    for name, values in experts.items():
        expected = jax.vmap(jax.vmap(lambda action: as_action(env, action)))(golden["action"])[name]
        np.testing.assert_allclose(values[:, 3:], np.clip(expected[:, 3:], -0.1, 0.1), atol=1e-6)
    assert not first.reward.any()


def test_noise_equals_the_recorded_one(golden):
    ours = jax.jit(jax.vmap(lambda white: colored_noise(white, 1.0)))(golden["white"])
    difference = np.abs(np.asarray(ours).astype(int) - golden["noise"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    white = colored_noise(jnp.asarray(golden["white"][0]), 0.0)
    assert np.corrcoef(np.asarray(white).ravel(), golden["white"][0].ravel())[0, 1] > 0.999


def test_frames_equal_the_recorded_ones(golden, env):
    pictures = framed(env.pictures)

    @jax.jit
    @jax.vmap
    def draw(noise, layout):
        parts = env._parts(layout)
        return render_frame(noise, parts["background"][:, 0], parts["locations"], parts["rotations"][:, 0], pictures)

    layouts = np.concatenate([golden["state"], golden["goal"][:, None]], axis=1).astype(np.float32)
    frames = np.concatenate([golden["frames"], golden["target"][:, None]], axis=1)
    count = layouts.shape[1]
    drawn = draw(np.repeat(golden["noise"], count, axis=0), layouts.reshape(-1, layouts.shape[-1]))
    same = (np.asarray(drawn).reshape(frames.shape) == frames).all(-1).mean((-2, -1))
    assert same.min() >= 0.999


def test_turning_moves_pixels_counterclockwise():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) + 1
    turn = jax.jit(jax.vmap(lambda turns: turned(picture, turns)))
    still, whole, half, quarter = np.asarray(turn(jnp.asarray([0.0, 1.0, 0.5, 0.25])))
    np.testing.assert_array_equal(still, picture)
    np.testing.assert_array_equal(whole, picture)
    np.testing.assert_array_equal(half, picture[::-1, ::-1])
    square = picture[:, :4]
    np.testing.assert_array_equal(turned(square, jnp.asarray(0.25)), np.rot90(square))
    # An oblong picture keeps its size: what leaves it is lost, and black comes in.
    assert quarter.shape == picture.shape
    assert (quarter == 0).all(-1).any()


def test_frames_of_the_environment():
    state = ENV.reset(jax.random.key(0))
    render = jax.jit(ENV.render)
    frame = np.asarray(render(state))
    assert frame.shape == (48, 48, 3)
    target = np.asarray(render(ENV.set_state(state, state.goal)))
    assert (frame != target).mean() > 0.1
    # One more background, and the same one after a step that changes nothing.
    still = ENV.step(state, as_action(ENV, jnp.zeros(11)))
    np.testing.assert_array_equal(render(still), frame)
    oblong = ImagePositioning(resolution=48, images=(Picture.of(np.full((4, 20, 3), 200, np.uint8)),))
    layout = jnp.asarray([0.0, 0.0, 0.25, 0.5, 0.0])
    pasted = np.asarray(jax.jit(oblong.render)(oblong.reset(jax.random.key(0), options={"state": layout})))
    np.testing.assert_array_equal(pasted[24:38, 12:42][5:9, 5:25], 200)
    np.testing.assert_array_equal(pasted[24:38, 12:42][[0, -1]], np.broadcast_to((31, 119, 180), (2, 30, 3)))


def test_resets_are_functions_of_their_keys_and_stay_in_bounds():
    keys = jax.random.split(jax.random.key(0), 64)
    batch = jax.device_get(jax.jit(jax.vmap(ENV.reset))(keys))
    single = ENV.reset(keys[3])
    np.testing.assert_array_equal(single.physics, batch.physics[3])
    for name, space in ENV.observation_space.spaces.items():
        assert space.contains(batch.obs[name][3])
        assert batch.obs[name].min() >= 0
        assert batch.obs[name].max() <= space.high.max()
        assert batch.obs[name].max() > 0.85
    action = ENV.behaviour_action(keys[0], single)
    assert ENV.action_space.contains(jax.device_get(action))
    assert jax.tree.structure(ENV.step(single, action)) == jax.tree.structure(single)
    assert ENV.variation_space.names() == []


def test_goals_and_gradients():
    state = ENV.reset(jax.random.key(1))
    reached = ENV.set_goal(state, ENV.goal_from(state))
    assert reached.terminated
    assert ENV.planning_cost(reached) == 0
    assert ENV.distance(reached) == 0
    assert not state.terminated
    middle = ENV.set_state(state, jnp.full(11, 0.5))

    def cost(delta):
        return ENV.planning_cost(ENV.step(middle, as_action(ENV, delta)))

    gradient = jax.jit(jax.grad(cost))(jnp.full(11, 0.02))
    np.testing.assert_allclose(gradient, 2 * (0.52 - state.goal), atol=1e-5)
    assert np.isfinite(jax.jit(jax.grad(lambda v: ENV.distance(ENV.set_state(reached, v))))(reached.physics)).all()


def test_bad_input_is_refused(golden):
    for resolution in (7, 32.0):
        with unchecked_types(), pytest.raises(ValueError, match="resolution must be a whole number of at least 8 px"):
            ImagePositioning(resolution=resolution)
    with (
        unchecked_types(),
        pytest.raises(ValueError, match=r"images must be a tuple of Picture.of\(p.*, got list"),
    ):
        ImagePositioning(images=[golden["picture_0"]])
    with pytest.raises(ValueError, match="images must be 1 to 10 pictures, got 0"):
        ImagePositioning(images=())
    with pytest.raises(ValueError, match="background_power_decay must be finite, got nan"):
        ImagePositioning(background_power_decay=float("nan"))
    for pixels in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="a picture is uint8 of shape"):
            Picture.of(pixels)
    with pytest.raises(ValueError, match="state must have 11 entries"):
        ENV.reset(jax.random.key(0), options={"state": np.zeros(4)})
    state = ENV.reset(jax.random.key(0))
    action = ENV.behaviour_action(state.key, state)
    with pytest.raises(ValueError, match="action must be a dict with the entries"):
        ENV.step(state, {"delta_background": action["delta_background"]})
    with pytest.raises(ValueError, match=r"action must be floating point of shape \[2, 1\]"):
        ENV.step(state, action | {"delta_background": jnp.zeros(2)})
    frozen = ENV.step(state, action | {"delta_background": jnp.full((2, 1), jnp.nan)})
    assert frozen.info["invalid_action"]
    np.testing.assert_array_equal(frozen.physics, state.physics)
    assert ImagePositioning() == ImagePositioning()
    assert hash(ImagePositioning()) == hash(ImagePositioning())
