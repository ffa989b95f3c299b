"""The settings of an evaluation, checked before anything is computed."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import envs_mjx
from envs_mjx.checks import UserError, check_count, check_flag, check_mapping, check_name
from swmjax.planning import make_solver, solver_class
from swmjax.policies import PlanConfig
from swmjax.runs.settings import Settings
from swmjax.world.protocols import PROTOCOLS, Protocol

ORACLE = "oracle"
"""Name of the model that is the environment's own physics."""


@dataclass(frozen=True)
class EvalConfig(Settings):
    """Everything that an evaluation depends on.

    Args:
        env: Environment id; `module:Name` imports the module, unless it comes out of a file (see `Settings.named`).
        env_options: Constructor arguments of the environment.
        model: `oracle`, or a checkpoint: a `.pt` file, a folder, or a name under `$STABLEWM_HOME/checkpoints`.
        action_stats: JSON file with `action_mean` and `action_std`; the checkpoint's own if None.
        problems: NPZ file with start and goal states, one row for each episode; drawn if None.
        solver: `name` and the hyperparameters that differ from its defaults; the name may be `module:Class` as well.
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
        variation: Factors of variation that every episode samples; the environment's own choice if None.
        values: Factors of variation that are the same in every episode, by name.
        skip_solved: Leave episodes that are solved at the start out of the figures.
        allow_nonfinite: Plan with a checkpoint whose weights are NaN or infinite.

    Raises:
        UserError: A value is out of its range; the message names the setting and what is allowed.
    """

    choice: ClassVar[str] = "solver.name"
    named: ClassVar[tuple[str, ...]] = ("env", "solver.name")
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
    variation: Sequence[str] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    skip_solved: bool = False
    allow_nonfinite: bool = False

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
        check_mapping("values", self.values)
        check_flag("skip_solved", self.skip_solved)
        check_flag("allow_nonfinite", self.allow_nonfinite)
        if self.variation is not None:
            listed = isinstance(self.variation, Sequence) and not isinstance(self.variation, str)
            if not listed or not all(isinstance(name, str) for name in self.variation):
                raise UserError(f"variation must be a list of names of factors, got {self.variation!r}")
            object.__setattr__(self, "variation", tuple(dict.fromkeys(self.variation)))
        self.make_solver()
        self._protocol()
        object.__setattr__(self, "env", envs_mjx.import_named(self.env))

    def make_solver(self) -> Any:
        """The solver with its hyperparameters."""
        if not isinstance(self.solver, Mapping) or "name" not in self.solver:
            raise UserError(f"solver must be a mapping with a name, got {self.solver!r}")
        name = str(self.solver["name"])
        options = {str(key): value for key, value in self.solver.items() if key != "name"}
        found = solver_class(name)
        if not found.from_settings:
            cls = found.__name__
            raise UserError(f"solver {name!r} is made of other objects; build it in Python with swmjax.planning.{cls}")
        return make_solver(name, options)

    def make_protocol(self, env: envs_mjx.Env) -> Protocol:
        """The protocol with its options, for an environment.

        Raises:
            UserError: An option is out of range, a file that the protocol reads cannot be used, or the environment
                lacks a factor or takes no such value of it.
        """
        name, options = self._protocol()
        values = env.variation_space.as_factors(self.values)
        env.check_reset(self.variation, values)
        if self.variation and not env.variation_space.names():
            raise UserError(f"variation: {self.env} has no factors of variation")
        if self.skip_solved and not env.has_success:
            raise UserError(f"skip_solved: nothing is ever solved in {self.env}, which has only rewards")
        made = PROTOCOLS[name].make(self.seed, **options)
        variation = None if self.variation is None else tuple(self.variation)
        return dataclasses.replace(made, variation=variation, values=values)

    def factors(self, env: envs_mjx.Env) -> tuple[str, ...]:
        """Names of the factors of variation that these settings name, whose values are reported."""
        space = env.variation_space
        named = set(space.as_factors(self.values)) | set(space.select(self.variation or ()))
        return tuple(name for name in space.names() if name in named)

    def _protocol(self) -> tuple[str, dict[str, Any]]:
        settings = self.protocol
        if settings is not None and self.problems is not None:
            raise UserError(
                f"problems: {self.problems} and the protocol {settings} both say which episodes are played; give one "
                "of them (--set protocol=null)"
            )
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
        return name, options

    @property
    def protocol_name(self) -> str:
        """The protocol as settings call it."""
        return self._protocol()[0]

    @property
    def run_name(self) -> str:
        """Environment, model and solver."""
        return f"{self.env.rsplit('/', 1)[-1]}-{Path(self.model).stem}-{self.solver['name']}"

    def from_anywhere(self) -> "EvalConfig":
        """A model that does not begin with a dot is a name, and means the same everywhere."""
        protocol = self.protocol
        if protocol is not None:
            chosen, options = self._protocol()
            paths = {name: options[name] for name in PROTOCOLS[chosen].files if isinstance(options.get(name), str)}
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
