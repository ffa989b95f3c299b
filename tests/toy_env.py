"""A point on a line: the smallest environment that honours the contract."""

from dataclasses import dataclass

import gymnasium
import jax.numpy as jnp
import numpy as np

from envs_mjx.core import Env
from envs_mjx.spaces import Box, Dict


@dataclass(frozen=True)
class PointEnv(Env):
    """Move x by the action; done at |x - goal| < 0.1."""

    option_names = ("goal",)

    gain: float = 1.0

    @property
    def action_space(self):
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    @property
    def observation_space(self):
        return gymnasium.spaces.Dict({"x": gymnasium.spaces.Box(-100.0, 100.0, (1,), np.float64)})

    @property
    def variation_space(self):
        return Dict(
            {
                "start": Dict({"x": Box(-1.0, 1.0, (1,), np.float32, init_value=[0.5])}),
                "shade": Box(0.0, 1.0, (), np.float32, init_value=1.0),
            }
        )

    @property
    def default_variation(self):
        return ("start.x",)

    def _start(self, key, factors, options):
        goal = jnp.asarray(options.get("goal", jnp.zeros(1)), jnp.float32)
        return self._first_state(factors["start.x"], goal, factors, key, jnp.result_type(float))

    def _advance(self, state, action):
        physics = state.physics + self.gain * action
        distance = jnp.abs(physics - state.goal)[0]
        moved = state.replace(
            physics=physics, reward=-distance, success=distance < 0.1, terminated=distance < 0.1, step=state.step + 1
        )
        return self._observed(moved)

    def _observed(self, state):
        return state.replace(
            obs={"x": state.physics}, info=state.info | {"distance": jnp.abs(state.physics - state.goal)[0]}
        )

    def _render(self, state):
        shade = (255 * state.factors["shade"]).astype(jnp.uint8)
        return jnp.broadcast_to(shade[None, None, None], (4, 6, 3))

    def _set_physics(self, state, value):
        return state.replace(physics=value)

    def _set_goal(self, state, goal):
        return self._observed(state.replace(goal=goal))

    def goal_from(self, state):
        return state.physics

    def distance(self, state):
        return jnp.abs(state.physics - state.goal)[0]

    def planning_cost(self, state):
        return self.distance(state) ** 2
