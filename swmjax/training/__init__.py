"""Training of experts: Brax' SAC and PPO in a loop that can be stopped and resumed."""

from swmjax.training.config import ALGORITHMS, ExpertConfig, load_expert_settings
from swmjax.training.loop import train_expert
from swmjax.training.ppo import PPO
from swmjax.training.sac import SAC
from swmjax.training.task import Task

__all__ = [
    "ALGORITHMS",
    "ExpertConfig",
    "PPO",
    "SAC",
    "Task",
    "load_expert_settings",
    "train_expert",
]
