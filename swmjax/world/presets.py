"""From a preset, options and assignments to the settings of an evaluation."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gymnasium.spaces import Discrete, MultiDiscrete

import envs_mjx
from envs_mjx.checks import UserError, check_mapping
from swmjax.runs.paths import config_path, configs_dir
from swmjax.runs.settings import assign, read_assignments, read_settings, warn
from swmjax.world.config import ORACLE, EvalConfig

_PARTS_OF_REFERENCE = {
    "world.env_name": "env",
    "policy": "model",
    "solver": "solver",
    "plan_config": "plan",
    "seed": "seed",
    "eval.num_eval": "episodes",
    "eval.eval_budget": "budget",
    "eval.goal_offset_steps": "goal_offset",
}
"""Settings of the reference's evaluations, and what they are called here."""


def load_settings(
    env: str | None = None,
    model: str | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    note: Callable[[str], None] = warn,
) -> EvalConfig:
    """Settings from a preset, changed by options, changed by assignments.

    Args:
        env: Environment id; that of the preset if None.
        model: Model; that of the preset if None.
        file: YAML file or name of a shipped preset; if None the one for environment and model, or else the one for what
            the environment offers, goals or rewards.
        overrides: Values by dotted name; None leaves the preset's.
        assignments: Texts such as `solver.num_samples=1000`, values in YAML. Here as there another `solver.name` drops
            the options of the solver before.
        note: Told of names that settings had in earlier releases.

    Returns:
        Checked settings.

    Raises:
        UserError: No such file or preset, an unknown setting, or a value out of range.
    """
    path = _preset(env, model, assignments) if file is None else config_path(file)
    if file is not None:
        _refuse_reference(path)
    return EvalConfig.load(path, {"env": env, "model": model, **(overrides or {})}, assignments, note)


def _preset(env: str | None, model: str | None, assignments: Sequence[str]) -> Path:
    """The preset of an environment, or the one for what the environment offers."""
    id = envs_mjx.import_named(env or "swm/PushT-v1")
    kind = "" if model in (None, ORACLE) else "_model"
    namespace, _, stem = re.sub(r"-v\d+$", "", id).lower().partition("/")
    own = configs_dir() / "eval" / f"{stem}{kind}.yaml"
    if namespace == "swm" and own.is_file():
        return own
    settings: dict[str, Any] = {}
    for name, value in read_assignments(assignments, EvalConfig.example):
        if name.startswith("env_options"):
            assign(settings, name, value)
    options = settings.get("env_options", {})
    check_mapping("env_options", options)
    made = envs_mjx.make(id, **options)
    if not kind and isinstance(made.action_space, Discrete | MultiDiscrete):
        kind = "_discrete"
    return configs_dir() / "eval" / f"{'goals' if made.reaches_goals else 'rewards'}{kind}.yaml"


def _refuse_reference(path: Path) -> None:
    """Say what an evaluation file of the reference is, instead of naming the first setting that is unknown here."""
    settings = read_settings(path)

    def there(name: str) -> bool:
        group, _, entry = name.partition(".")
        inner = settings.get(group)
        return inner is not None if not entry else isinstance(inner, Mapping) and entry in inner

    if not there("plan_config") and not there("world.env_name"):
        return
    known = ", ".join(f"{theirs} ({ours})" for theirs, ours in _PARTS_OF_REFERENCE.items() if there(theirs))
    raise UserError(
        f"{path} is an evaluation file of stable-worldmodel, which swmjax cannot run as it is; of its parts swmjax has "
        f"{known} under the names in brackets, but no starts and goals out of a dataset: give those with "
        "--problems, or have them drawn"
    )
