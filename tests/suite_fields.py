"""dm_control beside a newer MuJoCo, which no longer has some of the arrays that it looks for."""

from dm_control import mujoco
from dm_control.mujoco.wrapper.mjbindings import sizes


def forget_removed_arrays():
    """Let dm_control look for the arrays only that the installed MuJoCo has."""
    core = mujoco.wrapper.core.mujoco
    for structure, kind in (("mjmodel", core.MjModel), ("mjdata", core.MjData)):
        for gone in [field for field in sizes.array_sizes[structure] if not hasattr(kind, field)]:
            del sizes.array_sizes[structure][gone]
