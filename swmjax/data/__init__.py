"""Datasets of episodes."""

from swmjax.data.compose import ConcatDataset, MergeDataset
from swmjax.data.formats import (
    EPISODE_DATA,
    FORMATS,
    MODES,
    Column,
    Format,
    LanceReader,
    LanceWriter,
    Mode,
    Reader,
    Writer,
    detect_format,
    format_of,
    get_format,
    list_formats,
    register_format,
)
from swmjax.data.goals import GoalDataset
from swmjax.data.jpeg import decode_jpeg, encode_jpeg
from swmjax.data.normalise import IdentityScaler, PercentileScaler, ZScoreScaler, column_normalizer, get_scaler
from swmjax.data.replay import ReplayBuffer, classic_filter
from swmjax.data.subsets import EpisodeSubset, split_episodes
from swmjax.data.transforms import ColumnTransform, Compose
from swmjax.data.windows import Dataset, Windows

__all__ = [
    "EPISODE_DATA",
    "FORMATS",
    "MODES",
    "Column",
    "ColumnTransform",
    "Compose",
    "ConcatDataset",
    "Dataset",
    "EpisodeSubset",
    "Format",
    "GoalDataset",
    "IdentityScaler",
    "LanceReader",
    "LanceWriter",
    "MergeDataset",
    "Mode",
    "PercentileScaler",
    "Reader",
    "ReplayBuffer",
    "Windows",
    "Writer",
    "ZScoreScaler",
    "classic_filter",
    "column_normalizer",
    "decode_jpeg",
    "detect_format",
    "encode_jpeg",
    "format_of",
    "get_format",
    "get_scaler",
    "list_formats",
    "register_format",
    "split_episodes",
]
