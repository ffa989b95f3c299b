"""Experts: Brax' SAC and PPO, which solve a task so that datasets can be collected."""

from swmjax.training.experts.config import ALGORITHMS, ExpertConfig, load_expert_settings
from swmjax.training.experts.env import TrainingEnv
from swmjax.training.experts.ppo import PPO
from swmjax.training.experts.probe import check_reward
from swmjax.training.experts.run import train_expert
from swmjax.training.experts.sac import SAC

__all__ = [
    "ALGORITHMS",
    "ExpertConfig",
    "PPO",
    "SAC",
    "TrainingEnv",
    "check_reward",
    "load_expert_settings",
    "train_expert",
]
