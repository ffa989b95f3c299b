"""A canvas of bit planes: painting in palette colours, 32 pixels a word, only where an output image samples it.

The canvas holds the sampled rows and columns alone. A pixel's colour is an index into a small palette, and each bit of
the index is a plane of 32-bit words, so that laying one primitive over the others costs a few word operations a row.
"""

import functools
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8, UInt32

from envs_mjx.raster.resize import Resize
from envs_mjx.raster.spans import Spans

_WORD = 32


@chex.dataclass(frozen=True)
class Canvas:
    """Colour index of every sampled pixel, one bit a plane, lowest bit first."""

    planes: tuple[UInt32[Array, "words rows"], ...]


def sampled_rows(resize: Resize) -> Int[Array, " rows"]:
    """Canvas rows that an output image samples: tap by tap, each in the order of the output rows."""
    return jnp.asarray(resize.rows.reshape(-1))


def _words_per_row(resize: Resize) -> int:
    return -(-resize.size // _WORD)


def cover(spans: Spans, resize: Resize) -> UInt32[Array, "*prims words rows"]:
    """Bit mask of the sampled pixels that each primitive covers.

    Args:
        spans: columns covered on each row of `sampled_rows(resize)`, px.
        resize: sampling of the canvas.

    Returns:
        Masks; words run tap by tap, then along the output columns, lowest bit leftmost.
    """
    base = (_WORD * jnp.arange(_words_per_row(resize), dtype=jnp.int32)).reshape((1,) * spans.lo.ndim + (-1, 1))

    def from_column(count: Int[Array, "taps *dims"]) -> UInt32[Array, "*prims words rows"]:
        shift = jnp.clip(jnp.moveaxis(count, 0, -2)[..., :, None, :] - base, 0, _WORD).astype(jnp.uint32)
        bits = jax.lax.shift_left(jnp.full(shift.shape, 0xFFFFFFFF, jnp.uint32), shift)
        return bits.reshape((*bits.shape[:-3], -1, bits.shape[-1]))

    return from_column(resize.count_below(spans.lo)) & ~from_column(resize.count_below(spans.hi + 1))


def union(masks: UInt32[Array, "prims words rows"]) -> UInt32[Array, "words rows"]:
    """Pixels that any of the masks has."""
    return functools.reduce(jnp.bitwise_or, list(masks))


def pack(pixels: np.ndarray, resize: Resize) -> np.ndarray:
    """Mask [words, rows] of a fixed canvas bitmap [canvas, canvas], made once on the host."""
    columns = resize.columns
    inside = (columns >= 0) & (columns < resize.canvas)
    sampled = pixels[resize.rows.reshape(-1, 1), np.clip(columns, 0, resize.canvas - 1).reshape(1, -1)]
    bits = (sampled & inside.reshape(1, -1)).reshape(-1, resize.taps, resize.size)
    bits = np.pad(bits, ((0, 0), (0, 0), (0, -resize.size % _WORD)))
    words = np.packbits(bits, axis=-1, bitorder="little").view("<u4")
    return np.moveaxis(words.reshape(len(words), -1), 0, -1).astype(np.uint32)


def blank(resize: Resize, colours: int) -> Canvas:
    """Canvas filled with palette entry 0, able to hold `colours` of them."""
    planes = max(colours - 1, 1).bit_length()
    rows, words = resize.taps * resize.size, resize.taps * _words_per_row(resize)
    return Canvas(planes=(jnp.zeros((words, rows), jnp.uint32),) * planes)


def paint(canvas: Canvas, mask: UInt32[Array, "words rows"], colour: int | Int[Array, ""]) -> Canvas:
    """Lay one palette colour over the canvas where the mask is set."""
    index = jnp.asarray(colour).astype(jnp.uint32)
    return Canvas(planes=tuple((p & ~mask) | (mask & -(index >> bit & 1)) for bit, p in enumerate(canvas.planes)))


def _select(bits: Sequence[Array], entries: Sequence[Array]) -> Array:
    """Entry whose index has the given bits, lowest first."""
    for bit in bits:
        entries = [
            jnp.where(bit, entries[i + 1], entries[i]) if i + 1 < len(entries) else entries[i]
            for i in range(0, len(entries), 2)
        ]
    return entries[0]


def pack_palette(palette: UInt8[Array, "colours 3"]) -> UInt32[Array, " colours"]:
    """Colours as words: red lowest, then green, then blue."""
    wide = palette.astype(jnp.uint32)
    return wide[:, 0] | wide[:, 1] << 8 | wide[:, 2] << 16


def compose(canvas: Canvas, palette: UInt8[Array, "colours 3"], resize: Resize) -> UInt32[Array, "size size"]:
    """Look colours up and resize.

    Args:
        canvas: painted canvas.
        palette: RGB of each colour index, 0 to 255.
        resize: the sampling that the canvas was painted with.

    Returns:
        Image with one word a pixel, see `unpack`.
    """
    taps, size, words = resize.taps, resize.size, _words_per_row(resize)
    entries = list(pack_palette(palette))
    # One array of all planes, the words of an image row side by side: XLA makes it once, where it would work separate
    # planes out again for every pixel that reads them.
    planes = jnp.stack(canvas.planes).reshape(-1, taps, words, taps, size)
    planes = jnp.moveaxis(planes, 2, -1)[..., None]
    position = jnp.arange(_WORD, dtype=jnp.uint32).reshape(1, 1, _WORD)

    def sample(row_tap: int, column_tap: int) -> UInt32[Array, "size padded"]:
        bits = [(plane[column_tap, row_tap] >> position) & 1 == 1 for plane in planes]
        return _select(bits, entries).reshape(size, words * _WORD)

    padding = ((0, 0), (0, words * _WORD - size))
    pixels = blend_packed(
        [[sample(a, b) for b in range(taps)] for a in range(taps)],
        jnp.asarray(resize.row_weights),
        jnp.asarray(np.pad(resize.column_weights, padding)),
        resize,
    )
    return pixels[:, :size]


def blend_packed(
    samples: Sequence[Sequence[UInt32[Array, "H W"]]],
    row_weights: Int[Array, "2 H"],
    column_weights: Int[Array, "2 W"],
    resize: Resize,
) -> UInt32[Array, "H W"]:
    """`Resize.blend` of all three channels of packed colours, `samples[row tap][column tap]`."""
    red, green, blue = (
        resize.blend(
            [[(s >> shift & 255).astype(jnp.int32) for s in row] for row in samples],
            row_weights[:, :, None],
            column_weights[:, None, :],
        )
        for shift in (0, 8, 16)
    )
    return (red | green << 8 | blue << 16).astype(jnp.uint32)


def window(
    canvas: Canvas,
    palette: UInt8[Array, "colours 3"],
    row: Int[Array, ""],
    column: Int[Array, ""],
    size: int,
    resize: Resize,
) -> UInt32[Array, "H W"]:
    """Packed colours of the canvas samples under a square of output pixels.

    Args:
        canvas: painted canvas.
        palette: RGB of each colour index, 0 to 255.
        row: first output row, 0 to `resize.size - size`.
        column: first output column, likewise.
        size: side of the square, output pixels.
        resize: the sampling that the canvas was painted with.

    Returns:
        Colours [taps * size, taps * size], row tap by row tap and column tap by column tap.
    """
    taps, words = resize.taps, _words_per_row(resize)
    some = min(words, (size - 1) // _WORD + 2)
    first_word, zero = jnp.minimum(column // _WORD, words - some), jnp.zeros_like(row)
    planes = [
        jax.lax.dynamic_slice(
            plane.reshape(taps, words, taps, resize.size), (zero, first_word, zero, row), (taps, some, taps, size)
        )
        for plane in canvas.planes
    ]
    column = column - _WORD * first_word + jnp.arange(size, dtype=jnp.int32)
    word, bit = (column // _WORD)[None, :], (column % _WORD).astype(jnp.uint32)[None, :]
    entries = list(pack_palette(palette))

    def sample(row_tap: int, column_tap: int) -> UInt32[Array, "size size"]:
        def plane_bits(plane):
            here = [jnp.where(word == q, plane[column_tap, q, row_tap][:, None], 0) for q in range(some)]
            return (functools.reduce(jnp.bitwise_or, here) >> bit) & 1 == 1

        return _select([plane_bits(plane) for plane in planes], entries)

    return jnp.block([[sample(a, b) for b in range(taps)] for a in range(taps)])


def unpack(pixels: UInt32[Array, "H W"]) -> UInt8[Array, "H W 3"]:
    """RGB image of packed pixels; interleaving whole words is far faster than stacking three byte planes."""
    return jax.lax.bitcast_convert_type(pixels, jnp.uint8)[..., :3]
