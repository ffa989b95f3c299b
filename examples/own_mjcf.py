"""A crane out of an MJCF of one's own: CEM plans the trolley's motions through its physics.

python examples/own_mjcf.py
"""

import imageio.v3 as iio
import jax
import jax.numpy as jnp

from envs_mjx.mujoco import MassFactor, MjcfEnv, tolerance
from swmjax.models import OracleModel
from swmjax.planning import CEMSolver, block_space, solve

CRANE = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <light pos="0 -2 3" dir="0 1 -1.5"/> <camera name="front" pos="0 -2.2 .9" xyaxes="1 0 0 0 .2 1"/>
    <geom type="capsule" fromto="-1 0 1 1 0 1" size=".01" contype="0" conaffinity="0"/>
    <site name="goal" pos=".6 0 .5" size=".06" rgba=".2 .7 .3 .5"/>
    <body name="trolley" pos="-.6 0 1">
      <joint name="rail" type="slide" axis="1 0 0" damping="1"/>
      <geom type="box" size=".08 .05 .03" mass="1" rgba=".2 .3 .6 1"/>
      <body name="load">
        <joint name="swing" axis="0 1 0" damping=".002"/>
        <geom type="capsule" fromto="0 0 0 0 0 -.5" size=".005" mass=".01"/>
        <geom name="ball" pos="0 0 -.5" size=".05" mass=".3" rgba=".8 .4 .2 1"/>
      </body>
    </body>
  </worldbody>
  <actuator> <motor joint="rail" ctrlrange="-5 5"/> </actuator>
</mujoco>
"""

# The environment in ten lines.
env = MjcfEnv(
    mjcf=CRANE,
    reward=lambda view: tolerance(jnp.linalg.norm(view.site("goal") - view.geom("ball")), (0.0, 0.02), margin=1.0),
    masses=(MassFactor("load.mass", ("ball",), "mass"),),
    time_limit=100,
    substeps=2,
    action_repeat=2,
)

solver, space = CEMSolver(num_samples=128, n_steps=4, topk=16), block_space(env.action_space, 5)


@jax.jit
def episode(key):
    """Plan 1.2 s ahead, do the first 0.2 s, and so on, with a load of another weight."""

    def control(state, key):
        cost = OracleModel(env).cost_fn(state, env.planning_cost)
        actions = solve(solver, cost, space, key, horizon=6).actions[0].reshape(5, 1)
        return jax.lax.scan(lambda state, action: (env.step(state, action),) * 2, state, actions)

    start = env.reset(key, variation=("load.mass",))
    states = jax.lax.scan(control, start, jax.random.split(key, 20))[1]
    return jax.tree.map(lambda leaf: leaf.reshape(100, *leaf.shape[2:]), states)


states = episode(jax.random.key(0))
print(f"load of {states.factors['load.mass'][0, 0]:.2f} kg; mean reward of the last second", end=" ")
print(f"{states.reward[-25:].mean() / env.action_repeat:.3f} (1: the load hangs still in the goal)")
last = jax.tree.map(lambda leaf: leaf[-1], states)
iio.imwrite("own_mjcf.png", env.render(last))
