"""Settings in YAML files and on the command line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from envs_mjx.checks import UserError


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


def read_assignments(texts: Sequence[str], example: str) -> list[tuple[str, Any]]:
    """Names and values of texts such as `solver.num_samples=1000`, values in YAML.

    Args:
        texts: what was given with `--set`.
        example: one that would be right, for the message.

    Raises:
        UserError: a text does not read NAME=VALUE, or its value is no YAML.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise UserError(f"--set {text!r} must read NAME=VALUE, for example {example}")
        try:
            parsed = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
        except Exception as error:  # the YAML scanner and OmegaConf each raise their own kind
            raise UserError(f"--set {text!r}: {value!r} is not a value in YAML") from error
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
