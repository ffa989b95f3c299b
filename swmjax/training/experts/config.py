"""The settings of a training: presets, overrides, and checks before anything is computed."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import envs_mjx
from envs_mjx.checks import UserError, check_count, check_mapping, check_name
from swmjax.runs.paths import config_path, configs_dir
from swmjax.runs.settings import Settings, warn
from swmjax.training.experts.env import TrainingEnv
from swmjax.training.experts.ppo import PPO
from swmjax.training.experts.sac import SAC

ALGORITHMS: dict[str, type[SAC] | type[PPO]] = {"sac": SAC, "ppo": PPO}
"""Algorithms by name."""


@dataclass(frozen=True)
class ExpertConfig(Settings):
    """Everything that a training depends on.

    Args:
        env: Environment id; `module:Name` imports the module, unless it comes out of a file (see `Settings.named`).
        env_options: Constructor arguments of the environment.
        variation: Factors of variation that each episode samples; the environment's own choice if None.
        episode_steps: Steps after which an episode is cut, where the environment does not do it earlier.
        algorithm: `name` and the hyperparameters that differ from its defaults.
        steps: Environment steps of the training, of all environments together; rounded up to whole epochs.
        evaluations: Evaluations on the way, at equal distances; the last one is at the end.
        epochs_per_evaluation: Compiled calls between two evaluations; the training can stop after each.
        eval_episodes: Episodes of an evaluation.
        probe_steps: Environment steps of random actions before the training, which is refused if all their rewards are
            0; 0 for none, where rewards are rare.
        seed: Of everything.

    Raises:
        UserError: A value is out of its range; the message names the setting and what is allowed.
    """

    choice: ClassVar[str] = "algorithm.name"
    named: ClassVar[tuple[str, ...]] = ("env",)
    example: ClassVar[str] = "algorithm.batch_size=512"

    env: str
    env_options: Mapping[str, Any] = field(default_factory=dict)
    variation: Sequence[str] | None = None
    episode_steps: int = 1000
    algorithm: Mapping[str, Any] = field(default_factory=lambda: {"name": "sac"})
    steps: int = 500_000
    evaluations: int = 20
    epochs_per_evaluation: int = 10
    eval_episodes: int = 16
    probe_steps: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.env, str):
            raise UserError(f"env must be the id of an environment, got {self.env!r}")
        check_mapping("env_options", self.env_options)
        if self.variation is not None:
            names = self.variation
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise UserError(f"variation must be a list of names of factors, got {names!r}")
            object.__setattr__(self, "variation", tuple(names))
        for name in ("episode_steps", "steps", "evaluations", "epochs_per_evaluation", "eval_episodes"):
            check_count(name, getattr(self, name))
        for name in ("probe_steps", "seed"):
            check_count(name, getattr(self, name), 0)
        for name in ("steps", "seed"):
            if getattr(self, name) >= 2**31:
                raise UserError(f"{name} must be below 2**31, got {getattr(self, name)}")
        self.make_algorithm()
        object.__setattr__(self, "env", envs_mjx.import_named(self.env))

    def make_algorithm(self) -> SAC | PPO:
        """The algorithm with its hyperparameters."""
        if not isinstance(self.algorithm, Mapping) or "name" not in self.algorithm:
            raise UserError(f"algorithm must be a mapping with a name, got {self.algorithm!r}")
        name = str(self.algorithm["name"])
        check_name("algorithm", name, ALGORITHMS)
        options: dict[str, Any] = {}
        known = [entry.name for entry in dataclasses.fields(ALGORITHMS[name])]
        for option, value in self.algorithm.items():
            if option != "name":
                check_name(f"option of algorithm {name!r}", str(option), known)
                options[str(option)] = tuple(value) if isinstance(value, list) else value
        return ALGORITHMS[name](**options)

    def make_env(self) -> TrainingEnv:
        """The environment as training sees it.

        Raises:
            UserError: Unknown environment, option or factor, or one that an expert cannot be trained for.
            MissingExtraError: The environment's extra is not installed.
        """
        env = envs_mjx.make(self.env, **self.env_options)
        return TrainingEnv(env, self.episode_steps, None if self.variation is None else tuple(self.variation))

    @property
    def iterations_per_epoch(self) -> int:
        """Iterations of the algorithm in one compiled call."""
        steps = self.make_algorithm().steps_per_iteration * self.epochs
        return -(-self.steps // steps)

    @property
    def epochs(self) -> int:
        """Compiled calls of the whole training."""
        return self.evaluations * self.epochs_per_evaluation

    @property
    def steps_per_epoch(self) -> int:
        """Environment steps of one compiled call."""
        return self.iterations_per_epoch * self.make_algorithm().steps_per_iteration

    @property
    def trained_steps(self) -> int:
        """Environment steps of the whole training: `steps`, rounded up to whole epochs."""
        return self.epochs * self.steps_per_epoch

    def remarks(self) -> tuple[str, ...]:
        """What the user should know before the training; raises as `make_env` does."""
        remarks: tuple[str, ...] = self.make_env().env.remarks
        if self.trained_steps == self.steps:
            return remarks
        iteration = self.make_algorithm().steps_per_iteration
        return (
            f"{self.trained_steps:,} steps will be trained instead of {self.steps:,}: there are {self.epochs:,} epochs "
            f"(evaluations {self.evaluations} x epochs_per_evaluation {self.epochs_per_evaluation}), and each is made "
            f"of whole iterations of {iteration:,} steps, here {self.iterations_per_epoch:,}",
            *remarks,
        )

    @property
    def run_name(self) -> str:
        """Environment, its task and algorithm."""
        return f"{self.env.rsplit('/', 1)[-1]}-{self.env_options.get('task', '')}-{self.algorithm['name']}"


def load_expert_settings(
    env: str | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    note: Callable[[str], None] = warn,
) -> ExpertConfig:
    """Settings from a preset, changed by options, changed by assignments.

    Args:
        env: Environment id; that of the file if None.
        file: YAML file or name of a shipped preset; the one of the environment if None, else the default one.
        overrides: Values by dotted name; None leaves the preset's.
        assignments: Texts such as `algorithm.batch_size=512`, values in YAML. Here as there another `algorithm.name`
            drops the options of the algorithm before.
        note: Told of names that settings had in earlier releases.

    Returns:
        Checked settings.

    Raises:
        UserError: No such file, an unknown setting, or a value out of range.
    """
    if file is not None:
        path = config_path(file)
    elif env is None:
        raise UserError("give the id of an environment; `swmjax envs` lists them")
    else:
        path = _preset(envs_mjx.import_named(env))
    return ExpertConfig.load(path, {"env": env, **(overrides or {})}, assignments, note)


def _preset(env: str) -> Path:
    """The domain's preset, or the one for all others."""
    envs_mjx.spec(env)
    domain = re.sub(r"(DM)?Control$|Env$", "", re.sub(r"-v\d+$", "", env.rsplit("/", 1)[-1])).lower()
    path = configs_dir() / "expert" / f"{domain}.yaml"
    return path if path.is_file() and env.startswith("swm/") else configs_dir() / "expert" / "default.yaml"
