"""Evaluation: protocols, run folders, statistics and video."""

from swmjax.world.collecting import check_collection, collect
from swmjax.world.config import ORACLE, EvalConfig, load_settings
from swmjax.world.episodes import Episodes, draw_problem, run_episodes
from swmjax.world.evaluation import Interrupted, evaluate
from swmjax.world.problems import Problems, read_problems
from swmjax.world.run_folder import RunFolder, create_run_folder, explicit_run_folder
from swmjax.world.setup import Setup, set_up
from swmjax.world.statistics import Latency, paired_interval, wilson_interval

__all__ = [
    "EvalConfig",
    "Episodes",
    "Interrupted",
    "Latency",
    "ORACLE",
    "Problems",
    "RunFolder",
    "Setup",
    "check_collection",
    "collect",
    "create_run_folder",
    "draw_problem",
    "evaluate",
    "explicit_run_folder",
    "load_settings",
    "paired_interval",
    "read_problems",
    "run_episodes",
    "set_up",
    "wilson_interval",
]
