"""How all MuJoCo environments run: stepping, resets, factors, goals, limits and rendering."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from envs_mjx.checks import UserError, check_choice, check_whole
from envs_mjx.core import State, checked_action
from envs_mjx.mujoco import engine
from envs_mjx.mujoco.fields import ModelFields
from envs_mjx.mujoco.implementation import AUTO, Implementation, Look, Motion, Taken, taken
from envs_mjx.mujoco.model import FIDELITIES, Compiled, compiled
from envs_mjx.mujoco.physics import UNKNOWN, MujocoPhysics
from envs_mjx.mujoco.scene import Scene
from envs_mjx.mujoco.state_vector import sound
from envs_mjx.mujoco.task import MujocoTask
from envs_mjx.mujoco.view import View
from envs_mjx.processes import check_process


@dataclass(frozen=True)
class MujocoEnv(MujocoTask):
    """An environment whose physics MJX or MuJoCo's C library computes from a MuJoCo model.

    Actions are from -1 to 1 in every entry and scaled to the actuators' ranges. The state vector (`info["state"]`,
    `set_state`, the goal) is `qpos` and `qvel`.

    Physics that diverges stays at the last good state, is truncated, and sets `info["diverged"]`. Until a goal is set
    (it is NaN before), `planning_cost` is the reward missed so far; then, the squared difference of the state vectors.

    Args:
        fidelity: `parity` for the model's own integrator and solver settings; `fast` for 4 solver and 8 line search
            iterations and Euler steps, with explicit damping where damping is weak. Cheap, but another physics where
            there are contacts: do not replay data on it.
        impl: `auto` for what suits the machine (see `taken`): MuJoCo's C library on one CPU, with the derivatives of
            MJX and with MJX in programs that are exported; MJX on other devices, in double precision, and where it is
            faster. Or `c` for the C library, without derivatives; `jax` for MJX; `warp` where NVIDIA Warp is installed,
            on a CUDA GPU or slowly on the CPU.
        resolution: height and width of the picture, px.
        warp_contacts: with `warp`, contacts at most in all rows of a batch together; Warp leaves out what is more.
        renderer: `host` for MuJoCo's own OpenGL pictures, one after another; `warp` to draw a batch at once on the
            device where NVIDIA Warp is installed, without sites and with the nominal model's textures.
        threads: threads of the C library that step a batch; 0 for all cores. The results do not depend on it.

    Raises:
        UserError: an argument is unknown, or the implementation cannot run here.
    """

    fidelity: str = "parity"
    impl: str = "auto"
    warp_contacts: int = 200_000
    renderer: str = "host"
    threads: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("fidelity", self.fidelity, FIDELITIES, show=str)
        check_whole("warp_contacts", self.warp_contacts, 1)
        taken(self.impl)
        engine.check_renderer(self.renderer)
        check_whole("threads", self.threads, 0)
        cores = os.cpu_count() or 1
        if self.threads > cores:
            raise UserError(f"threads must be from 0 (all cores) to {cores} on this machine, got {self.threads}")

    @property
    def taken(self) -> Taken:
        """The implementation that moves it, and why it is that one."""
        found = taken(self.impl, self.mjx_is_faster)
        if self.impl != AUTO or found.name != "c" or self.runs_in_c:
            return found
        refusal = _refusal_of_c(self)
        return found if refusal is None else dataclasses.replace(taken("jax"), why=refusal)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What `auto` has taken."""
        found = self.taken
        return (f"impl=auto took {found.name}: {found.why}",) if self.impl == AUTO else ()

    @property
    def compiled(self) -> Compiled:
        """The nominal model, compiled once per configuration and precision."""
        return _compiled(self, self.taken.kind, jnp.result_type(float) == jnp.float64)

    @property
    def host(self) -> mujoco.MjModel:
        """The nominal model."""
        return self.compiled.host

    def _vectors(self, physics: MujocoPhysics) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        return physics.qpos, physics.qvel

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Controls, scaled to -1 to 1."""
        return gymnasium.spaces.Box(-1.0, 1.0, (self.compiled.host.nu,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """One vector under `observation`."""
        return gymnasium.spaces.Dict(
            {"observation": gymnasium.spaces.Box(-np.inf, np.inf, (self._observation_size,), np.float32)}
        )

    @cached_property
    def _observation_size(self) -> int:
        shape = jax.eval_shape(lambda: self._see(self._blank(), self._observe))
        return int(shape.shape[0])

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        dtype = jnp.result_type(float)
        place_key, target_key, key = jax.random.split(key, 3)
        target = self._draw_target(target_key, dtype)
        if "target" in options:
            target = self._target(options["target"])
        blank = self._blank().replace(target=target, fields=self._fields(factors))
        if "state" in options:
            qpos, qvel = self._split(self._vector(options["state"], "state"))
        else:
            scene = Scene(self.host, self._model(blank), blank, self.compiled.moves, self._changes(blank))
            qpos, qvel = self._place(place_key, scene)
        physics = self._settled(blank.replace(qpos=qpos, qvel=qvel), False)
        return self._first_state(physics, self._goal(options), factors, key, dtype, {"score": jnp.zeros((), dtype)})

    def _advance(self, state: State, action: Float[Array, " nu"]) -> State:
        return self._arrived(state, self._walk(state.physics, state.goal, action, self._reward, self._shown))

    def _arrived(self, state: State, walked: "_Walked") -> State:
        """The state after one step, which is known."""
        physics, shown, reward, reached = walked
        good = sound((physics.qpos, physics.qvel, physics.act))
        step = state.step + 1
        shown["info"]["score"] = state.info["score"] + reward / 1000
        kept = {"obs": state.obs, "info": {name: state.info[name] for name in shown["info"]}}
        shown = jax.tree.map(lambda new, old: jnp.where(good, new, old), shown, kept)
        return state.replace(
            physics=jax.tree.map(lambda new, old: jnp.where(good, new, old), physics, state.physics),
            reward=jnp.where(good, reward, 0.0),
            success=good & reached,
            terminated=good & reached,
            truncated=(step >= self.time_limit) | ~good,
            step=step,
            obs=shown["obs"],
            info=shown["info"] | {"diverged": ~good},
        )

    @property
    def _rolls_whole(self) -> bool:
        return self.compiled.moves.whole_rollouts and not (self.has_success and self.action_repeat > 1)

    @property
    def rollout_bytes(self) -> int:
        """States and places of bodies after all control steps, where they come at once."""
        host = self.host
        # A state exactly and rounded, sensors, observations, and places with axes of bodies, geoms and sites.
        state = 3 * (host.nq + 2 * host.nv + host.na) + host.nsensordata + self._observation_size
        return 4 * self.action_repeat * (state + 12 * (host.nbody + host.ngeom + host.nsite)) * self._rolls_whole

    def _rollout(self, state: State, actions: Float[Array, "H nu"], keep: Callable[[State], Any]) -> tuple[State, Any]:
        """All steps in one call where the implementation can, and no step ends before its last control step."""
        moves, physics = self.compiled.moves, state.physics
        if not self._rolls_whole:
            return super()._rollout(state, actions, keep)
        checked = jax.vmap(lambda action: checked_action(action, self.action_space))(actions)
        frames = moves.rolled(
            physics,
            self._changes(physics),
            jax.vmap(lambda action: self._controls(action, physics.qpos.dtype))(checked),
            self._motion,
            self._resting(physics),
            self._looking(physics, state.goal, self._reward, self._shown),
        )

        def advance(before: State, step: tuple[Array, Any]) -> tuple[State, Any]:
            action, frames = step
            after = self._guarded(before, action, lambda state, _: self._arrived(state, _last_of(frames)))
            return after, keep(after)

        return jax.lax.scan(advance, state, (checked, frames))

    def _walk(
        self,
        physics: MujocoPhysics,
        goal: Float[Array, " S"],
        action: Float[Array, " nu"],
        judge: Callable[[View], Any],
        look: Callable[[View], Any],
    ) -> "_Walked":
        """The motion of one step.

        Args:
            physics: before.
            goal: state vector.
            action: scaled controls.
            judge: what is added up over the control steps.
            look: what is to be seen after the last one.

        Returns:
            The physics after, what is seen there, the sums, and whether the task is solved.
        """
        ctrl = self._controls(action, physics.qpos.dtype)
        looking = self._looking(physics, goal, judge, look)
        moves, fields = self.compiled.moves, self._changes(physics)
        return _last_of(moves.moved(physics, fields, ctrl, self._motion, self._resting(physics), looking))

    def _looking(
        self,
        physics: MujocoPhysics,
        goal: Float[Array, " S"],
        judge: Callable[[View], Any],
        look: Callable[[View], Any],
    ) -> Look:
        """What a control step is asked for: values to add up, what is to be seen, and whether the task is solved."""
        model, target = self._model(physics), physics.target

        def ask(after: MujocoPhysics, data: Any) -> tuple[Any, Any, Bool[Array, ""] | None]:
            view = View(host=self.host, model=model, data=data, target=target)
            return judge(view), look(view), self._reached(view, goal)

        return ask

    @property
    def _motion(self) -> Motion:
        return Motion(self.action_repeat, self.substeps)

    def _controls(self, action: Float[Array, " nu"], dtype: np.dtype) -> Float[Array, " nu"]:
        """The actuators' control signals of an action."""
        low, high = (jnp.asarray(limit, dtype) for limit in self.host.actuator_ctrlrange.T)
        return low + (action.astype(dtype) + 1) / 2 * (high - low)

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The picture of `camera`, with the looks of the factors."""
        if self.renderer == "warp":
            from envs_mjx.mujoco.warp_render import cast

            model = self._model(state.physics)
            return cast(self, state.physics.qpos, self._changes(state.physics) | self._tinted(model, state.factors))
        from envs_mjx.mujoco.render import rendered

        looks = {"fields": state.physics.fields, "factors": state.factors, "target": state.physics.target}
        return rendered(self, state.physics.qpos, looks)

    def _tinted(self, model: ModelFields, factors: Mapping[str, Array]) -> dict[str, Array]:
        """Fields of the model that only pictures show, for Warp's renderer."""
        return {}

    def drawn_model(self) -> mujoco.MjModel:
        """The model that the host's renderer draws."""
        return self._spec().compile()

    def look(self, model: mujoco.MjModel, data: mujoco.MjData, looks: Mapping[str, Any]) -> tuple[int, ...]:
        """Give a model on the host the looks of a state; without JAX, since programs wait for it.

        Args:
            model: from `drawn_model`, changed in place.
            data: of this model; its positions are set afterwards.
            looks: `fields`, `factors` and `target` of the state, as NumPy arrays.

        Returns:
            Numbers of the textures that have changed.
        """
        for name, value in looks["fields"].items():
            if name == "opt.gravity":
                # A slack string hangs along it.
                model.opt.gravity[:] = value
            elif "." not in name:
                getattr(model, name)[...] = value
        if "body_mass" in looks["fields"]:
            # Cameras and lamps that follow the centre of mass are placed by it.
            mujoco.mj_setConst(model, data)
        return ()

    def _set_physics(self, state: State, value: Float[Array, " S"]) -> State:
        """Positions and velocities; controls, activations and target stay."""
        qpos, qvel = self._split(self._vector(value, "state"))
        physics = state.physics.replace(qpos=qpos, qvel=qvel, exact=self._blank().exact)
        return state.replace(physics=self._settled(physics, True))

    def set_target(self, state: State, target: Float[Array, " G"]) -> State:
        """Move the task's target, which `set_state` leaves alone; it must be finite, as `set_goal` has it."""
        return self._entered("target", self._set_target, state, target)

    def _set_target(self, state: State, target: Float[Array, " G"]) -> State:
        physics = state.physics.replace(target=self._target(target))
        return self._rested(state.replace(physics=self._settled(physics, True)))

    def _set_goal(self, state: State, goal: Float[Array, " S"]) -> State:
        """Make positions and velocities the goal."""
        goal = self._vector(goal, "goal_state")
        reached = self._see(state.physics, lambda view: self._reached(view, goal))
        moved = state.replace(goal=goal)
        return moved if reached is None else moved.replace(success=reached, terminated=reached)

    def _cost_without_goal(self, state: State) -> Float[Array, ""]:
        """The reward missed so far."""
        steps = state.step.astype(jnp.result_type(float))
        return self.action_repeat * steps - 1000 * state.info["score"]

    def _target(self, value: Any) -> Float[Array, " G"]:
        value = jnp.asarray(value, jnp.result_type(float))
        if value.shape != (self.target_size,):
            raise UserError(
                f"the target of {type(self).__name__} has {self.target_size} entries, got the shape {value.shape}"
            )
        return value

    def _split(self, vector: Float[Array, " S"]) -> tuple[Float[Array, " nq"], Float[Array, " nv"]]:
        nq = self.compiled.host.nq
        return vector[:nq], vector[nq:]

    def _blank(self) -> MujocoPhysics:
        """The reference position at rest, with the nominal model."""
        host, dtype = self.compiled.host, jnp.result_type(float)
        return MujocoPhysics(
            qpos=jnp.asarray(host.qpos0, dtype),
            qvel=jnp.zeros((host.nv,), dtype),
            act=jnp.zeros((host.na,), dtype),
            ctrl=jnp.zeros((host.nu,), dtype),
            warmstart=jnp.zeros((host.nv,), dtype),
            sensordata=jnp.zeros((host.nsensordata,), dtype),
            target=jnp.zeros((self.target_size,), dtype),
            fields={},
            exact=jnp.full((self.compiled.moves.exact_size,), UNKNOWN, jnp.uint32),
        )

    def _fields(self, factors: Mapping[str, Array]) -> dict[str, Array]:
        """The fields of the model that the factors set."""
        nominal = self.compiled
        dtype = jnp.result_type(float)
        fields = self._edited(nominal.fields, factors)
        if nominal.masses.names:
            moments = self._vary_moments(nominal.masses.varied(factors, dtype), factors)
            fields |= nominal.moves.weighed(nominal.masses, nominal.fields.with_fields(fields), moments)
        return {name: value.astype(dtype) for name, value in fields.items()}

    def _changes(self, physics: MujocoPhysics) -> dict[str, Array]:
        """All fields of the model that are not the nominal ones, those of the target too."""
        return physics.fields | self._aim(self.compiled.fields.with_fields(physics.fields), physics.target)

    def _model(self, physics: MujocoPhysics) -> ModelFields:
        """The nominal model with this environment's fields."""
        return self.compiled.fields.with_fields(self._changes(physics))

    def _see(self, physics: MujocoPhysics, look: Callable[[View], Any]) -> Any:
        """What is to be seen in a state; force sensors show what they last read."""
        model = self._model(physics)

        def ask(physics: MujocoPhysics, data: Any) -> Any:
            return look(View(host=self.host, model=model, data=data, target=physics.target))

        return self.compiled.moves.seen(physics, self._changes(physics), ask)

    def _shown(self, view: View) -> dict[str, Any]:
        """What of a state its observer gets to see."""
        return {
            "obs": {"observation": self._observe(view).astype(jnp.float32)},
            "info": {
                "qpos": view.qpos,
                "qvel": view.qvel,
                "state": jnp.concatenate([view.qpos, view.qvel]),
                **self._extras(view),
            },
        }

    def _settled(self, physics: MujocoPhysics, actuated: bool) -> MujocoPhysics:
        """The physics of a state that nothing has led to: force sensors read what the actuators, or none, do there."""
        resting = self._resting(physics)
        if resting is not None:
            physics = physics.replace(qvel=jnp.where(resting, 0.0, physics.qvel))
        return self.compiled.moves.settled(physics, self._changes(physics), actuated)

    def _observed(self, state: State) -> State:
        def look(view: View) -> tuple[Any, Any, Any]:
            return self._shown(view), self._reached(view, state.goal), view.data.sensordata

        shown, reached, sensordata = self._see(state.physics, look)
        reached = jnp.asarray(False) if reached is None else reached
        return state.replace(
            physics=state.physics.replace(sensordata=sensordata),
            success=reached,
            terminated=reached,
            truncated=state.step >= self.time_limit,
            obs=shown["obs"],
            info=state.info | shown["info"] | {"diverged": jnp.asarray(False)},
        )


_Walked = tuple[MujocoPhysics, Any, Any, Bool[Array, ""]]
"""The physics after a step, what is seen there, sums over the control steps, and whether the task is solved."""


def _last_of(frames: tuple[MujocoPhysics, tuple[Any, Any, Bool[Array, " K"] | None]]) -> _Walked:
    """A step out of its K control steps; those after the one that solves the task are not done."""
    physics, (values, seen, reached) = frames
    if reached is None:
        last: Any = -1
        solved, sums = jnp.asarray(False), jax.tree.map(lambda leaf: leaf.sum(0), values)
    else:
        done = jnp.cumsum(reached) - reached == 0
        last, solved = done.sum() - 1, reached.any()

        def total(leaf: Array) -> Array:
            return jnp.where(done.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, jnp.zeros_like(leaf)).sum(0)

        sums = jax.tree.map(total, values)
    at_last = functools.partial(jax.tree.map, lambda leaf: leaf[last])
    return at_last(physics), at_last(seen), sums, solved


@functools.lru_cache(maxsize=64)
def _refusal_of_c(env: MujocoEnv) -> str | None:
    """Why the C library cannot run what MJX may: the model, or something that the task looks at; None where it can."""
    try:
        asked = dataclasses.replace(env, impl="c")
        blank, goal = asked._blank(), jnp.full((asked._state_size,), jnp.nan)
        look = asked._looking(blank, goal, asked._reward, asked._shown)
        jax.eval_shape(lambda: asked.compiled.moves.seen(blank, {}, look))
    # A task's functions are the user's: what is wrong with them MJX will say as well.
    except Exception as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=64)
def _compiled(env: MujocoEnv, kind: type[Implementation], x64: bool) -> Compiled:
    """The model of a configuration; `x64` only keeps the models of the two precisions apart."""
    check_process()
    spec = env._spec()
    space = env.variation_space
    factors = tuple((factor, float(space.factor(factor.factor).init_value[0])) for factor in env._mass_factors())
    return compiled(spec, factors, env.total_mass, env.fidelity, kind, env.warp_contacts, env.threads)
