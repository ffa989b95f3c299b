"""Datasets of episodes."""

from swmjax.data.jpeg import decode_jpeg, encode_jpeg
from swmjax.data.lance import MODES, LanceWriter, Mode

__all__ = ["LanceWriter", "MODES", "Mode", "decode_jpeg", "encode_jpeg"]
