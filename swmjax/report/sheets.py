"""Contact sheets: some frames of some episodes of a dataset, small, on one picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from jaxtyping import UInt8

from envs_mjx.checks import UserError
from swmjax.data import Reader
from swmjax.runs.files import replacing

_SIZE, _GAP, _BACKGROUND = 96, 4, 250


def image_columns(reader: Reader) -> list[str]:
    """Names of the columns of images.

    Raises:
        UserError: There is none.
    """
    names = [name for name, column in reader.columns.items() if column.kind == "image"]
    if not names or not reader.rows:
        raise UserError(f"{reader.path}: has no frames; its columns are {', '.join(reader.columns)}")
    return names


def contact_sheet(reader: Reader, column: str, episodes: int = 6, frames: int = 8) -> UInt8[np.ndarray, "H W 3"]:
    """Frames of a dataset: a line for each of some episodes, from the first frame on the left to the last.

    Args:
        reader: The dataset.
        column: Of images.
        episodes: Lines, at most.
        frames: Frames of an episode, at most.
    """
    chosen = np.unique(np.linspace(0, len(reader.lengths) - 1, episodes).astype(int))
    lines = []
    for number in chosen:
        steps = np.linspace(0, reader.lengths[number] - 1, frames).astype(int)
        small = thumbnails(reader.read([column], reader.offsets[number] + np.unique(steps))[column])
        line = np.full((frames, *small.shape[1:]), _BACKGROUND, np.uint8)
        line[: len(small)] = small
        lines.append(np.concatenate(list(np.pad(line, [(0, 0), (_GAP, 0), (_GAP, 0), (0, 0)], **_PAD)), axis=1))
    return np.pad(np.concatenate(lines), [(0, _GAP), (0, _GAP), (0, 0)], **_PAD)


_PAD: dict = {"mode": "constant", "constant_values": _BACKGROUND}


def thumbnails(frames: UInt8[np.ndarray, "T H W C"]) -> UInt8[np.ndarray, "T h w 3"]:
    """Frames, made smaller by a whole factor where they are large."""
    factor = max(1, -(-max(frames.shape[1:3]) // _SIZE))
    height, width = (side // factor * factor for side in frames.shape[1:3])
    blocks = frames[:, :height, :width].reshape(len(frames), height // factor, factor, width // factor, factor, -1)
    small = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return np.repeat(small, 3, axis=-1) if small.shape[-1] == 1 else small


def write_sheet(reader: Reader, path: Path) -> None:
    """Write a contact sheet of all columns of images, one under the other, as a PNG file.

    Raises:
        UserError: The dataset has no frames.
        OSError: As the file system says it.
    """
    sheets = [contact_sheet(reader, name) for name in image_columns(reader)]
    width = max(sheet.shape[1] for sheet in sheets)
    wide = [np.pad(sheet, [(0, 0), (0, width - sheet.shape[1]), (0, 0)], **_PAD) for sheet in sheets]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        iio.imwrite(temporary, np.concatenate(wide), plugin="pillow", extension=".png")
