"""A model of one's own that compiles fast, also in MJX: a rod on a hinge."""

ARM = """
<mujoco>
  <worldbody>
    <body pos="0 0 1">
      <joint name="hinge" axis="0 1 0" damping=".1"/>
      <geom name="rod" type="capsule" fromto="0 0 0 0 0 -.5" size=".02"/> <site name="tip" pos="0 0 -.5"/>
    </body>
  </worldbody>
  <actuator> <motor joint="hinge" ctrlrange="-2 4"/> </actuator>
</mujoco>
"""


def tip(view):
    return view.site("tip")[2]
