"""Datasets in other formats, and several as one; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs_mjx.checks import UserError, check_choice
from swmjax.data.formats import MODES, Format, Mode, Writer, detect_format, get_format
from swmjax.data.load import located
from swmjax.data.names import is_address
from swmjax.data.sources import Sources
from swmjax.data.verifying import verify
from swmjax.runs.files import check_writable, exchange, holding, identity, replacing
from swmjax.runs.interrupts import Stopped, asked_to_stop
from swmjax.runs.plain import plain
from swmjax.runs.telling import Note, Progress, silent

_SETTINGS, _VERIFIED = "copy.json", "verified"


@dataclass(frozen=True)
class Copied:
    """What was written.

    Attributes:
        path: The dataset.
        format: Its format.
        episodes: Episodes that were copied.
        rows: Their rows.
        digest: Of their lengths, numbers and texts as they are stored, SHA-256.
    """

    path: Path
    format: str
    episodes: int
    rows: int
    digest: str


def convert(
    source: str | Path,
    dest: str | Path,
    *,
    source_format: str | None = None,
    dest_format: str = "lance",
    cache_dir: str | Path | None = None,
    mode: Mode = "error",
    source_options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    note: Note = silent,
    **dest_options: Any,
) -> Copied:
    """Write the episodes of a dataset in another format.

    They are streamed, then compared with what was written, and only then does the dataset appear, or take the place of
    another; a call that was stopped, or killed, goes on where it was when it is repeated. JPEG files are copied as they
    are between formats that have them.

    Args:
        source: As for `load_dataset`.
        dest: The new dataset; what its format has names end in is added.
        source_format: Of the source; what it looks like if None.
        dest_format: Of the new dataset.
        cache_dir: Takes the place of `$STABLEWM_HOME`, where the source is looked for.
        mode: What to do where there is a dataset: `error`, `overwrite`, or `append`, which adds group by group.
        source_options: Of the source's reader.
        progress: Told the stage and the episodes done.
        note: Told what the user should read at once.
        **dest_options: Of the format's writer.

    Returns:
        What was written.

    Raises:
        Stopped: The user stopped it; the same call goes on.
        UserError: There is no such source, or it is damaged; the format does not take its columns.
        FileExistsError: There is something already, and the mode is `error`; or it is no dataset.
        MissingExtraError: A package is not installed.
        OSError: As the file system says it; the same call goes on.

    Source: reference, `data/utils.py`.
    """
    return _copy(
        [source],
        dest,
        [source_format],
        dest_format,
        cache_dir,
        mode,
        source_options or {},
        progress,
        note,
        dest_options,
    )


def merge(
    sources: Sequence[str | Path],
    dest: str | Path,
    *,
    dest_format: str = "lance",
    source_formats: Sequence[str | None] | None = None,
    mode: Mode = "error",
    cache_dir: str | Path | None = None,
    progress: Progress = silent,
    note: Note = silent,
    **dest_options: Any,
) -> Copied:
    """Write the episodes of several datasets as one, numbered in the order of the datasets.

    Args:
        sources: At least two datasets of the same columns, as for `load_dataset`.
        dest: The new dataset.
        dest_format: Of the new dataset.
        source_formats: Of each source; what they look like if None.
        mode: What to do where there is a dataset.
        cache_dir: Takes the place of `$STABLEWM_HOME`, where sources are looked for.
        progress: Told the stage and the episodes done.
        note: Told what the user should read at once.
        **dest_options: Of the format's writer.

    Returns:
        What was written.

    Raises:
        UserError: There are fewer than two sources, or their columns differ; and as `convert`, as do all others.
    """
    if len(sources) < 2:
        raise UserError(f"at least two datasets are merged, got {len(sources)}")
    formats = [None] * len(sources) if source_formats is None else list(source_formats)
    if len(formats) != len(sources):
        raise UserError(f"source_formats has {len(formats)} names, for {len(sources)} datasets")
    return _copy(list(sources), dest, formats, dest_format, cache_dir, mode, {}, progress, note, dest_options)


def dataset_path(path: str | Path, kind: type[Format]) -> Path:
    """The path of a dataset of a format: what its names end in is added where it lacks."""
    if is_address(path):
        raise UserError(f"{path}: datasets are written to this machine")
    path = Path(path).expanduser()
    return path if not kind.suffix or kind.detect(path) else path.with_name(path.name + kind.suffix)


def _copy(
    names: Sequence[str | Path],
    dest: str | Path,
    formats: Sequence[str | None],
    dest_format: str,
    cache_dir: str | Path | None,
    mode: Mode,
    source_options: Mapping[str, Any],
    progress: Progress,
    note: Note,
    dest_options: Mapping[str, Any],
) -> Copied:
    check_choice("mode", mode, MODES, show=str)
    kind = get_format(dest_format)
    path = dataset_path(dest, kind)
    found = [located(name, cache_dir, each) for name, each in zip(names, formats, strict=True)]
    if any(not is_address(source) and Path(source).resolve() == path.resolve() for _, source in found):
        raise UserError(f"{path}: is a source itself; write to another path")
    there = path.exists()
    if there and mode == "error" and not (_work(path) / _VERIFIED).exists():
        raise _in_the_way(path)
    if there and detect_format(path) is None:
        raise FileExistsError(f"{path} is no dataset; it is not touched")
    sources = Sources([form.reader(source, **source_options) for form, source in found])
    if sources.values and not kind.supports_episode_data:
        note(f"the format {kind.name} holds no values of whole episodes, so {', '.join(sources.values)} are left out")
    settings = {
        "sources": [str(source) for _, source in found],
        "content": sources.fingerprint(),
        "format": kind.name,
        "options": plain(dict(dest_options), "options"),
    }
    copy = _Copy(sources, kind, dict(dest_options), settings, progress)
    return copy.appended(path) if there and mode == "append" else copy.anew(path, mode == "overwrite")


def _work(path: Path) -> Path:
    """Where a dataset is made that appears when it is whole."""
    return path.with_name(f".{path.name}.part")


def _in_the_way(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists; append to it or overwrite it, or take another name")


@dataclass(frozen=True)
class _Copy:
    """A copy to be made, or finished."""

    sources: Sources
    kind: type[Format]
    options: dict[str, Any]
    settings: dict[str, Any]
    progress: Progress

    def anew(self, path: Path, replaces: bool) -> Copied:
        """A dataset that appears, or replaces another, when it is whole.

        It is made in a hidden folder beside it, under its own name, since names of tables are part of some formats.
        """
        work = _work(path)
        inside = work / path.name
        check_writable(path.parent)
        work.mkdir(parents=True, exist_ok=True)
        with holding(work):
            self._begin(work)
            verified = work / _VERIFIED
            try:
                if not verified.exists():
                    if path.exists() and not replaces:
                        raise _in_the_way(path)
                    writer = self.kind.writer(inside, "append" if inside.exists() else "error", **self.options)
                    self._write(writer, 0)
                    digest = self._verify(inside, 0)
                    whole = {part.name: identity(part) for part in self.kind.parts(inside)[::-1]}
                    with replacing(verified) as temporary:
                        temporary.write_text(json.dumps({"digest": digest, "parts": whole}), encoding="utf-8")
                made = json.loads(verified.read_text(encoding="utf-8"))
                digest = made["digest"]
                if path.exists() and not replaces and identity(path) != tuple(made["parts"][path.name]):
                    raise _in_the_way(path)
                _place(made["parts"], inside, path)
            except (UserError, FileExistsError):
                shutil.rmtree(work, ignore_errors=True)  # it would end there every time
                raise
            shutil.rmtree(work, ignore_errors=True)
        return self._copied(path, digest)

    def _begin(self, work: Path) -> None:
        """Have a folder hold this copy, and not what is left of another."""
        try:
            known = json.loads((work / _SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = None
        if known == self.settings:
            return
        for entry in list(work.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        with replacing(work / _SETTINGS) as temporary:
            temporary.write_text(json.dumps(self.settings), encoding="utf-8")

    def appended(self, path: Path) -> Copied:
        """Episodes behind those of a dataset, which remembers the copy until it is done."""
        left = self.kind.record(path) or {}
        writer = self.kind.writer(path, "append", **self.options)
        first = int(left.get("first_episode", -1)) if left.get("copy") == self.settings else -1
        if first < 0 or not 0 <= writer.episodes - first < len(self.sources):
            first = writer.episodes
            writer.remember({"copy": self.settings, "first_episode": first})
        self._write(writer, first)
        return self._copied(path, self._verify(path, first))

    def _write(self, writer: Writer, first: int) -> None:
        done = writer.episodes - first
        try:
            with asked_to_stop(lambda: self.progress("stopping", done)) as stop, writer:
                self.progress("copying", done)
                while done < len(self.sources) and not stop.asked:
                    writer.write_episode(self.sources.episode(done, self.kind.supports_episode_data))
                    done += 1
                    self.progress("copying", done)
        except OSError as error:
            if error.errno is None:
                raise
            kept = (
                f"{error.strerror}; {writer.committed - first} of {len(self.sources)} episodes are kept, and the same "
            )
            raise OSError(error.errno, kept + "call goes on", error.filename) from error
        if done < len(self.sources):
            raise Stopped(done)

    def _verify(self, path: Path, first: int) -> str:
        return verify(self.kind.reader(path), self.sources, first, self.kind.lossless, self.progress)

    def _copied(self, path: Path, digest: str) -> Copied:
        return Copied(path, self.kind.name, len(self.sources), int(self.sources.lengths.sum()), digest)


def _place(parts: Mapping[str, Sequence[int]], inside: Path, path: Path) -> None:
    """Move a dataset out of its folder; a process that dies on the way is finished by the next one.

    Args:
        parts: Names of what belongs to it, the dataset itself last, each with what tells it from others.
        inside: Where it was made.
        path: Where it goes.
    """
    old = detect_format(path) if path.exists() else None
    for part in old.parts(path) if old is not None else ():
        if part.name not in parts:
            # What belonged to the old one must not be taken for a part of the new one.
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    for name, known in parts.items():
        new, target = inside.with_name(name), path.with_name(name)
        if target.exists() and identity(target) == tuple(known):
            continue
        if target.is_dir() and new.is_dir():
            exchange(new, target)
            continue
        if target.is_dir() != new.is_dir() and target.exists():
            os.rename(target, inside.with_name(f"{name}.old"))
        os.replace(new, target)
