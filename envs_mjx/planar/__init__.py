"""What environments with a point in the plane share."""

from envs_mjx.planar.point_goal import PointGoalEnv

__all__ = ["PointGoalEnv"]
