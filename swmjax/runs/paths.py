"""Where presets lie, in a checkout as in an installed wheel; and where datasets and checkpoints are kept."""

import os
from pathlib import Path

from envs_mjx.checks import UserError


def home(cache_dir: str | Path | None = None) -> Path:
    """The folder of datasets, checkpoints and what else is kept.

    Args:
        cache_dir: Takes its place.

    Returns:
        `$STABLEWM_HOME`, or `~/.stable_worldmodel`; it may not exist.
    """
    given = cache_dir if cache_dir is not None else os.environ.get("STABLEWM_HOME") or "~/.stable_worldmodel"
    return Path(given).expanduser()


def configs_dir() -> Path:
    """The folder of YAML presets that are shipped with swmjax.

    Returns:
        `configs/` of the checkout for an editable install, the copy inside the package for a wheel.
    """
    package = Path(__file__).resolve().parents[1]
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def config_path(name: str | Path) -> Path:
    """Find a YAML file given on the command line.

    Args:
        name: a path, or the name of a shipped preset such as `eval/pusht.yaml` or `configs/eval/pusht.yaml`.

    Returns:
        An existing file; a path of the user's wins over a preset of the same name.

    Raises:
        UserError: there is no such file; the message lists the presets.
    """
    path = Path(name).expanduser()
    candidates = [path]
    if not path.is_absolute():
        inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
        candidates.append(configs_dir() / inside)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    presets = sorted(str(preset.relative_to(configs_dir())) for preset in configs_dir().rglob("*.yaml"))
    raise UserError(f"no config file {str(name)!r}; shipped presets: {', '.join(presets) or 'none'}")
