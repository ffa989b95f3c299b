"""Datasets of episodes."""

from swmjax.data.formats import FORMATS, MODES, Format, LanceWriter, Mode, Writer, format_of
from swmjax.data.jpeg import decode_jpeg, encode_jpeg

__all__ = ["FORMATS", "MODES", "Format", "LanceWriter", "Mode", "Writer", "decode_jpeg", "encode_jpeg", "format_of"]
