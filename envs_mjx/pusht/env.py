"""The PushT environment, `swm/PushT-v1`: a disc pushes a block to a pose that the goal fixes.

Source: reference, envs/pusht/env.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.core import Env, State
from envs_mjx.pusht import dynamics, expert, shapes
from envs_mjx.pusht.factors import DEFAULT_VARIATIONS, pusht_variation_space
from envs_mjx.pusht.render import PushTScene, render_scene

_SUCCESS_DISTANCE = 20.0
_SUCCESS_ANGLE = np.pi / 9


@dataclass(frozen=True)
class PushT(Env):
    """Push a block with a disc until agent and block are where the goal state has them.

    Observations: `state` [7] is agent x, y, block x, y (px), block angle in [0, 2 pi), agent velocity x, y (px/s);
    `proprio` [4] is agent x, y and velocity. The reward is minus the norm of the difference of all seven entries to the
    goal. The episode terminates when agent and block are jointly within 20 px and the block within pi/9 rad of
    the goal, up to the block's symmetry. Nothing truncates.

    Quirks of the reference that datasets depend on are kept: contacts are frictionless, the agent may leave the
    window, `goal.position` and `goal.angle` place only the drawn overlay, `goal.scale` is never read, the green
    overlay has nothing to do with the goal that counts, and contact points are part of the picture.

    Args:
        resolution: Side of rendered frames in px.
        with_target: Draw the overlay (also needs the factor `rendering.render_goal`).
        relative: Actions move the target relative to the agent, 100 px per unit; otherwise they are window px.

    Raises:
        ValueError: `resolution` is not an integer of at least 8, or a switch not a bool.
    """

    option_names = ("state", "goal_state")

    resolution: int = 224
    with_target: bool = True
    relative: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.resolution, bool) or not isinstance(self.resolution, int) or self.resolution < 8:
            raise ValueError(f"resolution must be an integer of at least 8, got {self.resolution!r}")
        for name in ("with_target", "relative"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")

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
        return pusht_variation_space()

    @property
    def default_variation(self) -> tuple[str, ...]:
        """Agent position, block position and block angle."""
        return DEFAULT_VARIATIONS

    @cached_property
    def _rules(self) -> dynamics.Rules:
        return dynamics.Rules()

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
        return self._observed(physics, goal, factors, key, zero, contacts)

    def _advance(self, state: State, action: Float[Array, "2"]) -> State:
        """Ten physics steps towards the target that the action sets."""
        scene = self._rules.scene(state.factors)
        physics, contacts = self._rules.control_step(state.physics, scene, action, self.relative)
        after = self._observed(physics, state.goal, state.factors, state.key, state.step + 1, contacts)
        return after.replace(reward=-jnp.sqrt(((state.goal - after.obs["state"]) ** 2).sum()))

    def render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The reference's frame of the scene."""
        factors, bodies = state.factors, state.physics.bodies
        scene = self._rules.scene(factors)
        agent, block = scene.agent, scene.block
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
            agent_parts=_moved(agent.vertices, agent_origin, bodies.angle[dynamics.AGENT]),
            agent_part_mask=agent.mask,
            agent_color=factors["agent.color"],
            contacts_a=contacts.point_a,
            contacts_b=contacts.point_b,
            contacts_n=contacts.normal,
            contact_mask=contacts.active,
        )
        return render_scene(shown, self.resolution)

    def set_state(self, state: State, value: Float[Array, "7"]) -> State:
        """Put agent and block where a recorded state vector has them, and take one physics step.

        The block's angle in a record is wrapped; its velocities and remembered contacts stay, as in the reference.
        """
        value = _vector(value, "state", state.goal.dtype)
        physics, contacts = self._rules.place(state.physics, self._rules.scene(state.factors), value)
        moved = self._observed(physics, state.goal, state.factors, state.key, state.step, contacts)
        return moved.replace(info=moved.info | {"invalid_action": jnp.asarray(False)})

    def set_goal(self, state: State, goal: Float[Array, "7"]) -> State:
        """Replace the goal state; a vector of 7 as in the observation."""
        goal = _vector(goal, "goal_state", state.goal.dtype)
        info = state.info | {"goal_state": goal, "goal_proprio": jnp.concatenate([goal[:2], goal[5:]])}
        moved = state.replace(goal=goal, info=info)
        return moved.replace(terminated=self._success(moved))

    def goal_from(self, state: State) -> Float[Array, "7"]:
        """The goal that a state reaches: its own state vector."""
        return state.obs["state"]

    def distance(self, state: State) -> Float[Array, ""]:
        """Joint distance in px of agent and block from the goal, the first of the two tests of success."""
        difference = state.goal[:4] - state.obs["state"][:4]
        return jnp.sqrt((difference**2).sum())

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """How far a state is from success: both tests in units of their tolerance, squared and summed."""
        return (self.distance(state) / _SUCCESS_DISTANCE) ** 2 + (self._turn(state) / _SUCCESS_ANGLE) ** 2

    def weak_action(self, key: Key[Array, ""], state: State) -> Float[Array, "2"]:
        """An action of the weak policy, see `weak_action`."""
        return expert.weak_action(key, state)

    def _turn(self, state: State) -> Float[Array, ""]:
        """Angle in rad between the block and its goal, up to the block's symmetry."""
        period = self._rules.scene(state.factors).block.symmetry
        turn = jnp.mod(jnp.abs(state.goal[4] - state.obs["state"][4]), period)
        return jnp.minimum(turn, period - turn)

    def _success(self, state: State) -> Bool[Array, ""]:
        return (self.distance(state) < _SUCCESS_DISTANCE) & (self._turn(state) < _SUCCESS_ANGLE)

    def _observed(
        self,
        physics: dynamics.Physics,
        goal: Array,
        factors: dict[str, Array],
        key: Array,
        step: Array,
        contacts: Array,
    ) -> State:
        """The state with everything that follows from its physics; the reward is still 0."""
        vector = dynamics.state_vector(physics.bodies, self._rules.scene(factors))
        pose = jnp.concatenate([vector[2:4], physics.bodies.angle[dynamics.BLOCK][None]])
        goal_pose = jnp.concatenate([factors["goal.position"], factors["goal.angle"][None]]).astype(vector.dtype)
        state = State(
            physics=physics,
            obs={"proprio": jnp.concatenate([vector[:2], vector[5:]]), "state": vector},
            reward=jnp.zeros((), vector.dtype),
            terminated=jnp.asarray(False),
            truncated=jnp.asarray(False),
            info={
                "pos_agent": vector[:2],
                "vel_agent": vector[5:],
                "block_pose": pose,
                "goal_pose": goal_pose,
                "goal_state": goal,
                "goal_proprio": jnp.concatenate([goal[:2], goal[5:]]),
                "n_contacts": -(-contacts // dynamics.SUBSTEPS),
            },
            goal=goal,
            factors=factors,
            key=key,
            step=step,
        )
        return state.replace(terminated=self._success(state))


def _start_vector(factors: Mapping[str, Array]) -> Float[Array, "7"]:
    parts = ("agent.start_position", "block.start_position", "block.angle", "agent.velocity")
    return jnp.concatenate([jnp.atleast_1d(factors[name]) for name in parts])


def _vector(value: Any, name: str, dtype: Any) -> Float[Array, "7"]:
    value = jnp.asarray(value, dtype)
    if value.shape != (7,):
        raise ValueError(
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
