"""Record what the reference draws: `raster_primitives.npz`, `raster_resize.npz` and `raster_scenes.npz`.

Run with a Python that has the released reference (stable-worldmodel 0.1.1, pygame 2.6.1, opencv 4.13):
`SDL_VIDEODRIVER=dummy python tests/golden/make_raster_goldens.py`.
"""

import os
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import cv2
import numpy as np
import pygame
from stable_worldmodel.envs import utils
from stable_worldmodel.envs.pusht.env import PushT

FOLDER = Path(__file__).parent
WHITE = (255, 255, 255)
RESIZES = (8, 13, 32, 48, 64, 96)
RESOLUTIONS = (8, 256, 300, 512, 600)


class _Canvas:
    """As much of `DrawOptions` as drawing a segment needs."""

    def __init__(self, surface: pygame.Surface) -> None:
        self.surface = surface

    def as_int(self) -> tuple[int, int, int]:
        return WHITE


def fat_segment(surface: pygame.Surface, start: list[int], end: list[int]) -> None:
    canvas = _Canvas(surface)
    utils.DrawOptions.draw_fat_segment(canvas, start, end, 2, canvas, canvas)


def primitives(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Coordinates of random primitives and the packed 512 x 512 masks that pygame fills."""
    drawn: dict[str, tuple[list, list]] = {name: ([], []) for name in ("polygon", "disc", "line", "segment")}

    def record(name, arguments, draw):
        surface = pygame.Surface((512, 512))
        draw(surface)
        drawn[name][0].append(arguments)
        drawn[name][1].append(np.packbits(pygame.surfarray.pixels3d(surface)[..., 0].T > 0))

    for i in range(24):
        size, angle = rng.uniform(3, 250, 2), rng.uniform(0, 7) if i % 4 else i * np.pi / 8
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * size @ turn + rng.uniform(-20, 530, 2)
        corners = np.rint(corners).astype(int).tolist()
        record("polygon", corners, lambda s, c=corners: pygame.draw.polygon(s, WHITE, [*c, c[0]]))

        center, radius = rng.integers(-20, 530, 2).tolist(), i + 1 if i < 12 else int(rng.integers(12, 61))
        record("disc", [*center, radius], lambda s, c=center, r=radius: pygame.draw.circle(s, WHITE, c, r))

        ends = rng.integers(-60, 570, (2, 2)) if i % 3 else rng.integers(0, 512, (2, 2))
        if i % 6 == 0:
            ends[1, i % 4 // 2] = ends[0, i % 4 // 2]
        if i % 8 == 1:
            ends[1] = ends[0] + rng.integers(-3, 4, 2)
        if i == 5:
            ends[1] = ends[0] = (100, 100)
        ends = ends.tolist()
        record("line", ends, lambda s, e=ends: pygame.draw.line(s, WHITE, *e, 4))
        record("segment", ends, lambda s, e=ends: fat_segment(s, *e))
    return {
        key: np.array(value)
        for name, (arguments, masks) in drawn.items()
        for key, value in ((name, arguments), (f"{name}_mask", masks))
    }


def resizes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Noise of 64 x 64 pixels and what OpenCV makes of it."""
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return {"noise": noise, **{f"size_{size}": cv2.resize(noise, (size, size)) for size in RESIZES}}


def scenes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """PushT scenes of all agent shapes, close enough to touch, as vertices, colours, contact ticks and frames."""
    rows: dict[str, list] = {}
    frames: dict[str, np.ndarray] = {}
    ticks: list = []
    draw_segment = utils.DrawOptions.draw_segment

    def keep_ticks(self, a, b, color):
        ticks.append([tuple(a), tuple(b)])
        draw_segment(self, a, b, color)

    utils.DrawOptions.draw_segment = keep_ticks
    for i in range(28):
        agent_shape, block_shape = i % 8, 1 + (i + i // 8) % 7
        env = PushT(resolution=224)
        values = {
            "agent.shape": agent_shape,
            "block.shape": block_shape,
            "agent.scale": np.float32(rng.uniform(20, 60)),
            "block.scale": np.float32(rng.uniform(20, 60)),
            "agent.angle": float(rng.uniform(-6, 6)),
            "rendering.render_goal": int(i % 5 > 0),
            "goal.position": rng.uniform(50, 450, 2),
            "goal.angle": float(rng.uniform(-6, 6)),
        }
        values |= {f"{name}.color": rng.integers(0, 256, 3, dtype=np.uint8) for name in ("agent", "block", "goal")}
        values["background.color"] = rng.integers(0, 256, 3, dtype=np.uint8)
        block = rng.uniform(100, 400, 2)
        state = np.array([*(block + rng.uniform(-90, 90, 2)), *block, rng.uniform(-6, 6), 0.0, 0.0])
        env.reset(seed=i, options={"variation_values": values, "state": state})
        for _ in range(i % 3):
            env.step(rng.uniform(-1, 1, 2).astype(np.float32))
        ticks.clear()
        frame = env.render()

        def corners(body, shapes):
            padded = np.zeros((3, 4, 2))
            for k, shape in enumerate(shapes):
                padded[k] = [body.local_to_world(v) for v in shape.get_vertices()]
            return padded

        block_shapes = list(env.block.shapes)
        goal = env._get_goal_pose_body(env.goal_pose)
        polygonal = agent_shape != 0
        row = {
            "background": values["background.color"],
            "goal_parts": corners(goal, block_shapes),
            "goal_color": values["goal.color"],
            "show_goal": bool(values["rendering.render_goal"]),
            "block_parts": corners(env.block, block_shapes),
            "part_mask": np.arange(3) < len(block_shapes),
            "block_color": values["block.color"],
            "agent_is_circle": not polygonal,
            "agent_center": np.array(env.agent.position),
            "agent_radius": 0.0 if polygonal else next(iter(env.agent.shapes)).radius,
            "agent_parts": corners(env.agent, env.agent.shapes if polygonal else []),
            "agent_part_mask": np.arange(3) < (len(env.agent.shapes) if polygonal else 0),
            "agent_color": values["agent.color"],
            "ticks": np.array([*ticks, *[[(0.0, 0.0)] * 2] * (16 - len(ticks))]),
            "tick_mask": np.arange(16) < len(ticks),
            "frame": frame,
        }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        if i == 17:
            for resolution in RESOLUTIONS:
                env.render_size = resolution
                frames[f"frame_{resolution}"] = env.render()
            frames["resolutions_of"] = np.array(i)
    return {key: np.array(value) for key, value in rows.items()} | frames


def main() -> None:
    np.savez_compressed(FOLDER / "raster_primitives.npz", **primitives(np.random.default_rng(0)))
    np.savez_compressed(FOLDER / "raster_resize.npz", **resizes(np.random.default_rng(1)))
    np.savez_compressed(FOLDER / "raster_scenes.npz", **scenes(np.random.default_rng(2)))


if __name__ == "__main__":
    main()
