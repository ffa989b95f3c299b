"""MuJoCo's C library on the host: batches of states, stepped on its own threads, for callbacks of JAX programs.

NumPy only: a callback that calls JAX can wait for itself for ever. One call at a time; programs that run at the same
time take turns.
"""

import contextlib
import copy
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import DATA_FIELDS, Batch, SimulationError

from envs_mjx.mujoco.native_models import Job, Models

STATE = ("qpos", "qvel", "act", "qacc_warmstart")
"""What of MuJoCo's data leads to the next state, in the order in which it is packed."""
BROKEN = 1e10
"""Size of a position or velocity at which MuJoCo calls its physics diverged."""

_VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
_BAD = [
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]
_RISES = 1
"""Column of the warnings that counts them."""
_UNSTABLE = "Nan, Inf or huge value"
"""What a warning about a diverged row begins with."""
_KIND = 30
"""Letters by which kinds of warnings are told apart; numbers follow."""
_TURN = threading.Lock()
_log = logging.getLogger(__name__)


class Native:
    """A model on the host.

    In all calls, axes of length 1 before the last ones stand for rows that share a value. A state comes as `rounded`,
    in JAX's precision, and `exact`: an entry of `exact` that does not round to that of `rounded`, NaN among them, gives
    way to it; `exact` may be empty. Numbers in double precision are pairs of 32 bits, since JAX would round them on
    threads that do not know of `jax.enable_x64`.

    Args:
        model: the nominal one, without textures.
        threads: threads that step a batch; 0 for all cores.
    """

    def __init__(self, model: mujoco.MjModel, threads: int) -> None:
        # A call may change its flags for a while.
        self.model, self._threads = copy.copy(model), threads
        model = self.model
        self.sizes = (model.nq, model.nv, model.na, model.nv)
        self.models = Models(model)
        self._nominal = [model]
        self._data = mujoco.MjData(model)
        self._batches: dict[tuple[str, ...], _Rows] = {}
        self._told: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether a batch has this array of MuJoCo's data."""
        return name in DATA_FIELDS

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array of MuJoCo's data that a batch has."""
        found: tuple[int, ...] = getattr(self._data, name).shape
        return found

    def advance(
        self,
        job: Job,
        rounded: Any,
        exact: Any,
        fields: Any,
        ctrl: Any,
        resting: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Control steps of every row.

        Args:
            job: how many, and what is wanted of each.
            rounded: the states [..., S].
            exact: the same, exactly, or [..., 0].
            fields: of the models, packed [..., F].
            ctrl: control signals [..., H, nu], each held for `job.repeat` control steps; where one is not finite, a
                row does not move.
            resting: degrees of freedom that are at rest before each of the H steps [..., nv], or [..., 0] for none.

        Returns:
            State and outputs [..., H, repeat, S + outputs], NaN in the rest of a step of H that diverges, after which
            the row goes on from where it was before; and the states exactly [..., H, repeat, 2 S] or [..., 0].
        """
        given = _Given(rounded, exact, fields, ctrl, resting, tails=(1, 1, 1, 2, 1))
        state, ctrl = self._state(given), given.rows(3, np.float64)
        still = given.rows(4, bool)
        count, horizon = ctrl.shape[:2]
        width = state.shape[1]
        found = np.empty((count, horizon, job.repeat, width + self._width(job.outputs)), given.dtype)
        precise = np.empty((count, horizon, job.repeat, width if given.precise else 0))
        speeds = slice(self.sizes[0], self.sizes[0] + self.sizes[1])
        with _turn(), np.errstate(over="ignore", invalid="ignore"):
            rows = self._rows(job, given, count)
            for step in range(horizon):
                before = state.copy()
                if still.shape[1]:
                    state[:, speeds][still] = 0.0
                moving = np.isfinite(ctrl[:, step]).all(1)
                broken = np.zeros(count, bool)
                for repeat in range(job.repeat):
                    broken |= self._step(rows, state, ctrl[:, step], moving & ~broken, job.substeps)
                    found[:, step, repeat, :width] = state
                    found[:, step, repeat, width:] = rows.outputs(count)
                    found[broken, step, repeat] = np.nan
                    if given.precise:
                        precise[:, step, repeat] = state
                state[broken] = before[broken]
        return given.shaped(found), given.shaped(precise)

    def look(self, job: Job, rounded: Any, exact: Any, fields: Any) -> tuple[np.ndarray]:
        """Outputs [..., outputs] that follow from positions and velocities; for the arguments see `advance`."""
        given = _Given(rounded, exact, fields, tails=(1, 1, 1))
        state = self._state(given)
        with _turn():
            rows = self._rows(job, given, len(state))
            rows.load(state)
            failed = self._failed(rows, lambda: rows.batch.forward(rows.ids, stage=_VELOCITY))
            found = rows.outputs(len(state)).astype(given.dtype)
            found[failed] = np.nan
            return (given.shaped(found),)

    def settle(
        self, job: Job, actuated: bool, rounded: Any, exact: Any, fields: Any, ctrl: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The forward pass of every row, with or without what the actuators do.

        Args:
            job: the fields.
            actuated: whether actuators act.
            rounded: see `advance`.
            exact: see `advance`.
            fields: see `advance`.
            ctrl: control signals [..., nu].

        Returns:
            The state, whose warm start is now that of the forward pass, and all sensors [..., S + sensors]; and the
            state exactly [..., 2 S] or 0.
        """
        given = _Given(rounded, exact, fields, ctrl, tails=(1, 1, 1, 1))
        state, ctrl = self._state(given), given.rows(3, np.float64)
        sensors = np.empty((len(state), self.model.nsensordata))
        without = 0 if actuated else int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        with _turn():
            for row, model in enumerate(self._each(job, given, len(state))):
                data = self._placed(state[row])
                data.ctrl[:] = ctrl[row]
                flags = model.opt.disableflags
                model.opt.disableflags = flags | without
                try:
                    mujoco.mj_forward(model, data)
                except mujoco.FatalError as error:
                    self._tell(error)
                    data.sensordata[:] = np.nan
                finally:
                    model.opt.disableflags = flags
                state[row, -self.sizes[3] :] = data.qacc_warmstart
                sensors[row] = data.sensordata
        found = np.concatenate([state, sensors], axis=1).astype(given.dtype)
        return given.shaped(found), given.shaped(state if given.precise else state[:, :0])

    def gap(self, job: Job, rounded: Any, exact: Any, fields: Any) -> tuple[np.ndarray]:
        """The smallest gap [..., 1] of the contacts of every row, less their margin, m; infinite without a contact."""
        given = _Given(rounded, exact, fields, tails=(1, 1, 1))
        state = self._state(given)
        found = np.full((len(state), 1), np.inf, given.dtype)
        with _turn():
            for row, model in enumerate(self._each(job, given, len(state))):
                data = self._placed(state[row])
                mujoco.mj_kinematics(model, data)
                mujoco.mj_comPos(model, data)
                mujoco.mj_collision(model, data)
                if data.ncon:
                    found[row] = (data.contact.dist - data.contact.includemargin).min()
        return (given.shaped(found),)

    def _step(
        self, rows: "_Rows", state: np.ndarray, ctrl: np.ndarray, moving: np.ndarray, substeps: int
    ) -> np.ndarray:
        """One control step of the rows that move, into `state`; returns which of them diverged."""
        rows.load(state)
        rows.ctrl[: len(state)] = ctrl
        rows.batch.warning[...] = 0
        ids = rows.ids if moving.all() else np.flatnonzero(moving).astype(np.int32)
        if not len(ids):
            return np.zeros_like(moving)
        failed = self._failed(rows, lambda: rows.batch.step(ids, nstep=substeps, stage=_VELOCITY))
        rows.save(state, moving)
        moved = state[:, : sum(self.sizes[:3])]
        # Comparisons with NaN are false.
        unsound = ~(np.abs(moved) < BROKEN).all(1)
        diverged: np.ndarray = failed | (rows.batch.warning[: len(state), _BAD, _RISES] > 0).any(1) | unsound
        return diverged & moving

    def _failed(self, rows: "_Rows", call: Callable[[], None]) -> np.ndarray:
        """Which rows MuJoCo raises an error for; each error is told once."""
        failed = np.zeros(len(rows.ids), bool)
        try:
            call()
        except SimulationError as error:
            failed[error.ids] = True
            self._tell(error)
        return failed

    def _tell(self, error: Exception) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            _log.warning("MuJoCo raises an error, and its rows end here: %s", error)

    def _state(self, given: "_Given") -> np.ndarray:
        """The states in double precision [B, S]."""
        rounded = given.rows(0)
        state = rounded.astype(np.float64)
        if given.precise:
            exact = given.rows(1)
            with np.errstate(over="ignore", invalid="ignore"):
                known = exact.astype(rounded.dtype) == rounded
            np.copyto(state, exact, where=known)
        return state

    def _width(self, outputs: Sequence[str]) -> int:
        return sum(math.prod(self.shape(name)) for name in outputs)

    def _models_of(self, job: Job, given: "_Given", count: int) -> list[mujoco.MjModel]:
        """The models of all rows, or the one of all of them."""
        if not job.layout:
            return self._nominal
        shared = given.own_rows(2)
        return self.models.of(job.layout, given.rows(2) if shared is None else shared)

    def _each(self, job: Job, given: "_Given", count: int) -> list[mujoco.MjModel]:
        """The model of every row."""
        models = self._models_of(job, given, count)
        return models * (count // len(models))

    def _rows(self, job: Job, given: "_Given", count: int) -> "_Rows":
        """Rows of a batch for these outputs, with the models of the call."""
        found = self._batches.get(job.outputs)
        if found is None or found.batch.nsim < count:
            found = self._batches[job.outputs] = _Rows(Batch(self.model, count, self._threads), job.outputs)
        found.take(count, self._models_of(job, given, count), self.models.written)
        return found

    def _placed(self, state: np.ndarray) -> mujoco.MjData:
        """Data at a state, with nothing left of the state before."""
        mujoco.mj_resetData(self.model, self._data)
        for name, part in zip(STATE, np.split(state, np.cumsum(self.sizes)[:-1]), strict=True):
            getattr(self._data, name)[:] = part
        return self._data


class _Rows:
    """A batch and the arrays through which it is written and read; its first rows are used."""

    def __init__(self, batch: Batch, outputs: tuple[str, ...]) -> None:
        self.batch, self.ids = batch, np.arange(0, dtype=np.int32)
        batch.reset(stage=0)
        self._state = [batch.bind(name) for name in STATE]
        self.ctrl = batch.bind("ctrl")
        self._time = batch.bind("time")
        self._outputs = [batch.bind(name).reshape(batch.nsim, -1) for name in outputs]
        self._models: list[mujoco.MjModel] = []
        self._written = 0

    def take(self, count: int, models: list[mujoco.MjModel], written: int) -> None:
        """Use so many rows, each with its model, or all with one; `written` as in `Models`."""
        if len(self.ids) != count:
            self.ids = np.arange(count, dtype=np.int32)
        if models is not self._models or written != self._written:
            spare = self.batch.nsim - len(models)
            self.batch.set_models(models[0] if len(models) == 1 else models + models[:1] * spare)
            self._models, self._written = models, written

    def load(self, state: np.ndarray) -> None:
        """Write the states [B, S]."""
        at = 0
        for part in self._state:
            part[: len(state)] = state[:, at : at + part.shape[1]]
            at += part.shape[1]
        # As in a program, where no step knows the time.
        self._time[: len(state)] = 0.0

    def save(self, state: np.ndarray, moved: np.ndarray) -> None:
        """Read the states of the rows that moved."""
        at = 0
        for part in self._state:
            np.copyto(state[:, at : at + part.shape[1]], part[: len(state)], where=moved[:, None])
            at += part.shape[1]

    def outputs(self, count: int) -> np.ndarray:
        """What the last call found [B, outputs]."""
        if not self._outputs:
            return np.empty((count, 0))
        return np.concatenate([output[:count] for output in self._outputs], axis=1)


class _Given:
    """Arguments of a callback, whose leading axes are those of a batch, or 1 where rows share a value.

    The first two are the state, rounded and exact. Double precision comes and goes as pairs of 32 bits.
    """

    def __init__(self, *arrays: Any, tails: Sequence[int]) -> None:
        self._arrays = [_decoded(np.asarray(array)) for array in arrays]
        self._tails = tails
        leads = [array.shape[: array.ndim - tail] for array, tail in zip(self._arrays, tails, strict=True)]
        self._leads, self._lead = leads, np.broadcast_shapes(*leads)
        self.count = math.prod(self._lead)
        self.dtype = self._arrays[0].dtype
        self.precise = self._arrays[1].shape[-1] > 0

    def rows(self, index: int, dtype: np.typing.DTypeLike | None = None) -> np.ndarray:
        """An argument with one leading axis."""
        array, tail = self._arrays[index], self._tails[index]
        core = array.shape[array.ndim - tail :]
        wide = array if self._leads[index] == self._lead else np.broadcast_to(array, self._lead + core)
        return np.ascontiguousarray(wide.reshape(self.count, *core), dtype)

    def own_rows(self, index: int) -> np.ndarray | None:
        """The one row of an argument that all rows share; None where they do not."""
        array, tail = self._arrays[index], self._tails[index]
        if math.prod(self._leads[index]) > 1:
            return None
        return array.reshape(1, *array.shape[array.ndim - tail :])

    def shaped(self, rows: np.ndarray) -> np.ndarray:
        """A result with the leading axes of the batch."""
        coded = rows.view(np.uint32) if rows.dtype == np.float64 else rows
        return coded.reshape(*self._lead, *coded.shape[1:])


def _decoded(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.float64) if array.dtype == np.uint32 else array


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """The host for one call, which may use all cores.

    Diverged rows are told apart by their counters: no line on standard error, no MUJOCO_LOG.TXT.
    """
    with _TURN:
        before = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(_warned)
        try:
            yield
        finally:
            mujoco.set_mju_user_warning(before)


_told: set[str] = set()


def _warned(message: str) -> None:
    """Tell each kind of warning once, but for those of diverged rows."""
    kind = message[:_KIND]
    if _UNSTABLE not in message and kind not in _told:
        _told.add(kind)
        _log.warning("MuJoCo: %s", message)
