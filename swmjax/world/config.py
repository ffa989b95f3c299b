"""The settings of an evaluation: presets, overrides, and checks before anything is computed."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import envs_mjx
from envs_mjx.checks import UserError, check_count, check_mapping, check_name
from swmjax.planning import SOLVERS, make_solver
from swmjax.policies import PlanConfig
from swmjax.runs.paths import config_path, configs_dir
from swmjax.runs.settings import Settings, warn
from swmjax.world.protocols import PROTOCOLS, Protocol

ORACLE = "oracle"
"""Name of the model that is the environment's own physics."""


@dataclass(frozen=True)
class EvalConfig(Settings):
    """Everything that an evaluation depends on.

    Args:
        env: Environment id.
        env_options: Constructor arguments of the environment.
        model: `oracle`, or a checkpoint: a `.pt` file, a folder, or a name under `$STABLEWM_HOME/checkpoints`.
        action_stats: JSON file with `action_mean` and `action_std`; the checkpoint's own if None.
        problems: NPZ file with start and goal states, one row for each episode; drawn if None.
        solver: `name` and the hyperparameters that differ from its defaults.
        plan: Horizons and blocks.
        episodes: Number of episodes.
        seed: Seed of the first; episode i has seed + i.
        goal_offset: Steps of the behaviour policy between start and goal, where they are drawn.
        budget: Environment steps per episode.
        batch_size: Episodes per compiled program.
        plan_batch_size: Episodes that a checkpoint plans for side by side; None for all. Only 1 gives the same result
            to the bit whatever `batch_size`; on a GPU more are faster.
        video_episodes: Episodes in the video, 0 for none.
        protocol: `name` and options of the protocol that says which episodes are played; what `problems` and
            `goal_offset` say if None.

    Raises:
        UserError: A value is out of its range; the message names the setting and what is allowed.
    """

    choice: ClassVar[str] = "solver.name"
    example: ClassVar[str] = "solver.num_samples=1000"
    old_names: ClassVar[Mapping[str, str]] = {"problems_at_once": "plan_batch_size"}

    env: str
    model: str
    env_options: Mapping[str, Any] = field(default_factory=dict)
    action_stats: str | None = None
    problems: str | None = None
    solver: Mapping[str, Any] = field(default_factory=lambda: {"name": "cem"})
    plan: PlanConfig = field(default_factory=PlanConfig)
    episodes: int = 20
    seed: int = 42
    goal_offset: int = 25
    budget: int = 50
    batch_size: int = 10
    plan_batch_size: int | None = 1
    video_episodes: int = 3
    protocol: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.env, str):
            raise UserError(f"env must be the id of an environment, got {self.env!r}")
        if not isinstance(self.model, str) or not self.model:
            raise UserError(f"model: give 'oracle' or a checkpoint (--model), got {self.model!r}")
        check_mapping("env_options", self.env_options)
        if self.action_stats is not None and not isinstance(self.action_stats, str):
            raise UserError(f"action_stats must be the path of a JSON file, got {self.action_stats!r}")
        if self.problems is not None and not isinstance(self.problems, str):
            raise UserError(f"problems must be the path of an NPZ file, got {self.problems!r}")
        lowest = {"episodes": 1, "seed": 0, "goal_offset": 1, "budget": 1, "batch_size": 1, "video_episodes": 0}
        if self.plan_batch_size is not None:
            lowest["plan_batch_size"] = 1
        for name, least in lowest.items():
            check_count(name, getattr(self, name), least)
        if self.seed + self.episodes > 2**31:
            raise UserError(f"seed + episodes must be at most 2**31, got {self.seed} + {self.episodes}")
        planned = self.plan.horizon * self.plan.action_block
        if planned > self.budget:
            raise UserError(
                f"plan.horizon x plan.action_block ({self.plan.horizon} x {self.plan.action_block}) "
                f"must not be above the budget of {self.budget} steps"
            )
        self.make_solver()
        self._protocol()
        object.__setattr__(self, "env", envs_mjx.full_id(self.env))

    def make_solver(self) -> Any:
        """The solver with its hyperparameters."""
        if not isinstance(self.solver, Mapping) or "name" not in self.solver:
            raise UserError(f"solver must be a mapping with a name, got {self.solver!r}")
        name = str(self.solver["name"])
        options = {str(key): value for key, value in self.solver.items() if key != "name"}
        if name in SOLVERS and not SOLVERS[name].from_settings:
            cls = SOLVERS[name].__name__
            raise UserError(f"solver {name!r} is made of other objects; build it in Python with swmjax.planning.{cls}")
        return make_solver(name, options)

    def make_protocol(self) -> Protocol:
        """The protocol with its options.

        Raises:
            UserError: An option is out of range, or a file that the protocol reads cannot be used.
        """
        kind, options = self._protocol()
        return kind.make(self.seed, **options)

    def _protocol(self) -> tuple[type[Protocol], dict[str, Any]]:
        settings = self.protocol
        if settings is None and self.problems is not None:
            settings = {"name": "recorded", "path": self.problems}
        elif settings is None:
            settings = {"name": "drawn", "goal_offset": self.goal_offset}
        if not isinstance(settings, Mapping) or "name" not in settings:
            raise UserError(f"protocol must be a mapping with a name, got {settings!r}")
        name, options = str(settings["name"]), {key: value for key, value in settings.items() if key != "name"}
        check_name("protocol", name, PROTOCOLS)
        for option in options:
            check_name(f"option of protocol {name!r}", str(option), PROTOCOLS[name].options)
        return PROTOCOLS[name], options

    @property
    def run_name(self) -> str:
        """Environment, model and solver."""
        return f"{self.env.rsplit('/', 1)[-1]}-{Path(self.model).stem}-{self.solver['name']}"

    def from_anywhere(self) -> "EvalConfig":
        """A model that does not begin with a dot is a name, and means the same everywhere."""
        protocol = self.protocol
        if protocol is not None:
            kind, options = self._protocol()
            paths = {name: options[name] for name in kind.files if isinstance(options.get(name), str)}
            protocol = {**protocol, **{name: _absolute(path) for name, path in paths.items()}}
        return dataclasses.replace(
            self,
            protocol=protocol,
            model=_absolute(self.model) if self.model.startswith(".") else self.model,
            problems=None if self.problems is None else _absolute(self.problems),
            action_stats=None if self.action_stats is None else _absolute(self.action_stats),
        )


def _absolute(path: str) -> str:
    return path if path.startswith("~") else os.path.abspath(path)


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
        file: YAML file or name of a shipped preset; the one for environment and model if None.
        overrides: Values by dotted name; None leaves the preset's.
        assignments: Texts such as `solver.num_samples=1000`, values in YAML. Here as there another `solver.name` drops
            the options of the solver before.
        note: Told of names that settings had in earlier releases.

    Returns:
        Checked settings.

    Raises:
        UserError: No such file or preset, an unknown setting, or a value out of range.
    """
    path = config_path(file) if file is not None else _preset(envs_mjx.full_id(env or "swm/PushT-v1"), model)
    return EvalConfig.load(path, {"env": env, "model": model, **(overrides or {})}, assignments, note)


def _preset(env: str, model: str | None) -> Path:
    stem = re.sub(r"-v\d+$", "", env.rsplit("/", 1)[-1]).lower()
    envs_mjx.spec(env)
    name = f"eval/{stem}.yaml" if model in (None, ORACLE) else f"eval/{stem}_model.yaml"
    path = configs_dir() / name
    if not path.is_file():
        example = configs_dir() / "eval" / "pusht.yaml"
        raise UserError(
            f"there is no preset {name} for {env}; give a file with --config, such as a changed copy of {example}"
        )
    return path
