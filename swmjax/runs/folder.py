"""The folder of one run: how it is named, and the files in it."""

import dataclasses
import datetime
import errno
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from envs_mjx.checks import UserError
from swmjax.runs.files import check_writable, read, remove_leftovers, replacing
from swmjax.runs.plain import one_line, plain

CONFIG = "config.yaml"
RESULTS = "results.json"


def create_run_folder(root: Path, name: str, now: datetime.datetime | None = None) -> Path:
    """Make a new folder `root/<YYYYmmdd-HHMMSS>-<slug>`.

    Args:
        root: folder of all runs; made if it is missing.
        name: what the run is about; anything but letters, digits, dots and underscores becomes a dash.
        now: time in the name; the clock's if left out.

    Returns:
        The folder, empty and never one that existed before: runs of the same second get -2, -3, ...

    Raises:
        OSError: if the folder cannot be made.
    """
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")[:80] or "run"
    stem = f"{now or datetime.datetime.now():%Y%m%d-%H%M%S}-{slug}"
    check_writable(root)
    root.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        folder = root / (stem if count == 1 else f"{stem}-{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # mkdir itself decides, so that two runs started together never share a folder
        return folder
    raise AssertionError("unreachable")


def explicit_run_folder(path: Path) -> Path:
    """Make the folder that the user asked for, or take it if it is empty.

    Args:
        path: folder of the run; parents are made.

    Returns:
        The same path, now an empty folder.

    Raises:
        FileExistsError: if it is a file, or a folder with something in it.
        OSError: if the folder cannot be made.
    """
    check_run_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_run_folder(path: Path) -> None:
    """Raise where `explicit_run_folder` would; nothing is made.

    Args:
        path: folder of the run.

    Raises:
        FileExistsError: if it is a file, or a folder with something in it.
        OSError: if the folder cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; give --output a new or an empty folder")
    check_writable(path)
    remove_leftovers(path / CONFIG)
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty; give --output a new or an empty folder, or move the old one away")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of one run, in an existing folder; each write replaces the whole file at once."""

    path: Path

    def check_writable(self) -> None:
        """Raise unless files can be written to the folder, as a run should know before it computes anything.

        Raises:
            OSError: there is no such folder, or the file system takes nothing; names the folder.
        """
        if not self.path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        check_writable(self.path)

    def write_config(self, config: Mapping[str, Any], remarks: Sequence[str] = ()) -> None:
        """Write `config.yaml`, everything needed to run again, in the order given.

        Args:
            config: nested settings; NumPy and JAX values, tuples and paths are written as plain ones.
            remarks: what the settings came to on this machine; comments above them.

        Raises:
            UserError: if YAML has no form for a value; the message names it.
            OSError: if the file cannot be written.
        """
        settings = plain(config, "config")
        try:
            text = OmegaConf.to_yaml(OmegaConf.create(settings))
        except Exception as error:  # the interpolation grammar and the container each raise their own kind
            raise UserError(f"config cannot be written: {one_line(error)}") from error
        self._write_text(CONFIG, "".join(f"# {one_line(remark)}\n" for remark in remarks) + text)

    def read_config(self) -> dict[str, Any]:
        """Settings of `config.yaml`; ValueError if it is missing or damaged."""
        path, expected = self.path / CONFIG, "the YAML mapping of settings that a run writes"
        text = read(path, expected)
        config: Any = None
        try:
            if b":" in text:  # OmegaConf reads a lone word as a mapping of it to nothing
                config = OmegaConf.to_container(OmegaConf.create(text.decode("utf-8")))
        except Exception as error:  # YAML, the interpolation grammar and the container each raise their own kind
            raise UserError(f"{path}: {one_line(error)}; expected {expected}") from error
        if not config or not isinstance(config, dict):
            raise UserError(f"{path}: no settings in it; expected {expected}")
        return config

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write `results.json`.

        Args:
            results: nested figures; numbers that are not finite become null, which every JSON reader accepts.

        Raises:
            UserError: if JSON has no form for a value; the message names it.
            OSError: if the file cannot be written.
        """
        figures = plain(results, "results", finite=True)
        self._write_text(RESULTS, json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_results(self) -> dict[str, Any]:
        """Figures of `results.json`; UserError if it is missing or damaged."""
        path, expected = self.path / RESULTS, "the JSON object of figures that a run writes when it ends"
        try:
            results = json.loads(read(path, expected))
        except (ValueError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path}: {one_line(error)}; expected {expected}") from error
        if not isinstance(results, dict):
            raise UserError(f"{path}: holds a {type(results).__name__}; expected {expected}")
        return results

    @property
    def complete(self) -> bool:
        """Whether the results say that the run ended; False where there are none, or none that can be read."""
        try:
            return self.read_results().get("complete") is True
        except (OSError, UserError):
            return False

    def _write_text(self, name: str, text: str) -> None:
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
