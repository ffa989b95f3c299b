"""Evaluation: protocols, statistics and video."""

from swmjax.runs.folder import RunFolder
from swmjax.world.collecting import check_collection, collect
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.episodes import Episodes, run_episodes
from swmjax.world.evaluation import evaluate
from swmjax.world.presets import load_settings
from swmjax.world.protocols import PROTOCOLS, Drawn, Episodic, Protocol, Recorded, draw_problem
from swmjax.world.setup import Setup, set_up
from swmjax.world.statistics import Latency, mean_interval, paired_interval, wilson_interval

__all__ = [
    "EvalConfig",
    "Episodes",
    "Episodic",
    "Latency",
    "ORACLE",
    "PROTOCOLS",
    "Drawn",
    "Protocol",
    "Recorded",
    "RunFolder",
    "Setup",
    "check_collection",
    "collect",
    "draw_problem",
    "evaluate",
    "load_settings",
    "mean_interval",
    "paired_interval",
    "run_episodes",
    "set_up",
    "wilson_interval",
]
