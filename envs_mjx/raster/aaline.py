"""Short anti-aliased lines, blended over a canvas in the few output tiles that they touch."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int, UInt8, UInt32

from envs_mjx.raster.canvas import Canvas, blend_packed, window
from envs_mjx.raster.resize import Resize
from envs_mjx.rigid2d.batching import max_in_batch

_TILE = 16  # canvas pixels of a line, along its longer axis, that one tile holds


@chex.dataclass(frozen=True)
class _Lines:
    """Lines walked along their longer axis `u` from `start` for `steps` pixels; `v` is the other axis."""

    steep: Bool[Array, " K"]
    start: Int[Array, "K 2"]
    steps: Int[Array, " K"]
    heights: Float32[Array, "K L"]


def _walk(starts: Int[Array, "K 2"], ends: Int[Array, "K 2"], max_steps: int) -> _Lines:
    """Height `v + 1` of each line at each step, with the float32 sums of pygame's loop."""
    delta = ends - starts
    steep = jnp.abs(delta[:, 0]) < jnp.abs(delta[:, 1])
    axis = steep[:, None]
    starts, ends = jnp.where(axis, starts[:, ::-1], starts), jnp.where(axis, ends[:, ::-1], ends)
    backwards = (ends < starts)[:, :1]
    first, last = jnp.where(backwards, ends, starts), jnp.where(backwards, starts, ends)
    steps = (last - first)[:, 0]
    rise = (last - first)[:, 1]
    gradient = (rise.astype(jnp.float32) / jnp.maximum(steps, 1).astype(jnp.float32))[:, None]
    index = jnp.arange(max_steps + 1, dtype=jnp.int32)[None, :]
    height = jnp.broadcast_to((first[:, 1:] + 1).astype(jnp.float32), (len(starts), max_steps + 1))
    for step in range(max_steps):
        height = jnp.where(index > step, height + gradient, height)
    height = jnp.where(index == steps[:, None], (last[:, 1:] + 1).astype(jnp.float32), height)
    return _Lines(steep=steep, start=first, steps=steps, heights=height)


def _brightness(line: _Lines, x: Int[Array, " W"], y: Int[Array, " H"]) -> Float32[Array, "H W"]:
    """How much of a line's colour each pixel of a grid takes, 0 to 1."""
    along = jnp.where(line.steep, y[:, None], x[None, :])
    aside = jnp.where(line.steep, x[None, :], y[:, None])

    def height_at(u: Int[Array, " n"]) -> Float32[Array, " n"]:
        return line.heights[jnp.clip(u - line.start[0], 0, line.heights.shape[0] - 1)]

    height = jnp.where(line.steep, height_at(y)[:, None], height_at(x)[None, :])
    whole = height.astype(jnp.int32)
    upper = (1 - height) + whole.astype(jnp.float32)
    lower = jnp.where(whole.astype(jnp.float32) < height, 1 - upper, 0.0)
    step = along - line.start[0]
    amount = jnp.where(aside == whole - 1, upper, jnp.where(aside == whole, lower, 0.0))
    return jnp.where((step >= 0) & (step <= line.steps), amount, 0.0)


def _mix(under: UInt32[Array, "H W"], color: UInt8[Array, "3"], brightness: Float32[Array, "H W"]) -> Array:
    """Blend a colour over packed pixels, cutting fractions off."""

    def exact(product):
        # Keeps XLA from fusing the product into the sum, which would round once less than pygame.
        return jax.lax.reduce_precision(product, 8, 23)

    mixed = jnp.zeros_like(under)
    for i in range(3):
        old = (under >> (8 * i) & 255).astype(jnp.float32)
        value = exact(brightness * color[i].astype(jnp.float32)) + exact((1 - brightness) * old)
        mixed = mixed | value.astype(jnp.uint32) << (8 * i)
    return mixed


def draw_aalines(
    pixels: UInt32[Array, "size size"],
    canvas: Canvas,
    palette: UInt8[Array, "colours 3"],
    starts: Int[Array, "K 2"],
    ends: Int[Array, "K 2"],
    mask: Bool[Array, " K"],
    color: UInt8[Array, "3"],
    resize: Resize,
    max_lines: int = 12,
    max_tiles: int = 12,
    max_length: int = 95,
) -> UInt32[Array, "size size"]:
    """Draw anti-aliased lines over a finished picture, in order.

    The canvas cannot hold blended colours, so the output pixels near each line are composed again with the lines over
    them, in square tiles along the line.

    Args:
        pixels: the picture that `compose` made of the canvas.
        canvas: what the picture shows, without the lines.
        palette: RGB of each colour index, 0 to 255.
        starts: px.
        ends: px.
        mask: which lines exist.
        color: RGB, 0 to 255.
        resize: the sampling that the canvas was painted with.
        max_lines: how many existing lines are drawn; later ones are left out.
        max_tiles: how many stretches of 16 px are drawn in all; later ones are left out.
        max_length: pixels along a line's longer axis beyond which the rest is left out.

    Returns:
        The picture with the lines.

    Source: pygame 2.6 `draw_aaline` with integer end points inside the canvas.
    """
    order = jnp.argsort(~mask, stable=True)[:max_lines]
    mask = mask[order]
    lines = _walk(starts[order], ends[order], max_length)

    # Tiles: each line is cut into stretches, numbered line by line.
    stretches = jnp.where(mask, jnp.minimum(lines.steps, max_length) // _TILE + 1, 0)
    until = jnp.cumsum(stretches, dtype=jnp.int32)
    tile = jnp.arange(max_tiles, dtype=jnp.int32)
    owner = jnp.minimum((tile[:, None] >= until[None, :]).sum(1, dtype=jnp.int32), len(mask) - 1)
    used = tile < until[-1]
    step = _TILE * (tile - (until - stretches)[owner])
    heights = lines.heights[owner]
    bounds = jnp.stack([step, jnp.minimum(step + _TILE - 1, lines.steps[owner])], 1)
    level = jnp.take_along_axis(heights, jnp.clip(bounds, 0, max_length), 1).min(1).astype(jnp.int32) - 1
    corner_u = lines.start[owner, 0] + step
    x, y = jnp.where(lines.steep[owner], level, corner_u), jnp.where(lines.steep[owner], corner_u, level)

    side = min(resize.size, (_TILE + 3) * resize.size // resize.canvas + 2)
    corner = jnp.clip(resize.count_below(jnp.stack([y, x]))[-1], 0, resize.size - side)
    all_rows, all_columns = jnp.asarray(resize.rows), jnp.asarray(resize.columns)
    row_weights, column_weights = jnp.asarray(resize.row_weights), jnp.asarray(resize.column_weights)

    def cut(table: Int[Array, "two size"], at: Int[Array, ""]) -> Int[Array, "two side"]:
        return jax.lax.dynamic_slice_in_dim(table, at, side, axis=1)

    def finish(tile: UInt32[Array, "H W"], row: Int[Array, ""], column: Int[Array, ""]) -> UInt32[Array, "side side"]:
        parts = tile.reshape(resize.taps, side, resize.taps, side)
        samples = [[parts[a, :, b] for b in range(resize.taps)] for a in range(resize.taps)]
        return blend_packed(samples, cut(row_weights, row), cut(column_weights, column), resize)

    # Existing lines come first, so the loops are as long as there are any; under vmap, as the fullest picture needs.
    count = max_in_batch(mask.sum(dtype=jnp.int32))
    numbers = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(0, 1), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1)
    )

    def draw(t: Int[Array, ""], pixels: UInt32[Array, "size size"]) -> UInt32[Array, "size size"]:
        row, column = corner[0, t], corner[1, t]
        rows, columns = cut(all_rows, row).reshape(-1), cut(all_columns, column).reshape(-1)

        def lay(k: Int[Array, ""], tile: UInt32[Array, "H W"]) -> UInt32[Array, "H W"]:
            line = jax.tree.map(lambda leaf: leaf[k], lines)
            mixed = _mix(tile, color, _brightness(line, columns, rows))
            return jnp.where(mask[k], mixed, tile)

        tile = jax.lax.fori_loop(0, count, lay, window(canvas, palette, row, column, side, resize))
        place = jnp.where(used[t], corner[:, t], resize.size)
        drop = jax.lax.GatherScatterMode.FILL_OR_DROP
        return jax.lax.scatter(pixels, place, finish(tile, row, column), numbers, mode=drop)

    return jax.lax.fori_loop(0, max_in_batch(used.sum(dtype=jnp.int32)), draw, pixels)
