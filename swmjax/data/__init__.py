"""Datasets of episodes."""

from swmjax.data.formats import FORMATS, MODES, Format, LanceWriter, Mode, Writer, format_of
from swmjax.data.jpeg import decode_jpeg, encode_jpeg
from swmjax.data.replay import ReplayBuffer, classic_filter
from swmjax.data.windows import Dataset, Windows

__all__ = [
    "FORMATS",
    "MODES",
    "Dataset",
    "Format",
    "LanceWriter",
    "Mode",
    "ReplayBuffer",
    "Windows",
    "Writer",
    "classic_filter",
    "decode_jpeg",
    "encode_jpeg",
    "format_of",
]
