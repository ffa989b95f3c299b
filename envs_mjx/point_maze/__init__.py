"""SimplePointMaze: a disc finds its way between rectangular walls."""

from envs_mjx.point_maze.env import SimplePointMaze

__all__ = ["SimplePointMaze"]
