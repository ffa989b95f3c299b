"""Planar rigid-body physics in pure JAX, equal to pymunk's for frictionless contacts.

A `World` says what there is and what may touch; a `Geometry` how large and heavy it is; `step` moves the `Bodies`. A
kinematic disc (body 0) and two free boxes (bodies 1 and 2):

    world = World(dynamic=(1, 2), circles=(0,), polygons=(1, 2), circle_polygon=((0, 0), (0, 1)),
                  polygon_polygon=((0, 1),))
    state = rest(world, geometry, bodies)
    state = step(world, geometry, state, dt=0.01)
    touching = contacts(world, geometry, state)

Polygons are relative to the centre of gravity of their body. With walls (`segments`), `static_boxes` and
`update_order` the pairs are solved in pymunk's order, on which the results depend when several contacts press on one
body; without, in the order in which the world lists them. All functions are pure and work under `jit`, `vmap` and
`scan`; a batch may hold another geometry in each row. Derivatives need `World.differentiable`.

Inside, the scenes of a batch are the last axis of every array, the lanes, whatever `vmap`s enclose the call
(`batching.over_lanes`): processors are fast along it, and shapes, pairs and bodies lie side by side along the axes
before it instead of being written out one by one, which compilers are slow with. `march` is called from there.
"""

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
