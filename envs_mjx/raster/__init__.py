"""Rasteriser: pygame's primitives and OpenCV's resize, pixel for pixel, as pure JAX."""

from envs_mjx.raster.aaline import draw_aalines
from envs_mjx.raster.antialias import resize_antialiased
from envs_mjx.raster.canvas import Canvas, blank, compose, cover, pack, paint, sampled_rows, union, unpack
from envs_mjx.raster.resize import Resize
from envs_mjx.raster.spans import (
    Spans,
    convex_polygon,
    disc,
    fat_outline,
    fat_segment_body,
    to_pixels,
    where,
    wide_line,
)

__all__ = [
    "Canvas",
    "Resize",
    "Spans",
    "blank",
    "compose",
    "convex_polygon",
    "cover",
    "disc",
    "draw_aalines",
    "fat_outline",
    "fat_segment_body",
    "pack",
    "paint",
    "resize_antialiased",
    "sampled_rows",
    "to_pixels",
    "union",
    "unpack",
    "where",
    "wide_line",
]
