"""Pictures of MuJoCo scenes drawn on the device, a whole batch at once, by the ray caster of MuJoCo Warp.

MJX's JAX code says where everything is; Warp draws it. Its pictures are not OpenGL's: light and edges differ a little,
sites are not drawn, and textures, the floor's colours among them, are those of the nominal model.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float, UInt8
from mujoco import mjx

from envs_mjx.mujoco import engine
from envs_mjx.mujoco.model import Compiled

_SCENES = 8
"""Scenes kept at once, by environment and size of batch."""


@runtime_checkable
class Cast(Protocol):
    """What Warp can draw: an environment, hashable."""

    def __hash__(self) -> int: ...

    @property
    def resolution(self) -> int:
        """Height and width of the picture, px."""

    @property
    def camera(self) -> int:
        """Number of the model's camera."""

    @property
    def compiled(self) -> Compiled:
        """Its nominal model."""


@dataclass(frozen=True, eq=False)
class _Scene:
    """A model and Warp's buffers for a number of worlds."""

    plain: mjx.Model
    model: mjx.Model
    blank: mjx.Data
    context: Any


def cast(source: Cast, qpos: Float[Array, " nq"], fields: Mapping[str, Array]) -> UInt8[Array, "height width 3"]:
    """The picture of a state; under one `vmap`, all rows are drawn at once.

    Args:
        source: what is drawn.
        qpos: positions, m and rad.
        fields: fields of the model that this row has for itself.
    """

    @jax.custom_batching.custom_vmap
    def picture(inputs: Any) -> UInt8[Array, "height width 3"]:
        return _drawn(source, jax.tree.map(lambda leaf: leaf[None], inputs), 1)[0]

    @picture.def_vmap
    def pictures(size: int, batched: Any, inputs: Any) -> tuple[Array, bool]:
        rows = jax.tree.map(
            lambda leaf, own: leaf if own else jnp.broadcast_to(leaf, (size, *leaf.shape)), inputs, batched[0]
        )
        return _drawn(source, rows, size), True

    return picture({"qpos": qpos, "fields": dict(fields)})


def _drawn(source: Cast, rows: Any, size: int) -> UInt8[Array, "B height width 3"]:
    scene = _scene(source, size)
    plain = scene.plain
    handle = scene.context.pytree()

    def draw(row: Any) -> Array:
        placed = engine.placed(plain.tree_replace(row["fields"]), engine.blank(plain).replace(qpos=row["qpos"]))
        where, direction = _lamps(source.compiled.host, placed)
        data = scene.blank.replace(
            qpos=placed.qpos,
            cam_xpos=placed.cam_xpos,
            cam_xmat=placed.cam_xmat,
            geom_xpos=placed.geom_xpos,
            geom_xmat=placed.geom_xmat,
        ).tree_replace({"_impl.light_xpos": where, "_impl.light_xdir": direction})
        model = scene.model.tree_replace(row["fields"])
        pixels, _, _ = mjx.render(model, mjx.refit_bvh(model, data, handle), handle)
        return mjx.get_rgb(handle, 0, pixels)

    return jnp.round(jax.vmap(engine.promoting(draw))(rows) * 255).astype(jnp.uint8)


def _lamps(host: mujoco.MjModel, data: mjx.Data) -> tuple[Float[Array, "L 3"], Float[Array, "L 3"]]:
    """Places (m) and directions of the lamps, which MJX's JAX code leaves out.

    Source: MuJoCo: engine_core_smooth.c (mj_camlight).
    """
    modes, places, directions = mujoco.mjtCamLight, [], []
    for lamp in range(host.nlight):
        mode, body, target = (
            int(field[lamp]) for field in (host.light_mode, host.light_bodyid, host.light_targetbodyid)
        )
        turn = data.xmat[body]
        place, direction = data.xpos[body] + turn @ host.light_pos[lamp], turn @ host.light_dir[lamp]
        if mode == modes.mjCAMLIGHT_TRACK:
            place, direction = data.xpos[body] + host.light_pos0[lamp], jnp.asarray(host.light_dir0[lamp])
        elif mode == modes.mjCAMLIGHT_TRACKCOM:
            place, direction = data.subtree_com[body] + host.light_poscom0[lamp], jnp.asarray(host.light_dir0[lamp])
        elif mode != modes.mjCAMLIGHT_FIXED and target >= 0:
            centres = data.xpos if mode == modes.mjCAMLIGHT_TARGETBODY else data.subtree_com
            direction = centres[target] - place
        places.append(place)
        directions.append(direction / jnp.linalg.norm(direction))
    shape, dtype = (host.nlight, 3), data.qpos.dtype
    return tuple(jnp.asarray(rows, dtype).reshape(shape) for rows in (places, directions))  # type: ignore[return-value]


@functools.lru_cache(maxsize=_SCENES)
def _scene(source: Cast, size: int) -> _Scene:
    host = source.compiled.textured()
    with jax.ensure_compile_time_eval():
        context = mjx.create_render_context(
            host,
            nworld=size,
            cam_res=(source.resolution, source.resolution),
            render_rgb=True,
            render_depth=False,
            use_shadows=bool(host.light_castshadow.any()),
            cam_active=[source.camera],
            render_skybox=bool((host.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX).any()),
        )
    plain = engine.put(host, "jax")
    return _Scene(plain, engine.put(host, "warp"), engine.blank_warp(host, plain, size), context)
