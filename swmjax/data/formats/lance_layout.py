"""The reference's Lance layout: one row a step, images as JPEG, numbers as vectors, text as text.

Beside a table `<name>.lance` may lie `<name>_episodes.lance`, with one row an episode. Two tables cannot be committed
at once; so the rows of episodes are committed first, and a reader takes those that belong to the steps it sees: as many
as there are episodes, of the newest version that bears the same mark as the steps do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Integer

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.formats.base import EPISODE, ID, SEED, STEP
from swmjax.data.formats.episodes import is_images, is_text
from swmjax.data.remote import is_address, lance_options

RECORD = b"swmjax.record"
"""Where the metadata of a schema say how the last episodes are made."""
MARK = b"swmjax.episodes"
"""Where the metadata of both tables say that they belong together; neither does, in what the reference writes."""
NO_EPISODES = b"none"
"""The mark of a table that replaced one with data of whole episodes, and has none."""
SUFFIX = ".lance"
KINDS = ("episodes", "videos")
"""What is kept in tables beside that of steps, `<name>_<kind>.lance`."""


def import_lance() -> Any:
    """The package, with all that is used of it."""
    with needs_extra("datasets need", "data"):
        import lance
        import lance.fragment
    return lance


def is_dataset(path: Path) -> bool:
    """Whether there is a Lance dataset, of whatever columns."""
    return (path / "_versions").is_dir()


def beside(path: str | Path, kind: str) -> str:
    """The table of another kind that belongs to one: `<name>_<kind>.lance`."""
    return f"{str(path).rstrip('/')[: -len(SUFFIX)]}_{kind}{SUFFIX}"


def side_table(path: Path) -> Path:
    """Where the reference keeps what belongs to whole episodes."""
    return Path(beside(path, "episodes"))


def table_of(path: str | Path, name: str | None = None) -> str:
    """The table of steps that a path means.

    Args:
        path: The table, or the folder that holds it.
        name: Of the table in the folder.

    Raises:
        UserError: The folder holds none, or several.
    """
    text = str(path).rstrip("/")
    if name is not None:
        return f"{text}/{name}{SUFFIX}"
    if text.lower().endswith(SUFFIX):
        return text
    tables = tables_in(path)
    if len(tables) != 1:
        found = f"several of them: {', '.join(each.name for each in tables)}" if tables else "none"
        raise UserError(f"{path}: a Lance dataset ends in {SUFFIX} or is a folder that holds one; it holds {found}")
    return str(tables[0])


def tables_in(path: str | Path) -> list[Path]:
    """Tables of steps in a folder."""
    if is_address(path) or not Path(path).is_dir():
        return []
    found = sorted(each for each in Path(path).iterdir() if each.suffix == SUFFIX and not each.name.startswith("."))
    return [each for each in found if not each.stem.endswith(tuple(f"_{kind}" for kind in KINDS))]


def parts_of(path: Path) -> list[Path]:
    """A table of steps and those beside it, as far as they are there; or a folder of them."""
    named = path.suffix.lower() == SUFFIX
    return [each for each in (path, *(Path(beside(path, kind)) for kind in KINDS if named)) if each.exists()]


def opened(path: str | Path, version: int | None = None, storage_options: Mapping[str, str] | None = None) -> Any:
    """A Lance dataset.

    Args:
        path: The dataset, a path or an address.
        version: Of the dataset; the newest if None.
        storage_options: How an address is reached; the environment says the rest, see `lance_options`.

    Raises:
        UserError: It cannot be read.
        MissingExtraError: pylance is not installed.
    """
    options = lance_options(str(path), storage_options) if is_address(path) else storage_options
    try:
        return import_lance().dataset(str(path), version=version, storage_options=options)
    except UserError:
        raise
    except Exception as error:  # Lance raises whatever a damaged file leads it to
        raise unreadable(path, error) from error


def unreadable(path: str | Path, error: Exception) -> UserError:
    """What to raise for what Lance says of a damaged file."""
    return UserError(f"{path}: cannot be read, {' '.join(str(error).split())[:200]}")


def mark_of(dataset: Any) -> bytes | None:
    """What tells which data of whole episodes belong to steps."""
    return (dataset.schema.metadata or {}).get(MARK)


def numbers_of_episodes(dataset: Any, path: str | Path) -> Integer[np.ndarray, " R"]:
    """The episode of each row, checked.

    Raises:
        UserError: Rows of an episode do not follow one another.
    """
    try:
        numbers = dataset.to_table(columns=[EPISODE]).column(EPISODE).to_numpy()
    except Exception as error:
        raise unreadable(path, error) from error
    if (np.diff(numbers) < 0).any():
        raise UserError(f"{path}: the rows of an episode do not follow one another, {EPISODE} decreases; write it anew")
    return numbers


def disk_name(name: str) -> str:
    """The name of a column on disk, where dots would name parts of it."""
    return name.replace(".", "_")


def schema_of(columns: Mapping[str, Any]) -> pa.Schema:
    """The schema of the table of steps with these columns."""
    fields = [pa.field(EPISODE, pa.int32()), pa.field(STEP, pa.int32())]
    return pa.schema(fields + [pa.field(name, arrow_type(name, column)) for name, column in columns.items()])


def arrow_type(name: str, column: Any) -> pa.DataType:
    """The type of an array, or `Jpegs`: that of the reference, but for whole numbers that float32 would round."""
    if is_images(column):
        return pa.binary()
    if is_text(column):
        return pa.string()
    whole = column.dtype.kind in "iu" and np.can_cast(column.dtype, np.int64)
    exact = whole and (name in (ID, SEED) or not np.can_cast(column.dtype, np.int32))
    if exact and column.ndim == 1:
        return pa.int64()
    return pa.list_(pa.int64() if exact else pa.float32(), int(np.prod(column.shape[1:])))


def takes(kind: pa.DataType, name: str, column: Any) -> bool:
    """Whether a column of a type can hold more of another; the reference, and earlier releases, round whole numbers."""
    if is_images(column) or column.dtype.kind not in "iu" or not np.can_cast(column.dtype, np.int64):
        return kind == arrow_type(name, column)
    return kind in (arrow_type(name, column[:0].astype(each)) for each in (column.dtype, np.float32, np.int64))


def is_usual(kind: pa.DataType) -> bool:
    """Whether `arrow_type` may give a type."""
    numbers = (pa.float32(), pa.int64())
    listed = pa.types.is_fixed_size_list(kind) and kind.value_type in numbers
    return pa.types.is_binary(kind) or pa.types.is_string(kind) or kind == pa.int64() or listed
