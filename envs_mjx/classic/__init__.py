"""Classic control: Gymnasium's five small physics tasks with the reference's factors of variation."""

from envs_mjx.classic.acrobot import AcrobotControl
from envs_mjx.classic.base import ControlEnv, ControlPhysics
from envs_mjx.classic.cartpole import CartPoleControl
from envs_mjx.classic.mountain_car import MountainCarControl
from envs_mjx.classic.mountain_car_continuous import MountainCarContinuousControl
from envs_mjx.classic.pendulum import PendulumControl

__all__ = [
    "AcrobotControl",
    "CartPoleControl",
    "ControlEnv",
    "ControlPhysics",
    "MountainCarContinuousControl",
    "MountainCarControl",
    "PendulumControl",
]
