"""The data of a planar rigid-body scene: what is fixed, what the factors change, and what moves.

Within a step all arrays have one more axis, the last one, along which the scenes of a batch lie.
"""

from dataclasses import dataclass

import chex
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.rigid2d.indexing import pick
from envs_mjx.rigid2d.ordering import LeafTree

STATIC = -1
"""Body index of a shape that belongs to the immovable world."""


@dataclass(frozen=True)
class World:
    """Fixed structure of a scene: which body owns each shape, which shapes may touch, and the solver's constants.

    Attributes:
        dynamic: Indices of the bodies that contacts can move; the others follow their own velocity.
        circles: Body of each circle (`STATIC` for the world).
        polygons: Body of each convex polygon.
        segments: Body of each fat segment.
        circle_polygon: Pairs (circle, polygon) that may touch.
        segment_polygon: Pairs (segment, polygon) that may touch.
        polygon_polygon: Pairs (polygon, polygon) that may touch.
        static_boxes: Box (left, bottom, right, top in px) of every segment, in the order they join the scene. Given,
            the solver visits pairs in the reference's order, see `ordering`; without it, in the order listed here.
        update_order: Order in which the reference updates the moving shapes (circles, then polygons); a geometry may
            bring its own.
        differentiable: Give every loop a static bound, which reverse-mode differentiation needs; slower.
        iterations: Sequential-impulse iterations a step.
        damping: Fraction of its velocity that a dynamic body keeps in one second, in [0, 1].
        collision_slop: Overlap in px that is left uncorrected.
        collision_bias: Fraction of the overlap left after one second.
        collision_persistence: Steps for which a pair's contacts are remembered after it came apart.

    Source: the defaults are those of Munk2D (pymunk 7), which writes them in single precision.
    """

    dynamic: tuple[int, ...]
    circles: tuple[int, ...] = ()
    polygons: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    circle_polygon: tuple[tuple[int, int], ...] = ()
    segment_polygon: tuple[tuple[int, int], ...] = ()
    polygon_polygon: tuple[tuple[int, int], ...] = ()
    static_boxes: tuple[tuple[float, float, float, float], ...] = ()
    update_order: tuple[int, ...] = ()
    differentiable: bool = False
    iterations: int = 10
    damping: float = 1.0
    collision_slop: float = float(np.float32(0.1))
    collision_bias: float = float(np.float32(0.9)) ** 60
    collision_persistence: int = 3

    @property
    def num_slots(self) -> int:
        """Contact slots of a step: one for a pair with a circle, two for every other pair."""
        return len(self.circle_polygon) + 2 * (len(self.segment_polygon) + len(self.polygon_polygon))

    @property
    def num_pairs(self) -> int:
        """Pairs of shapes that may touch."""
        return len(self.circle_polygon) + len(self.segment_polygon) + len(self.polygon_polygon)

    @property
    def ordered(self) -> bool:
        """Whether the solver follows the reference's order."""
        return bool(self.update_order)

    @property
    def coasts(self) -> bool:
        """Whether only polygons can be pushed, and only by circles that cannot, so that all may stand still."""
        driven = self.circles and not set(self.circles) & set(self.dynamic)
        return bool(driven) and set(self.polygons) <= set(self.dynamic)

    @property
    def slot_pair(self) -> np.ndarray:
        """Pair of every slot."""
        single = len(self.circle_polygon)
        return np.array([*range(single), *np.repeat(np.arange(single, self.num_pairs), 2)], np.int32)


@chex.dataclass(frozen=True)
class Geometry:
    """Shapes and inertias, in px, relative to the centre of gravity of their body; world coordinates if static.

    Polygons list their vertices so that `vertices[i] - vertices[i - 1]` turned by -90 degrees points outward.
    `polygon_normals` come from `collide.polygon_normals`. A pair with a masked polygon never touches.
    `update_order` stands in for the world's where it differs from scene to scene: all moving shapes, the masked ones
    anywhere.
    """

    inverse_mass: Float[Array, "bodies *lanes"]
    inverse_inertia: Float[Array, "bodies *lanes"]
    circle_center: Float[Array, "circles 2 *lanes"]
    circle_radius: Float[Array, "circles *lanes"]
    polygon_vertices: Float[Array, "polygons vertices 2 *lanes"]
    polygon_normals: Float[Array, "polygons vertices 2 *lanes"]
    polygon_mask: Bool[Array, "polygons *lanes"]
    segment_ends: Float[Array, "segments 2 2 *lanes"]
    segment_radius: Float[Array, "segments *lanes"]
    update_order: Int[Array, "leaves *lanes"] | None = None


@chex.dataclass(frozen=True)
class Bodies:
    """Motion of every body: centre of gravity (px), angle (rad), velocities (px/s, rad/s) and position correction.

    The bias velocities move the bodies apart during the next step only; they carry no momentum.
    """

    position: Float[Array, "bodies 2 *lanes"]
    angle: Float[Array, "bodies *lanes"]
    velocity: Float[Array, "bodies 2 *lanes"]
    angular_velocity: Float[Array, "bodies *lanes"]
    bias_velocity: Float[Array, "bodies 2 *lanes"]
    bias_angular_velocity: Float[Array, "bodies *lanes"]


@chex.dataclass(frozen=True)
class ContactCache:
    """What the solver remembers between steps, so that resting contacts start from their last impulse.

    Attributes:
        feature: Which features of the two shapes touched; -1 for an empty slot.
        impulse: Accumulated normal impulse (mass px/s).
        age: Steps since each pair last touched (0: in the last step).
    """

    feature: Int[Array, "slots *lanes"]
    impulse: Float[Array, "slots *lanes"]
    age: Int[Array, "pairs *lanes"]

    def active(self, world: World) -> Bool[Array, "slots *lanes"]:
        """Which slots held a contact in the last step."""
        return (self.feature >= 0) & (pick(self.age, world.slot_pair) == 0)


@chex.dataclass(frozen=True)
class Contacts:
    """Contact points in world coordinates.

    Attributes:
        active: Whether the slot holds a contact.
        normal: Unit vector from the first shape to the second.
        point_a: Point on the first shape (px).
        point_b: Point on the second shape (px).
        feature: Which features of the shapes touch.
    """

    active: Bool[Array, "slots *lanes"]
    normal: Float[Array, "slots 2 *lanes"]
    point_a: Float[Array, "slots 2 *lanes"]
    point_b: Float[Array, "slots 2 *lanes"]
    feature: Int[Array, "slots *lanes"]


@chex.dataclass(frozen=True)
class PhysicsState:
    """All that a step of the physics reads and writes besides the geometry."""

    bodies: Bodies
    cache: ContactCache
    tree: LeafTree | None
