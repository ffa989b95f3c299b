"""Pictures of MuJoCo scenes, drawn on the host by MuJoCo's own renderer through EGL or OSMesa.

All drawing happens on one thread of its own, since an OpenGL context belongs to a thread; it keeps one scene per
source of a model. A batch is drawn by one callback, row after row.
"""

import concurrent.futures
import functools
import importlib
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, UInt8

from envs_mjx.mujoco.drawn import Drawn

_BACKENDS = ("egl", "osmesa")
_DRAWING = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="mujoco-render")
_POOL = 16
"""Scenes kept at once."""
_GEOMS = 10_000
"""Shapes in a picture at most; MuJoCo leaves out the rest."""


class RenderError(RuntimeError):
    """No OpenGL without a window system on this machine."""


def rendered(source: Drawn, qpos: Float[Array, " nq"], looks: Mapping[str, Any]) -> UInt8[Array, "height width 3"]:
    """The picture of a state; may be called inside a program and under `vmap`.

    Args:
        source: what is drawn.
        qpos: positions of its model, m and rad.
        looks: arrays that `source.look` understands.

    Raises:
        RenderError: neither EGL nor OSMesa works; raised from inside the program when it runs.
    """
    inputs = {"qpos": qpos, "looks": dict(looks)}
    shape = jax.ShapeDtypeStruct((source.resolution, source.resolution, 3), jnp.uint8)
    return jax.pure_callback(functools.partial(_draw_rows, source), shape, inputs, vmap_method="expand_dims")


def _draw_rows(source: Drawn, inputs: dict[str, Any]) -> np.ndarray:
    """Pictures of all rows of a batch; axes of length 1 stand for rows that share a value."""
    inputs = jax.tree.map(np.asarray, inputs)
    axes = inputs["qpos"].ndim - 1
    batch = np.broadcast_shapes(*(leaf.shape[:axes] for leaf in jax.tree.leaves(inputs)))

    def row(index: tuple[int, ...]) -> dict[str, Any]:
        def own(leaf: np.ndarray) -> np.ndarray:
            return np.asarray(np.broadcast_to(leaf, (*batch, *leaf.shape[axes:]))[index])

        return jax.tree.map(own, inputs)

    pictures = [_DRAWING.submit(_draw, source, row(index)).result() for index in np.ndindex(*batch)]
    return np.stack(pictures).reshape(*batch, source.resolution, source.resolution, 3)


def _draw(source: Drawn, row: dict[str, Any]) -> np.ndarray:
    return _scene(source).picture(row["qpos"], row["looks"])


@functools.lru_cache(maxsize=_POOL)
def _scene(source: Drawn) -> "_Scene":
    return _Scene(source)


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

    def __init__(self, source: Drawn) -> None:
        self.source, self.model = source, source.drawn_model()
        size = source.resolution
        self.model.vis.global_.offwidth = max(self.model.vis.global_.offwidth, size)
        self.model.vis.global_.offheight = max(self.model.vis.global_.offheight, size)
        self.data = mujoco.MjData(self.model)
        self.gl = _context(size)
        self.gl.make_current()
        self.scene = mujoco.MjvScene(self.model, maxgeom=_GEOMS)
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.camera = mujoco.MjvCamera()
        if source.camera < 0:
            mujoco.mjv_defaultFreeCamera(self.model, self.camera)
        else:
            self.camera.type, self.camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, source.camera
        self.option, self.perturb = mujoco.MjvOption(), mujoco.MjvPerturb()

    def picture(self, qpos: np.ndarray, looks: Mapping[str, Any]) -> np.ndarray:
        """The picture of one state."""
        self.gl.make_current()
        for texture in self.source.look(self.model, self.data, looks):
            mujoco.mjr_uploadTexture(self.model, self.context, texture)
        self.data.qpos[:] = qpos
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        size = self.source.resolution
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
