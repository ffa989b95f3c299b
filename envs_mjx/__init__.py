"""Functional environments in JAX; importing this package also registers their ids with Gymnasium.

JAX is imported with the first environment or space that is used.
"""

from typing import TYPE_CHECKING

from envs_mjx.registry import Spec, full_id, import_named, make, register, registered_ids, spec

if TYPE_CHECKING:
    from envs_mjx import spaces
    from envs_mjx.core import Env
    from envs_mjx.state import State
else:
    import importlib

    def __getattr__(name):
        if name == "spaces":
            return importlib.import_module("envs_mjx.spaces")
        if name in ("Env", "State"):
            return getattr(importlib.import_module(f"envs_mjx.{'core' if name == 'Env' else 'state'}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Env", "Spec", "State", "full_id", "import_named", "make", "register", "registered_ids", "spaces", "spec"]

register("swm/PushT-v1", "envs_mjx.pusht.env:PushT")
register("swm/PushT-Discrete-v1", "envs_mjx.pusht.discrete:PushTDiscrete", discrete=True)
register("swm/TwoRoom-v1", "envs_mjx.tworoom.env:TwoRoom")
register("swm/Piecewise-v0", "envs_mjx.piecewise.env:Piecewise")
register("swm/SimplePointMaze-v0", "envs_mjx.point_maze.env:SimplePointMaze")
register("swm/VoidRun-v0", "envs_mjx.void_run.env:VoidRun", discrete=True)
register("swm/ImagePositioning-v1", "envs_mjx.image_positioning.env:ImagePositioning")
register("swm/CartPoleControl-v1", "envs_mjx.classic.cartpole:CartPoleControl", discrete=True)
register("swm/MountainCarControl-v0", "envs_mjx.classic.mountain_car:MountainCarControl", discrete=True)
register("swm/MountainCarContinuousControl-v0", "envs_mjx.classic.mountain_car_continuous:MountainCarContinuousControl")
register("swm/AcrobotControl-v1", "envs_mjx.classic.acrobot:AcrobotControl", discrete=True)
register("swm/PendulumControl-v1", "envs_mjx.classic.pendulum:PendulumControl")

for _name, _domain in (
    ("Pendulum", "pendulum"),
    ("Cartpole", "cartpole"),
    ("Acrobot", "acrobot"),
    ("Reacher", "reacher"),
    ("BallInCup", "ball_in_cup"),
    ("Cheetah", "cheetah"),
    ("Hopper", "hopper"),
    ("Walker", "walker"),
    ("Finger", "finger"),
    ("Humanoid", "humanoid"),
    ("Quadruped", "quadruped"),
    ("Manipulator", "manipulator"),
):
    register(f"swm/{_name}DMControl-v0", f"envs_mjx.mujoco.suite.{_domain}:{_name}DMControl", extra="mujoco")

for _name, _task in (
    ("Ant", "ant"),
    ("HalfCheetah", "halfcheetah"),
    ("Hopper", "hopper"),
    ("Humanoid", "humanoid"),
    ("HumanoidStandup", "humanoidstandup"),
    ("InvertedDoublePendulum", "inverted_double_pendulum"),
    ("InvertedPendulum", "inverted_pendulum"),
    ("Pusher", "pusher"),
    ("Reacher", "reacher"),
    ("Walker2d", "walker2d"),
):
    register(f"brax/{_name}-v1", "envs_mjx.adapters.brax_env:BraxTask", extra="brax", task=_task)

for _name in (
    "AcrobotSwingup AcrobotSwingupSparse BallInCup CartpoleBalance CartpoleBalanceSparse CartpoleSwingup "
    "CartpoleSwingupSparse CheetahRun FingerSpin FingerTurnEasy FingerTurnHard FishSwim HopperHop HopperStand "
    "HumanoidRun HumanoidStand HumanoidWalk PendulumSwingup PointMass ReacherEasy ReacherHard SwimmerSwimmer6 "
    "WalkerRun WalkerStand WalkerWalk"
).split():
    register(
        f"playground/{_name}-v0", "envs_mjx.adapters.playground_env:PlaygroundTask", extra="playground", task=_name
    )
register("playground/Task-v0", "envs_mjx.adapters.playground_env:PlaygroundTask", extra="playground")

for _name in ("CraftaxPixels", "CraftaxSymbolic", "CraftaxClassicPixels", "CraftaxClassicSymbolic"):
    register(f"swm/{_name}-v1", f"envs_mjx.adapters.craftax_env:{_name}", discrete=True, extra="craftax")
