"""Pixels of PushT, equal to the reference's: a 512 px canvas drawn with pygame, then shrunk with OpenCV."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from envs_mjx import raster
from envs_mjx.raster import Resize
from envs_mjx.rigid2d.batching import max_in_batch

WINDOW = 512
_OUTLINE_RADIUS = 2
_AGENT_MAX_RADIUS = 32
_WALL_COLOR = (211, 211, 211)
_WALL_ENDS = (5, 506)
# Shape ids that the reference's engine hands out before those of the agent: the four walls.
_FIRST_ID = 4
# Contact ticks reach this far (px) beyond both contact points.
_TICK = 2
_TICK_COLOR = (231, 76, 60)
# The inner disc of a round agent is this much (px) smaller.
_INSET = 4

# Palette indices.
_BACKGROUND, _GOAL, _WALL, _BLOCK, _BLOCK_FILL, _AGENT, _AGENT_FILL = range(7)
_COLORS = 7


@chex.dataclass(frozen=True)
class PushTScene:
    """What a frame shows. Positions in window px (y down), colours RGB 0 to 255; P parts, K contacts.

    Attributes:
        background: canvas colour.
        goal_parts: world corners of the goal overlay's rectangles; `part_mask` says which exist.
        goal_color: overlay colour.
        show_goal: whether the overlay is drawn.
        block_parts: world corners of the block's rectangles, in the engine's order.
        part_mask: which of the block's (and the overlay's) rectangles exist.
        block_color: outline colour; the fill is lighter.
        agent_is_circle: a disc, or the rectangles of `agent_parts`.
        agent_center: centre of the disc.
        agent_radius: radius of the disc, px.
        agent_parts: world corners of the agent's rectangles; an empty first axis leaves polygonal agents out.
        agent_part_mask: which of the agent's rectangles exist.
        agent_color: outline colour; the inside is lighter.
        contacts_a: contact points on the first shape.
        contacts_b: contact points on the second shape.
        contacts_n: unit normals from the first shape to the second.
        contact_mask: which contacts exist.
    """

    background: UInt8[Array, "3"]
    goal_parts: Float[Array, "P 4 2"]
    goal_color: UInt8[Array, "3"]
    show_goal: Bool[Array, ""]
    block_parts: Float[Array, "P 4 2"]
    part_mask: Bool[Array, " P"]
    block_color: UInt8[Array, "3"]
    agent_is_circle: Bool[Array, ""]
    agent_center: Float[Array, "2"]
    agent_radius: Float[Array, ""]
    agent_parts: Float[Array, "Q 4 2"]
    agent_part_mask: Bool[Array, " Q"]
    agent_color: UInt8[Array, "3"]
    contacts_a: Float[Array, "K 2"]
    contacts_b: Float[Array, "K 2"]
    contacts_n: Float[Array, "K 2"]
    contact_mask: Bool[Array, " K"]


def lighten(color: UInt8[Array, "3"]) -> UInt8[Array, "3"]:
    """The reference's inner colour: 1.2 times each channel in float32, at most 255, rounded half to even."""
    table = np.rint(np.minimum(np.float32(1.2) * np.arange(256, dtype=np.float32), np.float32(255)))
    return jnp.asarray(table.astype(np.uint8))[color]


@functools.cache
def _wall_mask(size: int) -> np.ndarray:
    """Mask of the walls: four fat segments of radius 2 between the corners 5 and 506, always in the same place."""
    pixels = np.zeros((WINDOW, WINDOW), bool)
    low, high = _WALL_ENDS
    for across in (low, high):
        pixels[low : high + 1, across - 2 : across + 3] = True
        pixels[across - 2 : across + 3, low : high + 1] = True
        for down in (low, high):
            pixels[down - 2 : down + 2, across - 1 : across + 1] = True
            pixels[down - 1 : down + 1, across - 2 : across + 2] = True
    return raster.pack(pixels, Resize(canvas=WINDOW, size=size))


def _in_drawing_order(scene: PushTScene) -> tuple[Array, Array, Array]:
    """Corners, existence and whether it is the agent's, of each outlined rectangle from the lowest to the topmost.

    The reference's engine draws dynamic shapes in the order of its hash bins: shape ids (walls first, then the agent's
    parts, then the block's) modulo 5, or modulo 13 from five dynamic shapes on. A disc is always topmost.
    """
    blocks, agents = scene.block_parts.shape[0], scene.agent_parts.shape[0]
    exists = scene.part_mask
    if agents == 0:
        return scene.block_parts, exists, jnp.zeros(blocks, bool)
    agent_exists = scene.agent_part_mask & ~scene.agent_is_circle
    agent_count = jnp.where(scene.agent_is_circle, 1, agent_exists.sum())
    ids = _FIRST_ID + jnp.concatenate([agent_count + jnp.arange(blocks), jnp.arange(agents)])
    bins = jnp.where(agent_count + exists.sum() < 5, 5, 13)
    everyone = jnp.concatenate([exists, agent_exists])
    # Absent ones last, so that they can be left out.
    order = jnp.argsort(jnp.where(everyone, ids % bins, bins), stable=True)
    parts = jnp.concatenate([scene.block_parts, scene.agent_parts])
    return parts[order], everyone[order], jnp.arange(blocks + agents)[order] >= blocks


@chex.dataclass(frozen=True)
class _Rectangles:
    """Rectangles in px: those of the goal and, from the lowest to the topmost, those with outlines."""

    goal: Int[Array, "P 4 2"]
    goal_exists: Bool[Array, " P"]
    parts: Int[Array, "n 4 2"]
    exists: Bool[Array, " n"]
    of_agent: Bool[Array, " n"]


def _draw(rectangles: _Rectangles, discs: UInt32[Array, "2 words rows"], resize: Resize) -> raster.Canvas:
    """Draw everything; no more rectangles are looked at than some scene of a batch has."""
    blocks, total = len(rectangles.goal_exists), len(rectangles.exists)
    counts = sorted({min(count, total) for count in (*range(2, blocks + 1), total)})
    last = jnp.where(rectangles.exists, jnp.arange(1, total + 1, dtype=jnp.int32), 0).max()
    needed = max_in_batch(last)
    branch = sum((needed > count).astype(jnp.int32) for count in counts[:-1])
    return jax.lax.switch(branch, [functools.partial(_draw_first, n, resize) for n in counts], rectangles, discs)


def _draw_first(
    count: int, resize: Resize, rectangles: _Rectangles, discs: UInt32[Array, "2 words rows"]
) -> raster.Canvas:
    """Draw with the first `count` rectangles, beyond which none exists."""
    rows = raster.sampled_rows(resize)
    fill_polygons = jax.vmap(lambda vertices: raster.convex_polygon(vertices, rows))
    goals = min(count, len(rectangles.goal_exists))
    goal = raster.where(rectangles.goal_exists[:goals, None], fill_polygons(rectangles.goal[:goals]))
    parts, exists, of_agent = (x[:count] for x in (rectangles.parts, rectangles.exists, rectangles.of_agent))
    fills = raster.where(exists[:, None], fill_polygons(parts))
    outlines = jax.vmap(lambda vertices: raster.fat_outline(vertices, _OUTLINE_RADIUS, rows, WINDOW))(parts)
    outlines = raster.where(exists[:, None, None], outlines)

    canvas = raster.blank(resize, _COLORS)
    canvas = raster.paint(canvas, raster.union(raster.cover(goal, resize)), _GOAL)
    # The disc and the walls lie over all rectangles. They are painted first and their pixels kept, so that the loop
    # over the rectangles comes last: what a loop returns lies in memory, where XLA would fuse a chain of paints into
    # everything that follows.
    disc, inner_disc = discs
    walls = jnp.asarray(_wall_mask(resize.size))
    canvas = raster.paint(canvas, disc, _AGENT)
    canvas = raster.paint(canvas, inner_disc, _AGENT_FILL)
    canvas = raster.paint(canvas, walls, _WALL)
    free = ~(disc | inner_disc | walls)[None]

    fill_masks = free & raster.cover(fills, resize)
    outline_masks = free & jax.vmap(lambda spans: raster.union(raster.cover(spans, resize)))(outlines)

    def paint_part(canvas: raster.Canvas, part: tuple) -> tuple[raster.Canvas, None]:
        fill, outline, agent = part
        canvas = raster.paint(canvas, fill, jnp.where(agent, _AGENT_FILL, _BLOCK_FILL))
        return raster.paint(canvas, outline, jnp.where(agent, _AGENT, _BLOCK)), None

    return jax.lax.scan(paint_part, canvas, (fill_masks, outline_masks, of_agent))[0]


def render_scene(scene: PushTScene, resolution: int) -> UInt8[Array, "H W 3"]:
    """Draw a frame.

    Args:
        scene: what to draw.
        resolution: side of the image, px.

    Returns:
        RGB image [resolution, resolution, 3].

    Source: reference `envs/pusht/env.py` `_render_frame`, `envs/utils.py` `DrawOptions`.
    """
    resize = Resize(canvas=WINDOW, size=resolution)
    rows = raster.sampled_rows(resize)
    center = raster.to_pixels(scene.agent_center)
    radii = raster.to_pixels(scene.agent_radius - jnp.asarray([0, _INSET], scene.agent_radius.dtype))
    disc_spans = jax.vmap(lambda radius: raster.disc(center, radius, rows, _AGENT_MAX_RADIUS))(radii)
    discs = raster.cover(raster.where(scene.agent_is_circle, disc_spans), resize)

    parts, exists, of_agent = _in_drawing_order(scene)
    rectangles = _Rectangles(
        goal=raster.to_pixels(scene.goal_parts),
        goal_exists=scene.part_mask & scene.show_goal,
        parts=raster.to_pixels(parts),
        exists=exists,
        of_agent=of_agent,
    )
    canvas = _draw(rectangles, discs, resize)

    colors = {
        _BACKGROUND: scene.background,
        _GOAL: scene.goal_color,
        _WALL: jnp.asarray(_WALL_COLOR, jnp.uint8),
        _BLOCK: scene.block_color,
        _BLOCK_FILL: lighten(scene.block_color),
        _AGENT: scene.agent_color,
        _AGENT_FILL: lighten(scene.agent_color),
    }
    palette = jnp.stack([colors[i] for i in range(_COLORS)])
    pixels = raster.compose(canvas, palette, resize)
    if scene.contact_mask.shape[0] > 0:
        reach = _TICK * scene.contacts_n
        starts, ends = raster.to_pixels(scene.contacts_a - reach), raster.to_pixels(scene.contacts_b + reach)
        tick_color = jnp.asarray(_TICK_COLOR, jnp.uint8)
        pixels = raster.draw_aalines(pixels, canvas, palette, starts, ends, scene.contact_mask, tick_color, resize)
    return raster.unpack(pixels)
