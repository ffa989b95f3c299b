"""Groups of rows that become part of a Lance dataset, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from swmjax.data.formats.lance_layout import import_lance
from swmjax.runs.files import hidden


def create(path: Path, schema: pa.Schema, group: pa.Table) -> Any:
    """A new dataset that holds a group; it appears when it is whole. What is there already gives way to it."""
    aside = hidden(path)
    shutil.rmtree(aside, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    _overwrite(aside, schema, group, "create")
    shutil.rmtree(path, ignore_errors=True)
    os.rename(aside, path)
    return import_lance().dataset(str(path))


def replace(path: Path, schema: pa.Schema, group: pa.Table) -> Any:
    """A version of a dataset that holds a group and nothing else."""
    return _overwrite(path, schema, group, "overwrite")


def append(dataset: Any, group: pa.Table) -> Any:
    """A version of a dataset that holds a group behind what it held."""
    lance = import_lance()
    operation = lance.LanceOperation.Append(_fragments(Path(dataset.uri), group, "append"))
    return lance.LanceDataset.commit(dataset.uri, operation, read_version=dataset.version)


def _overwrite(path: Path, schema: pa.Schema, group: pa.Table, mode: str) -> Any:
    lance = import_lance()
    operation = lance.LanceOperation.Overwrite(schema, _fragments(path, group, mode))
    return lance.LanceDataset.commit(str(path), operation)


def _fragments(path: Path, group: pa.Table, mode: str) -> list[Any]:
    rows = group.combine_chunks().to_reader()
    return import_lance().fragment.write_fragments(rows, str(path), schema=group.schema, mode=mode)


def remove_uncommitted(path: Path) -> None:
    """Remove files that no version of a dataset refers to: a process died, or failed, before it committed them.

    Only where no other process can be about to commit them.
    """
    lance = import_lance()
    data, newest = path / "data", lance.dataset(str(path))
    found = {entry.name for entry in data.iterdir() if ".lance" in entry.name} if data.is_dir() else set()
    found -= _files(newest)
    for version in newest.versions() if found else ():
        found -= _files(lance.dataset(str(path), version=version["version"]))
    for name in found:
        (data / name).unlink()


def _files(dataset: Any) -> set[str]:
    return {file.path for fragment in dataset.get_fragments() for file in fragment.data_files()}
