"""Settings of runs: from a YAML file, options and assignments to a frozen dataclass, and back."""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from omegaconf import OmegaConf

from envs_mjx import plugins
from envs_mjx.checks import UserError, check_name

S = TypeVar("S", bound="Settings")
FORMAT = 2
"""Version of the settings in a file; a release reads this one and all before it. A file without one is of format 1, or
written by hand."""


def warn(text: str) -> None:
    """Tell a user of the library something about the settings."""
    warnings.warn(text, FutureWarning, stacklevel=2)


class Settings:
    """Base of settings; a subclass is a frozen dataclass that checks itself.

    A field whose default factory is a dataclass is a group of settings.
    """

    choice: ClassVar[str]
    """Dotted name of the setting that chooses what the others of its group are options of."""
    example: ClassVar[str]
    """An assignment that would be right, for messages."""
    named: ClassVar[tuple[str, ...]] = ()
    """Dotted names of the settings that may read `module:Name`; one that stands in a file imports nothing."""
    old_names: ClassVar[Mapping[str, str]] = {}
    """Names that settings had in earlier releases, and today's."""

    @property
    def run_name(self) -> str:
        """What a run folder of these settings is called."""
        raise NotImplementedError

    def from_anywhere(self: S) -> S:
        """The same settings for any current folder: paths that are relative to today's become absolute."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain settings, as `from_dict` takes them."""
        return {"format": FORMAT} | dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls: type[S], settings: Mapping[str, Any], note: Callable[[str], None] = warn) -> S:
        """Settings as they come out of a YAML file.

        Args:
            settings: Values by name.
            note: Told of names that settings had in earlier releases.

        Raises:
            UserError: An unknown setting, a missing one, a value out of range, a newer format, or a name of the file
                whose module has not been imported.
        """
        values = _updated(settings, cls.old_names, note)
        _refuse_interpolations(values)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        known = [field.name for field in fields]
        for name in values:
            check_name("setting", name, known)
        for name in cls.named:
            plugins.refuse_unimported(name, _at(values, name))
        for field in fields:
            group = field.default_factory
            if field.name in values and dataclasses.is_dataclass(group):
                values[field.name] = _group(field.name, group, values[field.name])
            required = field.default is group is dataclasses.MISSING
            if required and field.name not in values:
                raise UserError(f"setting {field.name!r} is missing")
        return cls(**values)

    @classmethod
    def load(
        cls: type[S],
        path: Path,
        options: Mapping[str, Any],
        assignments: Sequence[str] = (),
        note: Callable[[str], None] = warn,
    ) -> S:
        """Settings from a file, changed by options, changed by assignments.

        Args:
            path: YAML file.
            options: Values by dotted name; None leaves the file's.
            assignments: Texts such as `seed=3`, values in YAML. Here as there another `choice` drops the options of the
                one before.
            note: Told of names that settings had in earlier releases.

        Raises:
            UserError: An unknown setting, a missing one, a value out of range, a newer format, or a name of the file
                whose module has not been imported.
        """
        settings = _updated(read_settings(path), cls.old_names, note)
        given = [(name, value) for name, value in options.items() if value is not None]
        chosen: dict[str, Any] = {}
        for name, value in given + read_assignments(assignments, cls.example):
            today = _todays(name, cls.old_names, note)
            assign(settings, today, value, cls.choice)
            assign(chosen, today, value, cls.choice)
        for name in cls.named:
            plugins.import_module_of(name, _at(chosen, name))
        return cls.from_dict(settings, note)


def _at(settings: Any, name: str) -> Any:
    """The value of a dotted name; None where there is none."""
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _updated(settings: Mapping[str, Any], old_names: Mapping[str, str], note: Callable[[str], None]) -> dict[str, Any]:
    """Settings under the names that they have today, without the format."""
    values = dict(settings)
    version = values.pop("format", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UserError(f"format must be an integer from 1 to {FORMAT}, got {version!r}")
    if version > FORMAT:
        raise UserError(f"the settings have the format {version}, this release reads formats up to {FORMAT}; update it")
    updated: dict[str, Any] = {}
    for name, value in values.items():
        today = _todays(name, old_names, note)
        if today in updated or (today != name and today in values):
            raise UserError(f"setting {name!r} is called {today!r} now; give only that")
        updated[today] = value
    return updated


def _refuse_interpolations(value: Any, name: str = "") -> None:
    """OmegaConf's `${...}` may read files and the environment; it is never evaluated, so it stands for nothing here."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _refuse_interpolations(entry, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for entry in value:
            _refuse_interpolations(entry, name)
    elif isinstance(value, str) and "${" in value:
        raise UserError(f"setting {name!r} is {value!r}, an interpolation, which is never evaluated; write the value")


def _todays(name: str, old_names: Mapping[str, str], note: Callable[[str], None]) -> str:
    if name not in old_names:
        return name
    note(f"setting {name!r} is called {old_names[name]!r} now")
    return old_names[name]


def _group(name: str, kind: Any, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{name} must be a mapping, got {values!r}")
    known = [f"{name}.{field.name}" for field in dataclasses.fields(kind)]
    for entry in values:
        check_name("setting", f"{name}.{entry}", known)
    return kind(**values)


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is not YAML, or holds something else than a mapping.
    """
    try:
        settings = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # the YAML scanner, the file system and OmegaConf each raise their own kind
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected a mapping of settings")
    return {str(key): value for key, value in settings.items()}


def read_assignments(texts: Sequence[str], example: str, option: str = "--set") -> list[tuple[str, Any]]:
    """Names and values of texts such as `solver.num_samples=1000`, values in YAML.

    Args:
        texts: what was given with an option.
        example: one that would be right, for the message.
        option: the option.

    Raises:
        UserError: a text does not read NAME=VALUE, or its value is no YAML.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise UserError(f"{option} {text!r} must read NAME=VALUE, for example {example}")
        try:
            parsed = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
        except Exception as error:  # the YAML scanner and OmegaConf each raise their own kind
            raise UserError(f"{option} {text!r}: {value!r} is not a value in YAML") from error
        pairs.append((name, parsed["value"]))  # type: ignore[call-overload,index]
    return pairs


def assign(settings: dict[str, Any], name: str, value: Any, chooser: str | None = None) -> None:
    """Set a dotted name in nested settings.

    Args:
        settings: the settings, changed in place; groups inside are copied.
        name: dotted name.
        value: value.
        chooser: a name such as `solver.name`, whose group holds the options of one choice: another choice drops them.

    Raises:
        UserError: the name leads through a setting that is no group.
    """
    *groups, last = name.split(".")
    if name == chooser:
        group = settings.get(groups[0])
        if isinstance(group, dict) and group.get(last) != value:
            settings[groups[0]] = {}
    for part in groups:
        inner = settings.get(part) or {}
        if not isinstance(inner, dict):
            raise UserError(f"{name}: {part!r} is no group of settings")
        settings[part] = settings = dict(inner)
    settings[last] = value
