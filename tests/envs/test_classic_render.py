"""Classic control: frames equal to Gymnasium's, recoloured as the reference does; the primitives equal to pygame's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.classic_originals import LANES, draws, each, original

from envs_mjx.classic import arrow, gfx, track
from envs_mjx.classic.cartpole import CartPoleControl
from envs_mjx.classic.disc import draw_disc
from envs_mjx.classic.mountain_car import MountainCarBase

pytestmark = pytest.mark.optimised

pygame = pytest.importorskip("pygame", reason="pygame draws the frames that ours are compared with")


@pytest.fixture(autouse=True)
def without_a_screen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def recoloured(env, image, factors):
    """The reference's exact-match recolouring, one colour after the other."""
    drawn = {name: color for name, _, _, color in env.visual}
    for name in env.swap_order:
        target = (np.clip(factors[f"visuals.{name}"], 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        image[(image == np.asarray(drawn[name], np.uint8)).all(-1)] = target
    return image


def scenes(env, count):
    """State vectors all over the picture and over its edges."""
    rng = np.random.default_rng(7)
    if isinstance(env, CartPoleControl):
        high = np.asarray([2.6, 1, 0.4, 1])
        vectors = rng.uniform(-high, high, (count, 4))
        vectors[-1, 2] = 2.0
        return vectors
    if isinstance(env, MountainCarBase):
        vectors = np.stack([rng.uniform(-1.2, 0.6, count), np.zeros(count)], axis=1)
        vectors[:2, 0] = -1.15, 0.55
        return vectors
    return rng.uniform(-3.0, 3.0, (count, len(env.state_names)))


@each
def test_frames_are_gymnasiums(env):
    count = 4 * LANES
    vectors = scenes(env, count)
    factors = {name: np.concatenate([value] * 4) for name, value in draws(env).items()}
    actions = np.asarray([env.action_space.sample() for _ in range(count)])
    frames = []
    for i in range(count):
        own = {name: value[i] for name, value in factors.items()}
        inner = original(env, own, render_mode="rgb_array")
        inner.reset(seed=0)
        inner.unwrapped.state = vectors[i]
        # Half of them before a step: a pendulum shows its torque afterwards.
        if i % 2:
            inner.step(actions[i])
        frames.append(recoloured(env, inner.render(), own))
        inner.close()

    def ours(values, vector, action, moves):
        state = env.reset(jax.random.key(0), values=values, options={"state": vector})
        moved = env.step(state, action)
        return env.render(jax.tree.map(lambda a, b: jnp.where(moves, a, b), moved, state))

    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(ours))(factors, vectors, actions, np.arange(count) % 2 == 1)
    np.testing.assert_array_equal(found, np.stack(frames))


def picture(surface):
    return np.transpose(pygame.surfarray.array3d(surface), (1, 0, 2))


def surface(width, height, color=(250, 180, 40)):
    made = pygame.Surface((width, height))
    made.fill(color)
    return made


def test_polygons_are_pygames_on_and_beyond_the_edges():
    from pygame import gfxdraw

    color, rng = (12, 200, 99), np.random.default_rng(0)
    sizes = rng.uniform(10, 60, (60, 2))
    angles = np.where(np.arange(60) % 4 == 0, rng.integers(5, size=60) * np.pi / 2, rng.uniform(-7, 7, 60))
    middles = rng.uniform((-20, -20), (120, 90), (60, 2))

    def ours(size, angle, middle):
        corners = gfx.rectangle(-size[0] / 2, size[0] / 2, size[1] / 2, -size[1] / 2, size.dtype)
        under = jnp.full((70, 100), gfx.packed((250, 180, 40)))
        return gfx.unpack(gfx.draw_polygon(under, gfx.rotated(corners, angle) + middle[None], color, (70, 100)))

    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(ours))(sizes, angles, middles)
    for (width, height), angle, middle, image in zip(sizes / 2, angles, middles, found, strict=True):
        corners = [(-width, -height), (-width, height), (width, height), (width, -height)]
        corners = [pygame.math.Vector2(corner).rotate_rad(angle) + middle for corner in corners]
        made = surface(100, 70)
        gfxdraw.aapolygon(made, corners, color)
        gfxdraw.filled_polygon(made, corners, color)
        np.testing.assert_array_equal(image, picture(made))


def test_discs_are_pygames_on_and_beyond_the_edges():
    from pygame import gfxdraw

    color, rng = (12, 200, 99), np.random.default_rng(1)
    radii = np.repeat(np.arange(2, 21), 3)
    middles = rng.integers(-15, (115, 85), (len(radii), 2)).astype(np.int32)
    under = jnp.full((70, 100), gfx.packed((250, 180, 40)))
    found = jax.jit(jax.vmap(lambda at, radius: gfx.unpack(draw_disc(under, at, radius, color, 20))))(middles, radii)
    for (x, y), radius, image in zip(middles.tolist(), radii.tolist(), found, strict=True):
        made = surface(100, 70)
        gfxdraw.aacircle(made, x, y, radius, color)
        gfxdraw.filled_circle(made, x, y, radius, color)
        np.testing.assert_array_equal(image, picture(made))


def test_the_arrow_is_pygames_at_every_size():
    path = arrow.Path(arrow.gymnasium.__file__).parent / "envs" / "classic_control" / "assets" / "clockwise.png"
    image = pygame.image.load(path)
    np.testing.assert_array_equal(arrow._read_opacity(path), pygame.surfarray.array_alpha(image).T)
    opacities, starts = arrow._scaled_arrows()
    for side in range(1, 228):
        scaled = pygame.surfarray.array_alpha(pygame.transform.smoothscale(image, (side, side))).T
        np.testing.assert_array_equal(opacities[starts[side] : starts[side] + side**2].reshape(side, side), scaled)
    # A torque beyond the factors' bounds is drawn as the largest.
    draw = jax.jit(jax.vmap(lambda torque: arrow.draw_arrow(gfx.blank(500, 500), torque, 500 / 4.4)))
    full, beyond = draw(jnp.asarray([4.0, 9.0]))
    np.testing.assert_array_equal(full, beyond)


def test_the_track_is_pygames():
    made = surface(600, 400, (255, 255, 255))
    positions = np.linspace(-1.2, 0.6, 100)
    scale = 600 / (0.6 - -1.2)
    points = list(zip((positions - -1.2) * scale, (np.sin(3 * positions) * 0.45 + 0.55) * scale, strict=True))
    pygame.draw.aalines(made, (0, 0, 0), False, points)
    found = gfx.unpack(jnp.asarray(track.track_picture(-1.2, 0.6, scale)))
    np.testing.assert_array_equal(found, picture(made))
