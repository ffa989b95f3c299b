"""Random collisions and small scenes, and what pymunk makes of them; used to record goldens and to compare live."""

import contextlib

import numpy as np

DT = 0.01
KINDS = (("circle", 4), ("circle", 6), ("segment", 4), ("segment", 5), (4, 4), (3, 5), (6, 4))
"""First and second shape of a collision; a number is a convex polygon of so many vertices."""

WALLS = np.array(
    [
        [[10.0, 300.0], [5.0, 5.0]],
        [[5.0, 5.0], [300.0, 12.0]],
        [[300.0, 12.0], [290.0, 310.0]],
        [[10.0, 300.0], [290.0, 310.0]],
    ]
)
WALL_RADIUS = 3.0
STEPS = 200


def convex_polygon(rng: np.random.Generator, vertices: int, size: float) -> np.ndarray:
    """Corners on an ellipse about the origin, in the order of the engine's hull."""
    gaps = rng.uniform(0.6, 1.4, vertices)
    turn = 2 * np.pi * (np.cumsum(gaps) / gaps.sum() + rng.uniform())
    corners = size * np.stack([np.cos(turn), rng.uniform(0.3, 1.0) * np.sin(turn)], axis=1)
    return hull(turned(corners, rng.uniform(0, 2 * np.pi)))


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points turned about the origin."""
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def hull(corners: np.ndarray) -> np.ndarray:
    """The corners in the order in which the engine stores them."""
    import pymunk

    return np.array(pymunk.Poly(None, corners.tolist()).get_vertices())


def random_collision(rng: np.random.Generator, first, second: int) -> dict[str, np.ndarray]:
    """Two shapes in world coordinates (px), mostly near each other, and the engine's contacts."""
    import pymunk

    static = pymunk.Space().static_body
    position = rng.uniform(-50, 50, 2)
    reach = rng.uniform(0.0, 1.3)
    offset = turned(np.array([[30.0 * reach, 0.0]]), rng.uniform(0, 2 * np.pi))[0]
    other = convex_polygon(rng, second, rng.uniform(8, 30)) + position + offset
    radius = rng.uniform(1, 15)
    if first == "circle":
        shape, corners = pymunk.Circle(static, radius, tuple(position)), position[None]
    elif first == "segment":
        corners = turned(np.array([[-20.0, 0.0], [20.0, 0.0]]), rng.uniform(0, 2 * np.pi)) + position
        shape = pymunk.Segment(static, tuple(corners[0]), tuple(corners[1]), radius)
    else:
        corners, radius = convex_polygon(rng, first, rng.uniform(8, 30)) + position, 0.0
        shape = pymunk.Poly(static, corners.tolist())
        corners = np.array(shape.get_vertices())
    polygon = pymunk.Poly(static, other.tolist())
    other = np.array(polygon.get_vertices())
    shape.cache_bb()
    polygon.cache_bb()
    normal, points, contacts = np.full(2, np.nan), np.full((2, 5), np.nan), ()
    # pymunk 7.3 asserts that there is a contact.
    with contextlib.suppress(AssertionError):
        found = shape.shapes_collide(polygon)
        normal[:], contacts = found.normal, found.points
    for row, point in zip(points, contacts, strict=False):
        row[:] = (*point.point_a, *point.point_b, point.distance)
    return {
        "first": corners,
        "radius": np.array(radius),
        "second": other,
        "count": np.array(len(contacts)),
        "normal": normal,
        "points": points,
    }


def random_collisions(seed: int, number: int, first, second: int) -> dict[str, np.ndarray]:
    """A batch of random collisions of one kind."""
    rng = np.random.default_rng(seed)
    cases = [random_collision(rng, first, second) for _ in range(number)]
    return {name: np.stack([case[name] for case in cases]) for name in cases[0]}


def random_scene(rng: np.random.Generator, blocks: int) -> dict[str, np.ndarray]:
    """A disc and blocks between slanted walls.

    One block has two convex parts of five corners; of two blocks each has one part.
    """
    part = [convex_polygon(rng, 5, rng.uniform(20, 35)) for _ in range(2)]
    if blocks == 1:
        part[1] = part[1] + rng.uniform(-25, 25, 2)
    start = {1: [[150.0, 150.0]], 2: [[110.0, 110.0], [190.0, 190.0]]}[blocks]
    return {
        "parts": np.stack(part),
        "inertia": rng.uniform(200, 900, blocks),
        "mass": rng.uniform(0.5, 3.0, blocks),
        "disc_radius": np.array(rng.uniform(8, 16)),
        "disc": rng.uniform(20, 60, 2),
        "position": np.array(start) + rng.uniform(-20, 20, (blocks, 2)),
        "angle": rng.uniform(-7, 7, blocks),
        "seed": np.array(rng.integers(2**31)),
    }


def play_scene(scene: dict[str, np.ndarray], damping: float) -> dict[str, np.ndarray]:
    """Let the engine move the disc towards the blocks and record every step.

    Returns:
        `velocity` [T, 2] of the disc (exact in single precision), and after every step `pose` [T, blocks, 3] (centre of
        gravity, angle) and `contacts` [T].
    """
    import pymunk

    space = pymunk.Space()
    space.damping = damping
    space.add(*(pymunk.Segment(space.static_body, tuple(a), tuple(b), WALL_RADIUS) for a, b in WALLS))
    disc = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    disc.position = tuple(scene["disc"])
    space.add(disc, pymunk.Circle(disc, float(scene["disc_radius"])))
    bodies = []
    for mass, inertia, position, angle in zip(
        scene["mass"], scene["inertia"], scene["position"], scene["angle"], strict=True
    ):
        body = pymunk.Body(float(mass), float(inertia))
        body.position, body.angle = tuple(position), float(angle)
        bodies.append(body)
    owners = bodies if len(bodies) == 2 else bodies * 2
    shapes = [pymunk.Poly(body, corners.tolist()) for body, corners in zip(owners, scene["parts"], strict=True)]
    space.add(*bodies, *shapes)
    contacts = [0]

    def count(arbiter, space, data):
        contacts[-1] += len(arbiter.contact_point_set.points)

    space.on_collision(0, 0, post_solve=count)
    rng = np.random.default_rng(int(scene["seed"]))
    velocities, poses, counts = [], [], []
    for step in range(STEPS):
        if step % 10 == 0:
            target = bodies[rng.integers(len(bodies))]
            to_block = np.array(target.position - disc.position)
            aim = to_block * rng.uniform(2.0, 5.0) + rng.normal(0, 120, 2)
        velocity = (aim + rng.normal(0, 20, 2)).astype(np.float32)
        disc.velocity = (float(velocity[0]), float(velocity[1]))
        contacts.append(0)
        space.step(DT)
        velocities.append(velocity)
        poses.append([[*body.position, body.angle] for body in bodies])
        counts.append(contacts[-1])
    return {"velocity": np.stack(velocities), "pose": np.array(poses), "contacts": np.array(counts)}


def played_scenes(seed: int, number: int, blocks: int, damping: float) -> dict[str, np.ndarray]:
    """A batch of random scenes and their recordings."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, blocks) for _ in range(number)]
    played = [scene | play_scene(scene, damping) for scene in scenes]
    return {name: np.stack([scene[name] for scene in played]) for name in played[0]}
