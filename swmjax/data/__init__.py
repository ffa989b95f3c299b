"""Datasets of episodes."""

from swmjax.data.clips import Clips
from swmjax.data.compose import ConcatDataset, MergeDataset
from swmjax.data.convert import Copied, convert, merge
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
from swmjax.data.info import dataset_info, delete_dataset, is_image, list_datasets
from swmjax.data.jpeg import decode_jpeg, encode_jpeg
from swmjax.data.load import load_dataset, open_dataset
from swmjax.data.loader import Loader
from swmjax.data.names import ensure_dir_exists, get_cache_dir
from swmjax.data.nested import flatten_dict, get_in
from swmjax.data.normalise import IdentityScaler, PercentileScaler, ZScoreScaler, column_normalizer, get_scaler
from swmjax.data.replay import ReplayBuffer, classic_filter
from swmjax.data.snapshot import Snapshot, decoded
from swmjax.data.steps import StepsDataset
from swmjax.data.subsets import EpisodeSubset, split_episodes
from swmjax.data.transforms import ColumnTransform, Compose
from swmjax.data.windows import Dataset, Windows
from swmjax.data.worlds import SpaceInfo, VariationInfo, WorldInfo, list_worlds, world_info

__all__ = [
    "EPISODE_DATA",
    "FORMATS",
    "MODES",
    "Clips",
    "Column",
    "ColumnTransform",
    "Compose",
    "Copied",
    "ConcatDataset",
    "Dataset",
    "EpisodeSubset",
    "Format",
    "GoalDataset",
    "IdentityScaler",
    "LanceReader",
    "LanceWriter",
    "Loader",
    "MergeDataset",
    "Mode",
    "PercentileScaler",
    "Reader",
    "ReplayBuffer",
    "Snapshot",
    "SpaceInfo",
    "StepsDataset",
    "VariationInfo",
    "Windows",
    "WorldInfo",
    "Writer",
    "ZScoreScaler",
    "classic_filter",
    "column_normalizer",
    "convert",
    "dataset_info",
    "decode_jpeg",
    "decoded",
    "delete_dataset",
    "detect_format",
    "encode_jpeg",
    "ensure_dir_exists",
    "flatten_dict",
    "format_of",
    "get_cache_dir",
    "get_format",
    "get_in",
    "get_scaler",
    "is_image",
    "list_datasets",
    "list_formats",
    "list_worlds",
    "merge",
    "load_dataset",
    "open_dataset",
    "register_format",
    "split_episodes",
    "world_info",
]
