"""Training: a loop that can be stopped and resumed, and the experts that learn in it."""

from swmjax.training.experts import (
    ALGORITHMS,
    PPO,
    SAC,
    ExpertConfig,
    TrainingEnv,
    check_reward,
    load_expert_settings,
    train_expert,
)
from swmjax.training.learner import Learner
from swmjax.training.loop import Evaluation, Trained, train

__all__ = [
    "ALGORITHMS",
    "Evaluation",
    "ExpertConfig",
    "Learner",
    "PPO",
    "SAC",
    "Trained",
    "TrainingEnv",
    "check_reward",
    "load_expert_settings",
    "train",
    "train_expert",
]
