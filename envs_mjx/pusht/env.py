"""The PushT environment, `swm/PushT-v1`: an agent pushes a block to a pose that the goal fixes.

Source: reference, envs/pusht/env.py.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_count, check_flag, is_finite_number
from envs_mjx.core import Env
from envs_mjx.pusht import dynamics, expert, shapes
from envs_mjx.pusht.action_mark import mark_action
from envs_mjx.pusht.factors import DEFAULT_VARIATIONS, pusht_variation_space
from envs_mjx.pusht.render import PushTScene, render_scene
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds

_SUCCESS_DISTANCE = 20.0
_SUCCESS_ANGLE = np.pi / 9
_MARGIN = 64.0
"""Distance from the window, px, at which a state can still be given: an agent leaves it by 41 px in a step at most."""
_FASTEST = 10.0 * dynamics.WINDOW
"""Largest velocity that can be given, px/s; actions that are window px lead to ones far above the observation's."""


@dataclass(frozen=True)
class PushT(Env):
    """Push a block until agent and block are where the goal state has them.

    A round agent (`agent.shape` 0, the default) is kinematic and passes through walls; one of the seven other shapes is
    a body like the block, which forgets its velocity at every physics step: it is slower, can be blocked, and turns.

    Observations: `state` [7] is agent x, y, block x, y (px), block angle in [0, 2 pi), agent velocity x, y (px/s);
    `proprio` [4] is agent x, y and velocity. The reward is minus the norm of the difference of all seven entries to the
    goal. The episode terminates when agent and block are jointly within 20 px and the block within pi/9 rad of
    the goal, up to the block's symmetry. Nothing truncates.

    Quirks of the reference that datasets depend on are kept: contacts are frictionless, the agent may leave the
    window, `goal.position` and `goal.angle` place only the drawn overlay, `goal.scale` is never read, the green
    overlay has nothing to do with the goal that counts, and contact points are part of the picture.

    Gradients: reverse mode needs `differentiable=True`, which takes every step of both kinds of agents in loops of
    static length. Derivatives are those of the solver's iterations with the contacts found as they are: exact between
    contacts and for pressing contacts as long as the same features touch, without a NaN; that a contact is made or
    lost contributes nothing, so that an agent far from the block sees no gradient of the block's pose.

    Args:
        resolution: Side of rendered frames in px.
        with_target: Draw the overlay (also needs the factor `rendering.render_goal`).
        relative: Actions move the target relative to the agent, 100 px per unit; otherwise they are window px.
        block_cog: Centre of gravity of the block relative to its origin in px; that of its shape when None.
        damping: Fraction of its velocity that a dynamic body keeps in one second, in [0, 1]; None for 0.
        render_action: Mark the last action with a red cross, see `envs_mjx.pusht.action_mark`.
        init_value: Initial values of factors by dotted name or nested by group, in place of the usual ones; kept as
            pairs (name, value).
        differentiable: Allow reverse-mode differentiation of `step`; slower.
        agent_shapes: 'all', or 'circle' when every agent of every batch is round: the same results from programs that
            compile in about half the time.

    Raises:
        UserError: `resolution` is not an integer of at least 8, a switch not a bool, `block_cog` not two finite
            numbers, `damping` outside [0, 1], `agent_shapes` another word, or `init_value` with an unknown factor, a
            value outside its space or a shape that `agent_shapes` excludes.
    """

    option_names = ("state", "goal_state")

    resolution: int = 224
    with_target: bool = True
    relative: bool = True
    block_cog: Any = None
    damping: float | None = None
    render_action: bool = False
    init_value: Any = None
    differentiable: bool = False
    agent_shapes: Literal["all", "circle"] = "all"

    def __post_init__(self) -> None:
        check_count("resolution", self.resolution, 8)
        for name in ("with_target", "relative", "render_action", "differentiable"):
            check_flag(name, getattr(self, name))
        if self.block_cog is not None:
            object.__setattr__(self, "block_cog", _two_numbers(self.block_cog))
        damping = self.damping
        if damping is not None and not (is_finite_number(damping) and 0 <= damping <= 1):
            raise UserError(f"damping must be None or a number in [0, 1], got {damping!r}")
        if self.init_value is not None:
            object.__setattr__(self, "init_value", _pairs(self.init_value))
            # Building the space checks names and values.
            pusht_variation_space().set_init_value(dict(self.init_value))
        if self.agent_shapes not in ("all", "circle"):
            raise UserError(f"agent_shapes must be 'all' or 'circle', got {self.agent_shapes!r}")
        self.check_reset(())

    def _check_start(self, sampled: Set[str], given: Mapping[str, Array], options: Mapping[str, Any]) -> None:
        """Refuse agents that are not round where the environment was made for round ones alone.

        Raises:
            UserError: names the factor and the argument.
        """
        if self.agent_shapes == "all":
            return
        name = "agent.shape"
        if name in sampled:
            raise UserError(f"{name} cannot vary with agent_shapes='circle'; make the environment with 'all'")
        shape = given.get(name, self.variation_space.factor(name).init_value)
        if isinstance(shape, jax.core.Tracer):
            raise UserError(f"{name} cannot be a traced value with agent_shapes='circle'; leave it out")
        if int(shape) != shapes.CIRCLE:
            raise UserError(f"{name} must be {shapes.CIRCLE} with agent_shapes='circle', got {shape}")

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Relative target of the agent, 100 px per unit."""
        return gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Bounds of `proprio` and `state`; the reference's, which an agent outside the window violates."""
        size = float(dynamics.WINDOW)
        low, high = np.array([0, 0, -size, -size]), np.full(4, size)
        state_low = np.array([0, 0, 0, 0, 0, -size, -size])
        state_high = np.array([size, size, size, size, 2 * np.pi, size, size])
        return gymnasium.spaces.Dict(
            {
                "proprio": gymnasium.spaces.Box(low, high, dtype=np.float64),
                "state": gymnasium.spaces.Box(state_low, state_high, dtype=np.float64),
            }
        )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The 17 factors of variation of the reference."""
        space = pusht_variation_space()
        if self.init_value is not None:
            space.set_init_value(dict(self.init_value))
            space.reset()
        return space

    @property
    def inert_factors(self) -> tuple[str, ...]:
        """What the reference never reads."""
        return ("goal.scale",)

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Agent position, block position and block angle."""
        return DEFAULT_VARIATIONS

    @cached_property
    def _rules(self) -> dynamics.Rules:
        return dynamics.Rules(
            damping=0.0 if self.damping is None else float(self.damping),
            block_cog=self.block_cog,
            differentiable=self.differentiable,
            polygons=self.agent_shapes == "all",
        )

    def state_bounds(self, size: int) -> StateBounds:
        """Agent and block not far outside of the window, any angle, and velocities of ten windows a second.

        The physics can lead an agent, which passes through walls, further away.
        """
        if size != 7:
            return super().state_bounds(size)
        places, speeds = np.full(4, _MARGIN), np.full(2, _FASTEST)
        low, high = -places, dynamics.WINDOW + places
        return StateBounds.of(np.concatenate([low, [-np.inf], -speeds]), np.concatenate([high, [np.inf], speeds]), size)

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        """`options` may hold `state` and `goal_state`, vectors of 7 as in the observation.

        Without a goal state one is drawn like a start. As in the reference the scene first visits the goal, for one
        physics step.
        """
        dtype = factors["block.angle"].dtype
        start = _start_vector(factors) if "state" not in options else _vector(options["state"], "state", dtype)
        if "goal_state" not in options:
            goal_names = ("agent.start_position", "block.start_position", "block.angle")
            drawn = self.variation_space.draw(key, goal_names, {"agent.velocity": factors["agent.velocity"]})
            goal = _start_vector(drawn)
        else:
            goal = _vector(options["goal_state"], "goal_state", dtype)
        scene = self._rules.scene(factors)
        physics = self._rules.build(scene, factors)

        def visit(i, carry):
            physics, contacts = carry
            physics, found = self._rules.place(physics, scene, jnp.where(i == 0, goal, start))
            return physics, contacts + found

        # One loop instead of two calls: the physics is compiled once.
        zero = jnp.zeros((), jnp.int32)
        physics, contacts = jax.lax.fori_loop(0, 2, visit, (physics, zero))
        info = {"n_contacts": _per_substep(contacts)}
        if self.render_action:
            info["latest_action"] = jnp.zeros((2,), jnp.float32)
        return self._first_state(physics, goal, factors, key, dtype, info)

    def _advance(self, state: State, action: Float[Array, "2"]) -> State:
        """Ten physics steps towards the target that the action sets."""
        scene = self._rules.scene(state.factors)
        physics, contacts = self._rules.control_step(state.physics, scene, action, self.relative)
        info = state.info | {"n_contacts": _per_substep(contacts)}
        if self.render_action:
            info["latest_action"] = action.astype(jnp.float32)
        after = self._observed(state.replace(physics=physics, step=state.step + 1, info=info))
        return after.replace(reward=-_norm(state.goal - after.obs["state"]))

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The reference's frame of the scene."""
        factors, bodies = state.factors, state.physics.bodies
        scene = self._rules.scene(factors)
        agent, block = scene.agent, scene.block
        # Without polygons there is nothing of the agent to draw but the disc.
        parts = slice(None if self._rules.polygons else 0)
        contacts = self._rules.contacts(state.physics, scene)
        agent_origin, block_origin = (dynamics.origin(bodies, i, scene.shape(i)) for i in range(2))
        shown = PushTScene(
            background=factors["background.color"],
            goal_parts=_moved(block.vertices, factors["goal.position"], factors["goal.angle"]),
            goal_color=factors["goal.color"],
            show_goal=(factors["rendering.render_goal"] == 1) & self.with_target,
            block_parts=_moved(block.vertices, block_origin, bodies.angle[dynamics.BLOCK]),
            part_mask=block.mask,
            block_color=factors["block.color"],
            agent_is_circle=scene.agent_is_disc,
            agent_center=agent_origin,
            agent_radius=shapes.CIRCLE_RADIUS * factors["agent.scale"].astype(agent_origin.dtype),
            agent_parts=_moved(agent.vertices[parts], agent_origin, bodies.angle[dynamics.AGENT]),
            agent_part_mask=agent.mask[parts],
            agent_color=factors["agent.color"],
            contacts_a=contacts.point_a,
            contacts_b=contacts.point_b,
            contacts_n=contacts.normal,
            contact_mask=contacts.active,
        )
        image = render_scene(shown, self.resolution)
        if not self.render_action:
            return image
        return jnp.where(state.step > 0, mark_action(image, state.info["latest_action"]), image)

    def _set_physics(self, state: State, value: Float[Array, "7"]) -> State:
        """Agent and block where a recorded state vector has them, one physics step of 0.01 s later.

        That step, the reference's, moves things: a round agent by its velocity in the vector times 0.01 s, and the
        block and any other agent as their contacts have it. So `obs["state"]` is the vector only for an agent at rest
        that touches nothing. The block's angle in a record is wrapped; its velocities and remembered contacts stay.

        Source: reference, envs/pusht/env.py (`_set_state`).
        """
        value = _vector(value, "state", state.goal.dtype)
        physics, contacts = self._rules.place(state.physics, self._rules.scene(state.factors), value)
        return state.replace(physics=physics, info=state.info | {"n_contacts": _per_substep(contacts)})

    def _set_goal(self, state: State, goal: Float[Array, "7"]) -> State:
        """Replace the goal state; a vector of 7 as in the observation."""
        goal = _vector(goal, "goal_state", state.goal.dtype)
        info = state.info | {"goal_state": goal, "goal_proprio": jnp.concatenate([goal[:2], goal[5:]])}
        moved = state.replace(goal=goal, info=info)
        return self._judged(moved)

    def goal_from(self, state: State) -> Float[Array, "7"]:
        """The goal that a state reaches: its own state vector."""
        return state.obs["state"]

    def distance(self, state: State) -> Float[Array, ""]:
        """Joint distance in px of agent and block from the goal, the first of the two tests of success."""
        return _norm(state.goal[:4] - state.obs["state"][:4])

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """How far a state is from success: both tests in units of their tolerance, squared and summed."""
        return (self.distance(state) / _SUCCESS_DISTANCE) ** 2 + (self._turn(state) / _SUCCESS_ANGLE) ** 2

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """A random push near the block, see `envs_mjx.pusht.behaviour_action`."""
        return expert.behaviour_action(key, state)

    def _turn(self, state: State) -> Float[Array, ""]:
        """Angle in rad between the block and its goal, up to the block's symmetry."""
        period = shapes.symmetry(state.factors["block.shape"], state.goal.dtype)
        turn = jnp.mod(jnp.abs(state.goal[4] - state.obs["state"][4]), period)
        return jnp.minimum(turn, period - turn)

    def _judged(self, state: State) -> State:
        """The state that knows whether it is at its goal."""
        reached = (self.distance(state) < _SUCCESS_DISTANCE) & (self._turn(state) < _SUCCESS_ANGLE)
        return state.replace(success=reached, terminated=reached)

    def _observed(self, state: State) -> State:
        bodies, goal, factors = state.physics.bodies, state.goal, state.factors
        vector = dynamics.state_vector(bodies, self._rules.scene(factors))
        goal_pose = jnp.concatenate([factors["goal.position"], factors["goal.angle"][None]]).astype(vector.dtype)
        info = {
            "pos_agent": vector[:2],
            "vel_agent": vector[5:],
            "block_pose": jnp.concatenate([vector[2:4], bodies.angle[dynamics.BLOCK][None]]),
            "goal_pose": goal_pose,
            "goal_state": goal,
            "goal_proprio": jnp.concatenate([goal[:2], goal[5:]]),
        }
        obs = {"proprio": jnp.concatenate([vector[:2], vector[5:]]), "state": vector}
        return self._judged(state.replace(obs=obs, truncated=jnp.asarray(False), info=state.info | info))


def _per_substep(contacts: Int[Array, ""]) -> Int[Array, ""]:
    """Contacts of a control step, as the reference reports them: per physics step, rounded up."""
    return -(-contacts // dynamics.SUBSTEPS)


def _two_numbers(value: Any) -> tuple[float, float]:
    entries = tuple(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else ()
    if len(entries) != 2 or not all(is_finite_number(entry) for entry in entries):
        raise UserError(f"block_cog must be None or two finite numbers (x, y in px), got {value!r}")
    return float(entries[0]), float(entries[1])


def _pairs(values: Any) -> tuple[tuple[str, Any], ...]:
    """Initial values as hashable pairs of dotted name and value; given as a mapping, nested or not, or as pairs."""
    try:
        items = dict(values).items()
    except (TypeError, ValueError):
        raise UserError(f"init_value must map names of factors to values, got {values!r}") from None
    flat: list[tuple[str, Any]] = []
    for name, value in items:
        if isinstance(value, Mapping):
            flat += [(f"{name}.{below}", inner) for below, inner in _pairs(value)]
        else:
            entries = np.asarray(value).tolist()
            flat.append((str(name), tuple(entries) if isinstance(entries, list) else entries))
    return tuple(sorted(flat))


def _norm(vector: Array) -> Float[Array, ""]:
    """Length of a vector; its gradient at zero is zero."""
    square = (vector**2).sum()
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _start_vector(factors: Mapping[str, Array]) -> Float[Array, "7"]:
    parts = ("agent.start_position", "block.start_position", "block.angle", "agent.velocity")
    return jnp.concatenate([jnp.atleast_1d(factors[name]) for name in parts])


def _vector(value: Any, name: str, dtype: Any) -> Float[Array, "7"]:
    value = jnp.asarray(value, dtype)
    if value.shape != (7,):
        raise UserError(
            f"{name} must have 7 entries (agent x, y, block x, y, block angle, agent velocity x, y), "
            f"got the shape {value.shape}"
        )
    return value


def _moved(vertices, position, angle):
    """Vertices turned about the origin and moved."""
    angle, position = angle.astype(vertices.dtype), position.astype(vertices.dtype)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = vertices[..., 0], vertices[..., 1]
    return jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=-1) + position[None, None, :]
