"""The rasteriser against what pygame and OpenCV drew when recorded, and against pygame itself where installed."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_mjx import raster
from envs_mjx.raster import Resize, Spans

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = 512
ROWS = jnp.arange(SIZE, dtype=jnp.int32)


def fat_segment(ends):
    """Body and end discs; a segment that is a single pixel is a bare line."""
    radius = jnp.where((ends[0] != ends[1]).any(), 2, 0)
    parts = [raster.fat_segment_body(ends[0], ends[1], 2, ROWS, SIZE)]
    parts += [raster.disc(end, radius, ROWS, 2) for end in ends]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


DRAW = {
    "polygon": lambda a: raster.convex_polygon(a, ROWS),
    "disc": lambda a: raster.disc(a[:2], a[2], ROWS),
    "line": lambda a: raster.wide_line(a[0], a[1], 4, ROWS, SIZE),
    "segment": fat_segment,
}


def bitmap(spans: Spans) -> np.ndarray:
    """Pixels [height, width] covered by any of the spans."""
    columns = np.arange(SIZE)
    lo, hi = np.asarray(spans.lo)[..., None], np.asarray(spans.hi)[..., None]
    return ((columns >= lo) & (columns <= hi)).reshape(-1, *lo.shape[-2:-1], SIZE).any(0)


def resized(picture: np.ndarray, resize: Resize) -> jax.Array:
    """The resize of a whole picture [canvas, canvas, 3]."""
    picture = jnp.asarray(picture, jnp.int32)
    samples = [[picture[rows][:, np.clip(columns, 0, None)] for columns in resize.columns] for rows in resize.rows]
    row_weights, column_weights = jnp.asarray(resize.row_weights), jnp.asarray(resize.column_weights)
    return resize.blend(samples, row_weights[:, :, None, None], column_weights[:, None, :, None])


@pytest.mark.parametrize("name", DRAW)
def test_primitive_equals_recorded_pixels(name):
    golden = np.load(GOLDEN / "raster_primitives.npz")
    draw = jax.jit(jax.vmap(DRAW[name]))(jnp.asarray(golden[name], jnp.int32))
    for i, packed in enumerate(golden[f"{name}_mask"]):
        got = bitmap(jax.tree.map(lambda leaf: leaf[i], draw))  # noqa: B023
        want = np.unpackbits(packed).reshape(SIZE, SIZE).astype(bool)
        np.testing.assert_array_equal(got, want, err_msg=f"{name} {golden[name][i].tolist()}")


def _random_arguments(name: str, rng: np.random.Generator, i: int) -> list:
    if name == "disc":
        return [*rng.integers(-40, 550, 2).tolist(), i % 65]
    if name == "polygon":
        size, angle = rng.uniform(3, 250, 2), rng.uniform(0, 7) if i % 5 else np.pi / 2 * (i % 4)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * size @ turn + rng.uniform(-60, 570, 2)
        return np.rint(corners).astype(int).tolist()
    ends = rng.integers(-150, 650, (2, 2)) if i % 2 else rng.integers(0, SIZE, (2, 2))
    if i % 7 == 0:
        ends[1, i % 2] = ends[0, i % 2]
    elif i % 7 == 1:
        ends[1] = ends[0] + rng.integers(-6, 7, 2)
    elif i % 7 == 2:
        ends[1] = ends[0] + rng.integers(-80, 80) * np.array([1, 1 - i % 2 * 2])
    return ends.tolist()


@pytest.mark.reference
@pytest.mark.parametrize("name", ["polygon", "disc", "line"])
def test_primitive_equals_live_pygame(name):
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame", reason="pygame (extra `reference`) is not installed")
    white = (255, 255, 255)
    oracle = {
        "polygon": lambda s, a: pygame.draw.polygon(s, white, [*a, a[0]]),
        "disc": lambda s, a: pygame.draw.circle(s, white, a[:2], a[2]),
        "line": lambda s, a: pygame.draw.line(s, white, a[0], a[1], 4),
    }[name]
    draw = jax.jit(DRAW[name])
    rng = np.random.default_rng(3)
    for i in range(1000):
        arguments = _random_arguments(name, rng, i)
        surface = pygame.Surface((SIZE, SIZE))
        oracle(surface, arguments)
        want = pygame.surfarray.pixels3d(surface)[..., 0].T > 0
        got = bitmap(draw(jnp.asarray(arguments, jnp.int32)))
        np.testing.assert_array_equal(got, want, err_msg=f"{name} {arguments}")


def test_line_and_quad_of_a_fat_segment_touch_on_every_row():
    """`fat_segment_body` returns one span a row, which is the union only if there is no gap."""
    steps = np.concatenate([np.arange(-40, 41), [-300, -171, -97, 97, 171, 300]])
    ends = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    ends = jnp.asarray(np.stack([np.full_like(ends, 256), 256 + np.clip(ends, -250, 250)], 1), jnp.int32)

    def parts(end):
        start, end = end
        length = jnp.abs(end - start)
        body = raster.fat_segment_body(start, end, 2, ROWS, SIZE)
        line = raster.wide_line(start, end, 4, ROWS, SIZE)
        offset = jnp.rint(2 * length[::-1] / jnp.linalg.norm(length.astype(jnp.float32))).astype(jnp.int32)
        quad = raster.convex_polygon(jnp.stack([start - offset, start + offset, end + offset, end - offset]), ROWS)
        both = (line.lo <= line.hi) & (quad.lo <= quad.hi)
        apart = both & ((line.lo > quad.hi + 1) | (quad.lo > line.hi + 1))
        return apart.any(), (body.lo == jnp.minimum(line.lo, quad.lo)).all()

    moved = (ends[:, 0] != ends[:, 1]).any(1)
    apart, same = jax.jit(jax.vmap(parts))(ends[np.asarray(moved)])
    assert not apart.any()
    assert same.all()


@pytest.mark.parametrize("size", [8, 13, 32, 48, 64, 96])
def test_resize_equals_opencv(size):
    golden = np.load(GOLDEN / "raster_resize.npz")
    resize = Resize(canvas=64, size=size)
    np.testing.assert_array_equal(resized(golden["noise"], resize), golden[f"size_{size}"])


@pytest.mark.parametrize("size", [8, 31, 224, 256, 512, 600])
def test_masks_of_spans_equal_masks_of_bitmaps(size):
    resize = Resize(canvas=SIZE, size=size)
    rng = np.random.default_rng(size)
    lo = rng.integers(-600, 1100, SIZE)
    hi = lo + rng.integers(-3, 500, SIZE)
    # Samples outside the canvas have no weight, and their bits no meaning.
    lo, hi = np.maximum(lo, 0), np.minimum(hi, SIZE - 1)
    everywhere = Spans(lo=jnp.asarray(lo, jnp.int32), hi=jnp.asarray(hi, jnp.int32))
    sampled = jax.tree.map(lambda leaf: leaf[raster.sampled_rows(resize)], everywhere)
    np.testing.assert_array_equal(raster.cover(sampled, resize), raster.pack(bitmap(everywhere), resize))


@pytest.mark.parametrize("size", [8, 40, 224, 256, 512, 600])
def test_composed_picture_equals_painting_then_resizing(size):
    resize = Resize(canvas=SIZE, size=size)
    rng = np.random.default_rng(size)
    palette = rng.integers(0, 256, (6, 3), dtype=np.uint8)
    picture = np.zeros((SIZE, SIZE), int)
    canvas = raster.blank(resize, len(palette))
    for colour in (3, 5, 1, 4, 2, 0):
        pixels = rng.random((SIZE, SIZE)) < 0.3
        picture[pixels] = colour
        canvas = raster.paint(canvas, jnp.asarray(raster.pack(pixels, resize)), colour)
    want = resized(palette[picture], resize)
    got = jax.jit(lambda canvas: raster.unpack(raster.compose(canvas, jnp.asarray(palette), resize)))(canvas)
    assert got.dtype == jnp.uint8
    np.testing.assert_array_equal(got, want)


def test_coordinates_round_half_to_even():
    points = jnp.array([[0.5, 1.5], [-0.5, 2.5], [1e9, -1e9]])
    np.testing.assert_array_equal(raster.to_pixels(points), [[0, 2], [0, 2], [4095, -4095]])


@pytest.mark.parametrize(("canvas", "size", "named"), [(500, 8, "canvas is 500"), (512, 0, "size is 0")])
def test_impossible_resize_is_refused(canvas, size, named):
    with pytest.raises(ValueError, match=named):
        Resize(canvas=canvas, size=size)
