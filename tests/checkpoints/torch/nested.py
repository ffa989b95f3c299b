"""Archives as training loops save them, written without torch."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swmjax.checkpoints.torch import writer


def write_nested(path: Path, content: Mapping[str, Any]) -> None:
    """Write what `torch.save` would: dicts, lists, arrays as tensors, whole numbers and texts."""
    arrays: list[np.ndarray] = []

    def pickled(value: Any) -> bytes:
        match value:
            case np.ndarray():
                arrays.append(value)
                return writer._tensor(len(arrays) - 1, value)
            case dict():
                return b"}(" + b"".join(pickled(part) for item in value.items() for part in item) + b"u"
            case list():
                return b"](" + b"".join(map(pickled, value)) + b"e"
            case str():
                return writer._text(value)
        return writer._integer(value)

    members = {"data.pkl": b"\x80\x02" + pickled(dict(content)) + b".", "byteorder": b"little"}
    members |= {f"data/{i}": array.tobytes() for i, array in enumerate(arrays)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"weights/{name}", data)
