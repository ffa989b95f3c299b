"""Pictures of MuJoCo scenes, drawn on the host by MuJoCo's own renderer through EGL or OSMesa.

All drawing happens on one thread of its own, since an OpenGL context belongs to a thread; it keeps one scene per
environment. A batch is drawn by one callback, row after row.
"""

import concurrent.futures
import functools
import importlib
import os
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, UInt8

from envs_mjx.core import State

if TYPE_CHECKING:
    from envs_mjx.mujoco.base import MujocoEnv

_BACKENDS = ("egl", "osmesa")
_DRAWING = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="mujoco-render")
_POOL = 16
"""Scenes kept at once."""


class RenderError(RuntimeError):
    """No OpenGL without a window system on this machine."""


def rendered(env: "MujocoEnv", state: State) -> UInt8[Array, "height width 3"]:
    """The picture of a state; may be called inside a program and under `vmap`.

    Raises:
        RenderError: neither EGL nor OSMesa works; raised from inside the program when it runs.
    """
    physics = state.physics
    inputs = {"qpos": physics.qpos, "target": physics.target, "fields": physics.fields, "factors": state.factors}
    shape = jax.ShapeDtypeStruct((env.resolution, env.resolution, 3), jnp.uint8)
    return jax.pure_callback(functools.partial(_draw_rows, env), shape, inputs, vmap_method="expand_dims")


def _draw_rows(env: "MujocoEnv", inputs: dict[str, Any]) -> np.ndarray:
    """Pictures of all rows of a batch; axes of length 1 stand for rows that share a value."""
    inputs = jax.tree.map(np.asarray, inputs)
    axes = inputs["qpos"].ndim - 1
    batch = np.broadcast_shapes(*(leaf.shape[:axes] for leaf in jax.tree.leaves(inputs)))

    def row(index: tuple[int, ...]) -> dict[str, Any]:
        def own(leaf: np.ndarray) -> np.ndarray:
            return np.asarray(np.broadcast_to(leaf, (*batch, *leaf.shape[axes:]))[index])

        return jax.tree.map(own, inputs)

    pictures = [_DRAWING.submit(_draw, env, row(index)).result() for index in np.ndindex(*batch)]
    return np.stack(pictures).reshape(*batch, env.resolution, env.resolution, 3)


def _draw(env: "MujocoEnv", row: dict[str, Any]) -> np.ndarray:
    return _scene(env).picture(row)


@functools.lru_cache(maxsize=_POOL)
def _scene(env: "MujocoEnv") -> "_Scene":
    return _Scene(env)


@functools.cache
def _context(size: int) -> Any:
    """An OpenGL context that works on this machine, current on the drawing thread."""
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    failures = []
    for backend in (wanted,) if wanted in _BACKENDS else _BACKENDS:
        try:
            context = importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
            context.make_current()
        except Exception as error:
            os.environ.pop("PYOPENGL_PLATFORM", None)
            failures.append(f"{backend}: {type(error).__name__}: {error}")
        else:
            return context
    raise RenderError(
        "rendering needs OpenGL through EGL or OSMesa, and neither works here; install one of them, for instance "
        f"libegl1 with a driver, or libosmesa6 ({'; '.join(failures)})"
    )


class _Scene:
    """A model on the host whose state and looks are set before each picture."""

    def __init__(self, env: "MujocoEnv") -> None:
        self.env, self.model = env, env.drawn_model()
        size = env.resolution
        self.model.vis.global_.offwidth = max(self.model.vis.global_.offwidth, size)
        self.model.vis.global_.offheight = max(self.model.vis.global_.offheight, size)
        self.data = mujoco.MjData(self.model)
        self.gl = _context(size)
        self.gl.make_current()
        self.scene = mujoco.MjvScene(self.model, maxgeom=1000)
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.camera = mujoco.MjvCamera()
        self.camera.type, self.camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, env.camera
        self.option, self.perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        self.floor = _checkers(self.model)

    def picture(self, row: dict[str, Any]) -> np.ndarray:
        """The picture of one environment."""
        self.gl.make_current()
        for name, value in row["fields"].items():
            if name == "opt.gravity":
                # A slack string hangs along it.
                self.model.opt.gravity[:] = value
            elif "." not in name:
                getattr(self.model, name)[...] = value
        if "body_mass" in row["fields"]:
            # Cameras and lamps that follow the centre of mass are placed by it.
            mujoco.mj_setConst(self.model, self.data)
        self.env.look(self.model, row["factors"], row["target"])
        self._paint_floor(row["factors"])
        self.data.qpos[:] = row["qpos"]
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        size = self.env.resolution
        mujoco.mjv_updateScene(
            self.model,
            self.data,
            self.option,
            self.perturb,
            self.camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self.scene,
        )
        pixels = np.zeros((size, size, 3), np.uint8)
        view = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(view, self.scene, self.context)
        mujoco.mjr_readPixels(pixels, None, view, self.context)
        return pixels[::-1]

    def _paint_floor(self, factors: dict[str, np.ndarray]) -> None:
        """Give the squares of the floor their colours."""
        texture, masks = self.floor
        start = self.model.tex_adr[texture]
        pixels = self.model.tex_data[start : start + masks[0].size * 3].reshape(-1, 3)
        wanted = (np.asarray(factors["floor.color"], np.float64) * 255).astype(np.uint8)
        before = pixels.copy()
        for mask, color in zip(masks, wanted, strict=True):
            pixels[mask] = color
        if not np.array_equal(before, pixels):
            mujoco.mjr_uploadTexture(self.model, self.context, texture)


def _checkers(model: mujoco.MjModel) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
    """The floor's texture, painted red and green beforehand, and which pixels are in the first and second squares.

    The lines between the squares have a colour of their own.
    """
    texture = model.texture("grid").id
    start, size = model.tex_adr[texture], model.tex_height[texture] * model.tex_width[texture]
    pixels = model.tex_data[start : start + 3 * size].reshape(-1, 3)
    return texture, ((pixels == (255, 0, 0)).all(1), (pixels == (0, 255, 0)).all(1))
