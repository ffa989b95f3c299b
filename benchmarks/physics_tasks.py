"""The tasks of `physics.py`: settings of `configs/bench/physics.yaml`, checked, and what planners minimise."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from omegaconf import OmegaConf
from physics_parts import Held, OneOf

import envs_mjx
from envs_mjx.checks import check_choice
from envs_mjx.mujoco.implementation import AUTO, IMPLEMENTATIONS
from envs_mjx.names import unknown_name
from swmjax.planning import SOLVERS, PlanConfig, make_solver
from swmjax.planning.population import PopulationSolver

StepCost = Callable[[Any], Float[Array, ""]]


def missed_reward(state: Any) -> Float[Array, ""]:
    """The task's own reward, less."""
    return -state.reward


def cartpole_upright(state: Any) -> Float[Array, ""]:
    """1 - cos of the pole's angle from upright, the cart's distance from the middle, speeds, and the reward missed.

    The task rewards no more than 5.7 degrees and 0.25 m, where the first two hardly differ from 0.
    """
    position, cosine, _, speed, spin = state.obs["observation"]
    smooth = 1 - cosine + 0.5 * position**2 + 0.01 * speed**2 + 0.002 * spin**2
    return smooth + 0.1 * missed_reward(state)


def pendulum_upright(state: Any) -> Float[Array, ""]:
    """1 - cos of the angle from upright, and a little for speed."""
    cosine, _, speed = state.obs["observation"]
    return 1 - cosine + 0.01 * speed**2


def reacher_gap(state: Any) -> Float[Array, ""]:
    """Distance of the fingertip from the target (m), and the reward missed."""
    return 0.1 * missed_reward(state) + jnp.linalg.norm(state.obs["observation"][2:4])


def hopper_upright(state: Any) -> Float[Array, ""]:
    """The reward missed, and how far the torso is below its height at rest (m) and tilted (1 - cos).

    The tasks reward nothing at all below a height of the torso above the foot of 0.6 m.
    """
    sunk, tilt = -state.obs["observation"][0], state.obs["observation"][1]
    return missed_reward(state) + 0.5 * jnp.clip(sunk, 0.0, 1.0) + 0.1 * (1 - jnp.cos(tilt))


def humanoid_upright(state: Any) -> Float[Array, ""]:
    """The reward missed, and how far the head is below 1.4 m (m) and the torso from upright (1 - cos).

    The tasks reward next to nothing below a height of the head of 1 m.
    """
    head, upright = state.obs["observation"][21], state.obs["observation"][36]
    return missed_reward(state) + 0.5 * jnp.clip(1.4 - head, 0.0, 1.4) + 0.1 * (1 - upright)


def cup_gap(state: Any) -> Float[Array, ""]:
    """The reward missed, and the distance of the ball from where it counts as caught (m)."""
    cup_x, cup_z, ball_x, ball_z = state.obs["observation"][:4]
    # At rest the ball hangs 0.35 m below that place.
    return missed_reward(state) + 0.5 * jnp.hypot(cup_x - ball_x, 0.35 + cup_z - ball_z)


def finger_slowness(state: Any) -> Float[Array, ""]:
    """The reward missed, and how much the body is slower than the 15 rad/s at which the task begins to reward."""
    return missed_reward(state) + 0.02 * jnp.clip(state.info["hinge_velocity"] + 15.0, 0.0, 30.0)


def ball_gap(state: Any) -> Float[Array, ""]:
    """The reward missed, the distance of the hand from the ball, and that of the ball from its target (m)."""
    seen = state.obs["observation"]
    hand, ball, target = seen[29:31], seen[33:35], seen[40:42]
    return missed_reward(state) + jnp.linalg.norm(hand - ball) + 2 * jnp.linalg.norm(ball - target)


OBJECTIVES: dict[str, StepCost] = {
    "missed_reward": missed_reward,
    "cartpole_upright": cartpole_upright,
    "pendulum_upright": pendulum_upright,
    "reacher_gap": reacher_gap,
    "hopper_upright": hopper_upright,
    "humanoid_upright": humanoid_upright,
    "cup_gap": cup_gap,
    "finger_slowness": finger_slowness,
    "ball_gap": ball_gap,
}
"""Costs of the state after one environment step, by the name that the settings use."""


USABLE = [name for name, one in SOLVERS.items() if one.from_settings and issubclass(one, PopulationSolver)]
"""Solvers that can share a program, see `OneOf`."""


@dataclass(frozen=True)
class Published:
    """A score of others, at most 1000 for an episode of 1000 control steps.

    Args:
        score: The score.
        method: How it was reached, on which task.
        source: Where it is written.
    """

    score: float
    method: str
    source: str

    def __post_init__(self) -> None:
        _number("published.score", self.score, 0, 1000)


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        env: Environment id.
        objective: Name of what planners minimise, summed over the horizon.
        threshold: Score that counts as solved, set before anything was tuned; None where nothing is published.
        published: What others reached.
        plan: Horizons and blocks.
        options: Constructor arguments of the environment that acts.
        model_options: Those in which the environment to plan through differs.
        hold: Environment steps for which each action is held; plans count these.
        terminal: Weight of one more count of the objective, at the end of the horizon.
        seeds: Seeds of the episodes; those of the whole benchmark if None.
        solvers: Hyperparameters by solver in which this task differs.

    Raises:
        ValueError: A value is out of its range; the message names the setting and what is allowed.
    """

    env: str
    objective: str
    threshold: float | None
    published: tuple[Published, ...]
    plan: PlanConfig
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hold: int = 1
    terminal: float = 0.0
    seeds: tuple[int, ...] | None = None
    solvers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        envs_mjx.spec(self.env)
        if self.objective not in OBJECTIVES:
            raise ValueError(unknown_name("objective", self.objective, OBJECTIVES))
        if self.threshold is not None:
            _number("threshold", self.threshold, 0, 1000)
        _count("hold", self.hold)
        _number("terminal", self.terminal, 0, 1e6)
        if bool(self.published) == (self.threshold is None):
            raise ValueError("published must name at least one score to compare with, or threshold must be null")

    def make_envs(self, impl: str) -> tuple[Held, Held]:
        """The environment that acts and the one to plan through, whose actions are held.

        Args:
            impl: Implementation of the physics, unless the options name one.
        """
        options = {"impl": impl} | dict(self.options)
        acting = envs_mjx.make(self.env, **options)
        model = envs_mjx.make(self.env, **(options | dict(self.model_options)))
        return Held(acting, self.hold), Held(model, self.hold)


@dataclass(frozen=True)
class Bench:
    """The whole benchmark.

    Args:
        steps: Environment steps per episode.
        chunk: Environment steps between two signs of life.
        impl: Implementation of the physics.
        seeds: Seeds of the episodes.
        tasks: By name.
        solvers: Hyperparameters by solver, for all tasks.

    Raises:
        ValueError: A value is out of its range; the message names the setting and what is allowed.
    """

    steps: int
    chunk: int
    impl: str
    seeds: tuple[int, ...]
    tasks: Mapping[str, Task]
    solvers: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        for name in ("steps", "chunk"):
            _count(name, getattr(self, name))
        check_choice("impl", self.impl, (*IMPLEMENTATIONS, AUTO), show=str)
        if not self.tasks or not self.solvers:
            raise ValueError("tasks and solvers must each hold at least one entry")
        for name, task in self.tasks.items():
            if self.steps % task.hold:
                raise ValueError(f"tasks.{name}.hold must divide steps ({self.steps}), got {task.hold}")
            for solver in task.solvers:
                if solver not in self.solvers:
                    raise ValueError(f"tasks.{name}: {unknown_name('solver', solver, self.solvers)}")
            for solver in self.solvers:
                with _place(f"tasks.{name}.solvers.{solver}"):
                    self._make_solver(name, solver)
            with _place(f"tasks.{name}"):
                self.make_solver(name, 0)

    def settings(self, task: str, solver: str) -> dict[str, Any]:
        """Hyperparameters of a solver on a task."""
        return dict(self.solvers[solver]) | dict(self.tasks[task].solvers.get(solver, {}))

    def make_solver(self, task: str, index: Any) -> OneOf:
        """The solvers of a task in one, of which that of this number plans."""
        return OneOf(tuple(self._make_solver(task, name) for name in self.solvers), index)

    def _make_solver(self, task: str, solver: str) -> Any:
        if solver not in USABLE:
            raise ValueError(unknown_name("solver", solver, USABLE))
        return make_solver(solver, self.settings(task, solver))


def load_bench(path: Path) -> Bench:
    """Read and check the settings.

    Args:
        path: YAML file.

    Raises:
        ValueError: The file is not readable, or a setting is unknown, missing or out of range.
    """
    try:
        settings = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # the YAML scanner, the file system and OmegaConf each raise their own kind
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    with _place(str(path)):
        values = _fields(Bench, settings, "settings")
        tasks = values["tasks"]
        if not isinstance(tasks, dict) or not isinstance(values["solvers"], dict):
            raise ValueError("tasks and solvers must be mappings of names to settings")
        values["seeds"] = _seeds("seeds", values["seeds"])
        values["solvers"] = {name: given or {} for name, given in values["solvers"].items()}
        values["tasks"] = {}
        for name, given in tasks.items():
            with _place(f"tasks.{name}"):
                values["tasks"][name] = _task(given)
        return Bench(**values)


class _place:
    """Say where in the settings a ValueError comes from."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        if isinstance(error, ValueError):
            raise ValueError(f"{self.name}: {error}") from error


def _task(given: Any) -> Task:
    values = _fields(Task, given, "task")
    values["plan"] = PlanConfig(**_fields(PlanConfig, values["plan"], "plan"))
    if not isinstance(values["published"], list):
        raise ValueError(f"published must be a list of score, method and source, got {values['published']!r}")
    values["published"] = tuple(Published(**_fields(Published, one, "published")) for one in values["published"])
    if values.get("seeds") is not None:
        values["seeds"] = _seeds("seeds", values["seeds"])
    for name in ("options", "model_options", "solvers"):
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(f"{name} must be a mapping, got {values[name]!r}")
    return Task(**values)


def _fields(cls: type, given: Any, place: str) -> dict[str, Any]:
    """The settings of a dataclass, none unknown and none missing."""
    if not isinstance(given, dict):
        raise ValueError(f"{place} must be a mapping, got {given!r}")
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in given:
        if name not in known:
            raise ValueError(unknown_name(f"setting of {place}", str(name), known))
    for name, field in known.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ValueError(f"{place}: setting {name!r} is missing")
    return {str(name): value for name, value in given.items()}


def _seeds(name: str, given: Any) -> tuple[int, ...]:
    good = isinstance(given, list) and given and all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in given)
    if not good or any(isinstance(seed, bool) for seed in given) or len(set(given)) < len(given):
        raise ValueError(f"{name} must be a list of different integers from 0, got {given!r}")
    return tuple(given)


def _count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def _number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
