"""Datasets of episodes."""

from swmjax.data.formats import FORMATS, MODES, Format, LanceWriter, Mode, Writer, format_of
from swmjax.data.jpeg import decode_jpeg, encode_jpeg
from swmjax.data.windows import Dataset, Windows

__all__ = [
    "FORMATS",
    "MODES",
    "Dataset",
    "Format",
    "LanceWriter",
    "Mode",
    "Windows",
    "Writer",
    "decode_jpeg",
    "encode_jpeg",
    "format_of",
]
