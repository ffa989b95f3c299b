"""README.md: its tables are those of the registries, and its Python runs as it stands."""

import re
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
ARM = """
<mujoco>
  <worldbody>
    <body>
      <joint name="shoulder" axis="0 1 0"/>
      <geom type="capsule" fromto="0 0 0 0 0 1" size="0.05"/>
      <site name="tip" pos="0 0 1"/>
    </body>
  </worldbody>
  <actuator><motor joint="shoulder" ctrlrange="-1 1" ctrllimited="true"/></actuator>
</mujoco>
"""


def test_tables_are_up_to_date():
    tool = runpy.run_path(str(ROOT / "tools" / "readme_tables.py"))
    assert tool["with_tables"](README) == README


def test_an_environment_and_a_plan():
    """The first two blocks, of which the second goes on from the first."""
    shown = {"actions": jax.random.uniform(jax.random.key(5), (1024, 2), minval=-1.0, maxval=1.0)}
    exec(BLOCKS[0], shown)
    assert shown["states"].step.tolist() == [1] * 1024
    assert set(shown["states"].factors["block.scale"].tolist()) == {40.0}
    assert (shown["image"].shape, shown["image"].dtype) == ((224, 224, 3), jnp.uint8)
    exec(BLOCKS[1], shown)
    plan = shown["plan"]
    assert (plan.actions.shape, plan.cost.shape) == ((3, 10), ())
    assert jnp.isfinite(plan.cost)
    assert all(leaf.shape[0] == 10 for leaf in jax.tree.leaves(plan.trace))


def test_an_environment_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("arm.xml").write_text(ARM)
    shown = {}
    exec(BLOCKS[2], shown)
    env = shown["env"]
    state = jax.eval_shape(env.step, jax.eval_shape(env.reset, jax.random.key(0)), jnp.zeros(1))
    assert state.reward.shape == ()


def test_there_is_no_other_block():
    assert len(BLOCKS) == 3
