"""Planar rigid-body physics in pure JAX, equal to pymunk's for frictionless contacts."""

from envs_mjx.rigid2d.collide import Polygon, Touch, circle_polygon, polygon_normals, polygon_polygon
from envs_mjx.rigid2d.step import contacts, integrate, march, rest, step
from envs_mjx.rigid2d.types import STATIC, Bodies, ContactCache, Contacts, Geometry, PhysicsState, World

__all__ = [
    "STATIC",
    "Bodies",
    "ContactCache",
    "Contacts",
    "Geometry",
    "PhysicsState",
    "Polygon",
    "Touch",
    "World",
    "circle_polygon",
    "contacts",
    "integrate",
    "march",
    "polygon_normals",
    "polygon_polygon",
    "rest",
    "step",
]
