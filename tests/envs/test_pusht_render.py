"""PushT frames, pixel by pixel, against frames recorded from the reference."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from envs_mjx.pusht.render import PushTScene, lighten, render_scene

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"

# Rectangles (xmin, xmax, ymin, ymax) of the block shapes in units of their scale.
RECTANGLES = {
    1: [(0, 1, 0, 2), (0, 2, -1, 0)],
    2: [(-2, 2, 0, 1), (-0.5, 0.5, 1, 4)],
    3: [(-0.5, 1.5, 0, 1), (-1.5, 0.5, -1, 0)],
    4: [(-1, 1, -1, 1)],
    5: [(-0.5, 0.5, -2, 2)],
    6: [(-1.5, 1.5, 0, 1), (-0.5, 0.5, 1, 2)],
    7: [(-1.5, 1.5, -0.5, 0.5), (-0.5, 0.5, 0.5, 1.5), (-0.5, 0.5, -1.5, -0.5)],
}


def recorded_scenes(dtype=np.float32) -> tuple[list[PushTScene], np.ndarray]:
    """Scenes of all shapes, many with deep contacts, and their frames."""
    golden = np.load(GOLDEN / "raster_scenes.npz")
    names = set(PushTScene.__dataclass_fields__) & set(golden.files)
    fields = {name: golden[name] for name in names}
    # The recorded tick ends stand for the contact points; a zero normal adds nothing to them.
    start, end = golden["ticks"][:, :, 0], golden["ticks"][:, :, 1]
    fields |= {"contacts_a": start, "contacts_b": end, "contacts_n": np.zeros_like(start)}
    fields["contact_mask"] = golden["tick_mask"]

    def value(array):
        return jnp.asarray(array.astype(dtype) if array.dtype == float else array)

    scenes = [PushTScene(**{name: value(rows[i]) for name, rows in fields.items()}) for i in range(len(start))]
    return scenes, golden["frame"]


def stack(scenes: list[PushTScene]) -> PushTScene:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)


def plain_scene(state: np.ndarray, block_shape: int, scale: float, dtype=np.float32) -> PushTScene:
    """Scene of a state with the round agent and default colours, without contacts."""
    local = np.zeros((3, 4, 2))
    for i, (left, right, top, bottom) in enumerate(RECTANGLES[block_shape]):
        local[i] = scale * np.array([(left, top), (right, top), (right, bottom), (left, bottom)])

    def placed(position, angle):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return jnp.asarray((local @ turn + position).astype(dtype))

    none = jnp.zeros((0, 2), dtype)
    return PushTScene(
        background=jnp.full(3, 255, jnp.uint8),
        goal_parts=placed(np.array([256.0, 256.0]), np.pi / 4),
        goal_color=jnp.array([144, 238, 144], jnp.uint8),
        show_goal=jnp.array(True),
        block_parts=placed(state[2:4], state[4]),
        part_mask=jnp.arange(3) < len(RECTANGLES[block_shape]),
        block_color=jnp.array([119, 136, 153], jnp.uint8),
        agent_is_circle=jnp.array(True),
        agent_center=jnp.asarray(state[:2].astype(dtype)),
        agent_radius=jnp.asarray(np.asarray(15, dtype)),
        agent_parts=jnp.zeros((0, 4, 2), dtype),
        agent_part_mask=jnp.zeros(0, bool),
        agent_color=jnp.array([65, 105, 225], jnp.uint8),
        contacts_a=none,
        contacts_b=none,
        contacts_n=none,
        contact_mask=jnp.zeros(0, bool),
    )


@pytest.fixture(scope="module")
def render():
    return quick_jit(render_scene, static_argnums=1)


def test_scenes_of_all_shapes_equal_the_reference():
    scenes, frames = recorded_scenes()
    images = jax.jit(jax.vmap(lambda scene: render_scene(scene, 224)))(stack(scenes))
    assert images.dtype == jnp.uint8
    for i, (image, frame) in enumerate(zip(np.asarray(images), frames, strict=True)):
        np.testing.assert_array_equal(image, frame, err_msg=f"scene {i}")


@pytest.mark.parametrize("resolution", [8, 256, 512, 600])
def test_other_resolutions_equal_the_reference(resolution, render):
    golden = np.load(GOLDEN / "raster_scenes.npz")
    scenes, _ = recorded_scenes()
    scene = scenes[int(golden["resolutions_of"])]
    np.testing.assert_array_equal(render(scene, resolution), golden[f"frame_{resolution}"])


def test_frames_of_trajectories_equal_the_reference_but_for_contact_ticks(render):
    golden = np.load(GOLDEN / "pusht_frames.npz")
    for i, block_shape in enumerate(golden["block_shape"]):
        for step, frame in zip(golden["frame_steps"][i], golden["frames"][i], strict=True):
            scene = plain_scene(golden["state"][i, step], int(block_shape), float(golden["block_scale"][i]))
            different = (np.asarray(render(scene, 224)) != frame).any(-1)
            # A state says nothing of its contacts; at the first step there may be some that were not counted.
            maybe_ticks = golden["n_contacts"][i, step] > 0 or step == 0
            assert different.sum() <= (25 if maybe_ticks else 0), (i, step)


def test_vmap_and_float64_give_the_same_pixels(render):
    golden = np.load(GOLDEN / "pusht_frames.npz")
    states = golden["state"][:4, 12]
    one_by_one = [render(plain_scene(state, shape, 30.0), 96) for shape, state in enumerate(states, 1)]
    scenes = [plain_scene(state, shape, 30.0) for shape, state in enumerate(states, 1)]
    together = quick_jit(jax.vmap(lambda scene: render_scene(scene, 96)))(stack(scenes))
    np.testing.assert_array_equal(together, jnp.stack(one_by_one))
    with jax.enable_x64(True):
        for shape, (state, image) in enumerate(zip(states, one_by_one, strict=True), 1):
            np.testing.assert_array_equal(render(plain_scene(state, shape, 30.0, np.float64), 96), image)


@pytest.mark.slow
def test_a_recorded_scene_with_ticks_gives_the_same_pixels_in_float64(render):
    with jax.enable_x64(True):
        recorded, frames = recorded_scenes(np.float64)
        np.testing.assert_array_equal(render(recorded[15], 224), frames[15])


def test_one_trace_for_all_shapes():
    traces = []

    @quick_jit
    def image(scene):
        traces.append(None)
        return render_scene(scene, 32)

    state = np.array([100.0, 200.0, 250.0, 250.0, 1.0])
    for shape in RECTANGLES:
        image(plain_scene(state, shape, 20.0 + shape))
    assert len(traces) == 1


def test_agent_outside_the_window_is_not_drawn(render):
    far = plain_scene(np.array([1e7, -1e7, 250.0, 250.0, 1.0]), 2, 30.0)
    hidden = far.replace(agent_radius=jnp.float32(0), agent_center=jnp.zeros(2))
    np.testing.assert_array_equal(render(far, 96), render(hidden, 96))


def test_gradient_through_a_frame_is_zero():
    scene = plain_scene(np.array([200.0, 200.0, 250.0, 250.0, 1.0]), 2, 30.0)
    scenes, _ = recorded_scenes()

    def brightness(scene, center):
        return render_scene(scene.replace(agent_center=center), 32).astype(jnp.float32).sum()

    for case in (scene, scenes[1]):
        gradient = quick_jit(jax.grad(brightness, argnums=1))(case, case.agent_center)
        np.testing.assert_array_equal(gradient, np.zeros(2))


def test_lighten_saturates_and_rounds():
    colours = jnp.array([[65, 105, 225], [119, 136, 153], [211, 212, 213]], jnp.uint8)
    np.testing.assert_array_equal(jax.vmap(lighten)(colours), [[78, 126, 255], [143, 163, 184], [253, 254, 255]])
