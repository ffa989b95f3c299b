"""MuJoCo's models on the host by the values of their fields; NumPy only, since callbacks use them."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the fields that are packed into one vector."""

_KEPT = 4096
"""Models kept at least, beside those of the batch that asked last."""
_CLOSE = 8
"""Roundings by which a field may differ from the nominal one and still stand for it."""
_MASSES = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "dof_armature")
"""Fields from which MuJoCo derives others."""
_DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "tendon_invweight0", "actuator_acc0")
_FRAMES = {"body": ("body_ipos", "body_iquat"), "geom": ("geom_pos", "geom_quat"), "site": ("site_pos", "site_quat")}
_SHAPES = ("geom_size", "geom_pos", "geom_quat", "body_ipos", "body_iquat")
"""Fields that a body's tree of bounding boxes depends on."""
_INERTIAL = (int(mujoco.mjtSameFrame.mjSAMEFRAME_INERTIA), int(mujoco.mjtSameFrame.mjSAMEFRAME_INERTIAROT))


@dataclass(frozen=True)
class Job:
    """What a call does, known when a program is traced.

    Attributes:
        layout: the fields of the model that come with each row.
        outputs: what of MuJoCo's data is wanted beside the state, in this order.
        repeat: control steps in which a control is held.
        substeps: physics steps in each.
    """

    layout: Layout = ()
    outputs: tuple[str, ...] = ()
    repeat: int = 1
    substeps: int = 1


class Models:
    """The nominal model with other fields, one model for each set of values.

    A model is made when it is first asked for; those not asked for longest are written over. Fields may come in single
    precision: where one is the nominal one as far as its precision goes, the nominal one is taken, so that a nominal
    environment moves as MuJoCo moves it, to the bit.

    Args:
        nominal: without textures, since it is copied often.

    Attributes:
        written: how often a model was written; only then does one that was given away change.
    """

    def __init__(self, nominal: mujoco.MjModel) -> None:
        self.nominal = nominal
        self.written = 0
        self._made: OrderedDict[tuple[Layout, bytes], mujoco.MjModel] = OrderedDict()
        self._last: tuple[Layout, np.ndarray, list[mujoco.MjModel]] = ((), np.zeros((0, 0)), [])
        self._data = mujoco.MjData(nominal)

    def of(self, layout: Layout, rows: np.ndarray) -> list[mujoco.MjModel]:
        """The models of some rows of packed fields [B, F]; the same list as before for the same rows as before."""
        if layout == self._last[0] and np.array_equal(rows, self._last[1]):
            return self._last[2]
        found, limit = [], max(_KEPT, 2 * len(rows))
        for row in rows:
            key = (layout, row.tobytes())
            model = self._made.get(key)
            if model is None:
                spare = self._made.popitem(last=False)[1] if len(self._made) >= limit else copy.copy(self.nominal)
                model = self._made[key] = spare
                self._write(model, _unpacked(layout, row))
            else:
                self._made.move_to_end(key)
            found.append(model)
        self._last = (layout, rows.copy(), found)
        return found

    def _write(self, model: mujoco.MjModel, fields: Mapping[str, np.ndarray]) -> None:
        """Give a copy of the nominal model these fields, and what MuJoCo's compiler would derive from them."""
        self.written += 1
        for name, value in fields.items():
            nominal = np.asarray(_field(self.nominal, name), np.float64)
            exact = np.asarray(value, np.float64)
            near = np.abs(exact - nominal) <= _CLOSE * np.finfo(value.dtype).eps * np.abs(nominal)
            _set(model, name, np.where(near, nominal, exact))
        self._clear_shortcuts(model)
        self._derive(model)

    def _clear_shortcuts(self, model: mujoco.MjModel) -> None:
        """Let MuJoCo compute what its compiler found to coincide in the nominal model.

        A frame that is marked as its body's, or as the body's inertial frame, is not looked at; and the boxes around
        the geoms of a body are those of the nominal geoms.
        """
        moved = {
            kind: np.any([(getattr(model, name) != getattr(self.nominal, name)).any(1) for name in names], axis=0)
            for kind, names in _FRAMES.items()
        }
        for kind in ("geom", "site"):
            inertial = np.isin(getattr(self.nominal, f"{kind}_sameframe"), _INERTIAL)
            moved[kind] |= inertial & moved["body"][getattr(self.nominal, f"{kind}_bodyid")]
        for kind, rows in moved.items():
            flags = getattr(self.nominal, f"{kind}_sameframe")
            getattr(model, f"{kind}_sameframe")[:] = np.where(rows, 0, flags)
        reshaped = any(not np.array_equal(getattr(model, name), getattr(self.nominal, name)) for name in _SHAPES)
        # Without the trees the same contacts come in the same order.
        without = int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE) if reshaped else 0
        model.opt.disableflags = self.nominal.opt.disableflags | without

    def _derive(self, model: mujoco.MjModel) -> None:
        """What MuJoCo's compiler computes from masses and inertias.

        The solver judges its errors by the mean inertia, for which a locked joint's armature must not count.
        """
        if all(np.array_equal(getattr(model, name), getattr(self.nominal, name)) for name in _MASSES):
            # What an earlier row left of its own.
            for name in _DERIVED:
                getattr(model, name)[...] = getattr(self.nominal, name)
            model.stat.meaninertia = self.nominal.stat.meaninertia
            return
        armature = model.dof_armature.copy()
        model.dof_armature[:] = self.nominal.dof_armature
        mujoco.mj_setConst(model, self._data)
        # One after the other, as MuJoCo's compiler adds them up.
        model.stat.meaninertia = np.cumsum(model.dof_M0)[-1] / model.nv
        if not np.array_equal(armature, self.nominal.dof_armature):
            model.dof_armature[:] = armature
            mujoco.mj_setConst(model, self._data)


def _unpacked(layout: Layout, row: np.ndarray) -> dict[str, np.ndarray]:
    found, at = {}, 0
    for name, shape in layout:
        size = int(np.prod(shape))
        found[name] = row[at : at + size].reshape(shape)
        at += size
    return found


def _field(model: mujoco.MjModel, name: str) -> np.ndarray | float:
    value: np.ndarray | float = model
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _set(model: mujoco.MjModel, name: str, value: np.ndarray) -> None:
    place, _, last = name.rpartition(".")
    holder = getattr(model, place) if place else model
    if value.ndim:
        getattr(holder, last)[...] = value
    else:
        setattr(holder, last, float(value))
