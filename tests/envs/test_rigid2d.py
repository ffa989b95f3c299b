"""The planar rigid-body module against pymunk, recorded and live, and the promises of its step."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs import pymunk_scenes, rigid2d_scenes
from envs.pymunk_scenes import DT, KINDS

from envs_mjx import rigid2d

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"
TWO_BLOCKS = pytest.param(2, 0.0, marks=pytest.mark.slow)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def recorded(file: str, prefix: str) -> dict[str, np.ndarray]:
    golden = np.load(GOLDEN / file)
    return {name.removeprefix(prefix): golden[name] for name in golden.files if name.startswith(prefix)}


def check_collisions(kind: tuple, cases: dict[str, np.ndarray]) -> None:
    count, normal, points = rigid2d_scenes.collide(kind[0], cases)
    np.testing.assert_array_equal(count, cases["count"])
    np.testing.assert_allclose(normal, cases["normal"], atol=1e-9)
    np.testing.assert_allclose(points, cases["points"], atol=1e-9)


def check_scenes(blocks: int, damping: float, scenes: dict[str, np.ndarray], every: int = 1) -> None:
    world = rigid2d_scenes.scene_world(blocks, damping)
    pose, contacts = jax.jit(jax.vmap(lambda scene: rigid2d_scenes.play(world, scene, jnp.float64)))(scenes)
    apart = np.abs(np.asarray(pose)[:, every - 1 :: every] - scenes["pose"]).max((1, 2, 3))
    # Rounding grows in a few scenes, which are chaotic.
    assert (apart < 1e-6).mean() >= 0.95, apart
    assert apart.max() < 1e-2
    assert (np.asarray(contacts) == scenes["contacts"]).mean() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_collisions(kind, x64):
    cases = recorded("rigid2d_collisions.npz", f"{kind[0]}_{kind[1]}_")
    assert len(set(cases["count"])) == (2 if kind[0] == "circle" else 3)
    check_collisions(kind, cases)


@pytest.mark.parametrize(("blocks", "damping"), [(1, 0.0), pytest.param(1, 0.5, marks=pytest.mark.slow), TWO_BLOCKS])
def test_recorded_scenes(blocks, damping, x64):
    scenes = recorded("rigid2d_scenes.npz", f"{blocks}_{damping}_")
    assert scenes["contacts"].max() > 3
    check_scenes(blocks, damping, scenes, every=5)


@pytest.mark.reference
@pytest.mark.parametrize("kind", KINDS)
def test_random_collisions_equal_pymunks(kind, x64):
    pytest.importorskip("pymunk")
    check_collisions(kind, pymunk_scenes.random_collisions(100, 2000, *kind))


@pytest.mark.reference
@pytest.mark.parametrize(("blocks", "damping"), [(1, 0.0), (1, 0.5), (2, 0.0)])
def test_random_scenes_equal_pymunks(blocks, damping, x64):
    pytest.importorskip("pymunk")
    check_scenes(blocks, damping, pymunk_scenes.played_scenes(100, 60, blocks, damping))


# A disc and two boxes of one body, without walls or order: small enough to compile often.
PAIR = rigid2d.World(
    dynamic=(1,), circles=(0,), polygons=(1, 1), circle_polygon=((0, 0), (0, 1)), damping=0.25, iterations=4
)


def pair_geometry(mask=(True, True), dtype=jnp.float32) -> rigid2d.Geometry:
    box = np.array([[-10.0, -5.0], [10.0, -5.0], [10.0, 5.0], [-10.0, 5.0]])
    vertices = jnp.asarray(np.stack([box, box[::-1, ::-1] + np.array([[10.0, 0.0]])]), dtype)
    return rigid2d.Geometry(
        inverse_mass=jnp.array([0.0, 0.5], dtype),
        inverse_inertia=jnp.array([0.0, 0.01], dtype),
        circle_center=jnp.zeros((1, 2), dtype),
        circle_radius=jnp.full((1,), 4.0, dtype),
        polygon_vertices=vertices,
        polygon_normals=rigid2d.polygon_normals(vertices),
        polygon_mask=jnp.array(mask),
        segment_ends=jnp.zeros((0, 2, 2), dtype),
        segment_radius=jnp.zeros((0,), dtype),
    )


def pair_bodies(disc=(-13.0, 1.0), dtype=jnp.float32) -> rigid2d.Bodies:
    return rigid2d.Bodies(
        position=jnp.array([disc, (0.0, 0.0)], dtype),
        angle=jnp.zeros((2,), dtype),
        velocity=jnp.array([[50.0, 0.0], [3.0, -2.0]], dtype),
        angular_velocity=jnp.array([0.0, 0.5], dtype),
        bias_velocity=jnp.zeros((2, 2), dtype),
        bias_angular_velocity=jnp.zeros((2,), dtype),
    )


@jax.jit
def pair_step(geometry, state):
    return rigid2d.step(PAIR, geometry, state, DT)


def test_without_contacts_bodies_move_by_their_velocity_alone():
    geometry, bodies = pair_geometry(), pair_bodies(disc=(-300.0, 0.0))
    state = rigid2d.rest(PAIR, geometry, bodies)
    kept = PAIR.damping**DT
    for step in range(1, 6):
        state = pair_step(geometry, state)
        assert not state.cache.active(PAIR).any()
        np.testing.assert_allclose(state.bodies.position[0], [-300.0 + 50.0 * DT * step, 0.0], rtol=1e-6)
        moved = DT * np.sum([kept**i for i in range(step)])
        np.testing.assert_allclose(state.bodies.position[1], np.array([3.0, -2.0]) * moved, rtol=1e-5)
        np.testing.assert_allclose(state.bodies.angle[1], 0.5 * moved, rtol=1e-5)
        np.testing.assert_allclose(state.bodies.velocity[1], np.array([3.0, -2.0]) * kept**step, rtol=1e-5)
    np.testing.assert_array_equal(state.cache.age, [PAIR.collision_persistence] * 2)


def test_a_push_moves_the_body_out_of_the_way():
    geometry = pair_geometry()
    state = rigid2d.rest(PAIR, geometry, pair_bodies())
    for _ in range(20):
        state = pair_step(geometry, state)
    contacts = rigid2d.contacts(PAIR, geometry, state)
    assert contacts.active[0]
    assert (state.cache.impulse >= 0.0).all()
    # The disc's own motion is given; the body is carried along and turned by a push above its centre.
    np.testing.assert_allclose(state.bodies.position[0], [-3.0, 1.0], rtol=1e-5)
    gap = ((contacts.point_b - contacts.point_a) * contacts.normal).sum(1)[0]
    # The correction of the overlap balances the push at well below a pixel.
    assert -0.6 < gap <= 0.0
    assert state.bodies.angle[1] < 0.0


def test_masked_polygons_never_touch():
    inside = pair_bodies(disc=(4.0, 1.0))
    for mask in ((True, True), (True, False), (False, True), (False, False)):
        geometry = pair_geometry(mask)
        state = pair_step(geometry, rigid2d.rest(PAIR, geometry, inside))
        np.testing.assert_array_equal(state.cache.active(PAIR), mask)
    free = rigid2d.integrate(inside, DT)
    np.testing.assert_array_equal(state.bodies.position, free.position)
    np.testing.assert_array_equal(state.bodies.bias_velocity, jnp.zeros((2, 2)))


def test_degenerate_masked_polygons_are_harmless():
    geometry = pair_geometry((True, False))
    point = geometry.polygon_vertices.at[1].set(2.0)
    geometry = geometry.replace(polygon_vertices=point, polygon_normals=rigid2d.polygon_normals(point))
    state = pair_step(geometry, rigid2d.rest(PAIR, geometry, pair_bodies()))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_dtypes_and_structure_stay():
    for dtype, wide in ((jnp.float32, False), (jnp.float32, True), (jnp.float64, True)):
        with jax.enable_x64(wide):
            geometry = pair_geometry(dtype=dtype)
            before = rigid2d.rest(PAIR, geometry, pair_bodies(dtype=dtype))
            after = jax.eval_shape(lambda g, s: rigid2d.step(PAIR, g, s, DT), geometry, before)
            assert jax.tree.structure(before) == jax.tree.structure(after)
            for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
                assert (old.dtype, old.shape) == (new.dtype, new.shape)


def test_one_trace_for_all_scenes():
    traces = []

    @jax.jit
    def step(geometry, state):
        traces.append(None)
        return rigid2d.step(PAIR, geometry, state, DT)

    for mask in ((True, True), (False, True)):
        geometry = pair_geometry(mask)
        state = rigid2d.rest(PAIR, geometry, pair_bodies())
        for _ in range(3):
            state = step(geometry, state)
    assert len(traces) == 1


@pytest.mark.parametrize("wide", [pytest.param(False, marks=pytest.mark.slow), True])
def test_jit_vmap_and_scan_agree(wide):
    with jax.enable_x64(wide):
        dtype = jnp.float64 if wide else jnp.float32
        geometry = pair_geometry(dtype=dtype)
        starts = [pair_bodies((-13.0 - i, 1.0), dtype) for i in range(3)]
        states = [rigid2d.rest(PAIR, geometry, start) for start in starts]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

        def run(state):
            return jax.lax.scan(lambda s, _: (rigid2d.step(PAIR, geometry, s, DT), None), state, length=10)[0]

        together = jax.jit(jax.vmap(run))(stacked)
        for _ in range(10):
            states = [pair_step(geometry, state) for state in states]
        for i, state in enumerate(states):
            for one, all_ in zip(jax.tree.leaves(state), jax.tree.leaves(together), strict=True):
                np.testing.assert_allclose(all_[i], one, rtol=0.0, atol=1e-11 if wide else 1e-4)


def pushed(geometry, state, velocity):
    """Eight steps of the disc at one velocity."""
    return jax.lax.scan(lambda s, _: (rigid2d_scenes.push(PAIR, geometry, s, velocity), None), state, length=8)[0]


@pytest.fixture(scope="module")
def pushed_rows():
    """Rows of a batch larger than the physics handles at once, some with contacts: inputs, and results one by one."""
    with jax.enable_x64(True):
        discs = [(-13.0, 1.0), (-40.0, 0.0), (3.0, 12.0)]
        masks = [(True, True), (True, False)]
        geometries = jax.tree.map(lambda *x: jnp.stack(x), *(pair_geometry(mask, jnp.float64) for mask in masks))
        states = [rigid2d.rest(PAIR, pair_geometry(dtype=jnp.float64), pair_bodies(at, jnp.float64)) for at in discs]
        states = jax.tree.map(lambda *x: jnp.stack(x), *states)
        velocities = jnp.asarray(np.random.default_rng(0).normal(0, 100, (70, 2)))
        one = jax.jit(pushed)
        expected = [
            [
                [
                    one(*jax.tree.map(lambda x, i=i: x[i], (geometries,)), jax.tree.map(lambda x, j=j: x[j], states), v)
                    for v in velocities
                ]
                for j in range(3)
            ]
            for i in range(2)
        ]
        flat = [leaf for outer in expected for inner in outer for leaf in inner]
        stacked = jax.tree.map(lambda *x: np.stack(x).reshape(2, 3, 70, *x[0].shape), *flat)
    return geometries, states, velocities, stacked


def check_rows(ours, expected) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-10)


def test_nested_batches_equal_single_scenes(pushed_rows, x64):
    geometries, states, velocities, expected = pushed_rows
    assert 0 < ((expected.cache.age == 0).any(-1)).mean() < 1
    by_velocity = jax.vmap(pushed, (None, None, 0))
    check_rows(
        jax.jit(by_velocity)(*jax.tree.map(lambda x: x[0], (geometries, states)), velocities),
        jax.tree.map(lambda x: x[0, 0], expected),
    )
    by_state = jax.vmap(by_velocity, (None, 0, None))
    by_geometry = jax.vmap(by_state, (0, None, None))
    check_rows(jax.jit(by_geometry)(geometries, states, velocities), expected)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(None, 0, 0), (0, None, 0), (0, 0, 0)])
def test_flat_batches_of_any_size_equal_single_scenes(axes, pushed_rows, x64):
    geometries, states, velocities, expected = pushed_rows
    which = np.stack(np.meshgrid(range(2), range(3), range(70), indexing="ij"), -1).reshape(-1, 3)
    for index, axis in enumerate(axes):
        if axis is None:
            which = which[which[:, index] == 0]
    for count in (1, 2, 70, 140, 256, 257, len(which)):
        rows = np.resize(which, (count, 3)) if count > len(which) else which[:count]
        i, j, k = rows.T
        picked = [
            jax.tree.map(lambda x, at=at, axis=axis: x[0] if axis is None else x[at], value)
            for value, at, axis in zip((geometries, states, velocities), (i, j, k), axes, strict=True)
        ]
        check_rows(jax.jit(jax.vmap(pushed, axes))(*picked), jax.tree.map(lambda x, at=(i, j, k): x[at], expected))


def check_gradient(final, velocity) -> None:
    """`final(velocity, differentiable)` is the same either way and has a finite, non-zero gradient."""

    def total(velocity):
        pose = final(velocity, True)
        return pose.sum(), pose

    (_, pose), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(velocity)
    plain = jax.jit(lambda v: final(v, False))(velocity)
    np.testing.assert_allclose(pose, plain, rtol=1e-12)
    assert np.isfinite(slope).all()
    assert np.abs(slope[:-1]).max() > 1e-3


def test_differentiable_steps_equal_the_others_and_have_gradients(x64):
    # Three control steps of ten physics steps; the disc meets the body in the first.
    geometry, bodies = pair_geometry(dtype=jnp.float64), pair_bodies((-16.0, 1.0), jnp.float64)

    def final(velocity, differentiable):
        world = dataclasses.replace(PAIR, differentiable=differentiable)

        def step(state, velocity):
            return rigid2d_scenes.push(world, geometry, state, velocity), None

        return jax.lax.scan(step, rigid2d.rest(world, geometry, bodies), velocity)[0].bodies.position[1]

    check_gradient(final, jnp.tile(jnp.array([[80.0, 5.0]]), (30, 1)))


@pytest.mark.slow
def test_differentiable_scene_in_the_engines_order(x64):
    scenes = recorded("rigid2d_scenes.npz", "1_0.0_")
    scene = {name: values[0] for name, values in scenes.items()}
    first = int(np.argmax(scene["contacts"] > 0))

    def final(velocity, differentiable):
        world = rigid2d_scenes.scene_world(1, 0.0, differentiable=differentiable)
        return rigid2d_scenes.play(world, scene | {"velocity": velocity}, jnp.float64)[0][-1]

    check_gradient(final, scene["velocity"][: first + 30].astype(np.float64))
