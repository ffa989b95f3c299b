"""From settings to the objects of an evaluation: environment, policy, and weights that enter as arguments."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import jax
from flax import nnx
from gymnasium.spaces import Box

import envs_mjx
from envs_mjx.raster.antialias import resize_antialiased
from swmjax.checkpoints import load_pretrained, resolve_checkpoint
from swmjax.models import OracleModel
from swmjax.planning import SOLVERS
from swmjax.policies import ActionScaler, LatentShooting, OracleShooting, PlanningPolicy
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.problems import Problems, read_problems


@dataclass(frozen=True)
class Setup:
    """What an evaluation runs.

    Attributes:
        env: The environment.
        weights: Arrays of the model, an argument of every program; None for the oracle.
        policy: Makes the policy of the weights; call it inside the program.
        notes: What the user should know about how the model was loaded.
        problems: Recorded problems, row i for episode i; None if they are drawn.
    """

    env: envs_mjx.Env
    weights: Any
    policy: Callable[[Any], PlanningPolicy]
    notes: tuple[str, ...] = ()
    problems: Problems | None = None


def set_up(config: EvalConfig) -> Setup:
    """Build environment and policy, and load the checkpoint if there is one.

    Raises:
        ValueError: The environment, the problems, the checkpoint or its action statistics cannot be used.
    """
    env = envs_mjx.make(config.env, **config.env_options)
    space = env.action_space
    solver = config.make_solver()
    _check_solver(config, solver.kind, space)
    problems = None if config.problems is None else _problems(config, env)
    if config.model == ORACLE:
        task = OracleShooting(OracleModel(env), env.planning_cost, space, config.plan.action_block)
        return Setup(
            env=env, weights=None, policy=lambda _: PlanningPolicy(solver, task, config.plan), problems=problems
        )
    if not isinstance(space, Box):
        raise ValueError(f"model: {config.env} has discrete actions; plan for it through its own physics (oracle)")
    model = load_pretrained(config.model)
    (action_dim,) = space.shape
    expected, given = model.config.action_encoder.input_dim, config.plan.action_block * action_dim
    if expected != given:
        raise ValueError(
            f"plan.action_block: {config.model} takes planner actions of size {expected}, but blocks of "
            f"{config.plan.action_block} actions of {config.env} have size {given}"
        )
    channels = model.config.encoder.num_channels
    if channels != 3:
        raise ValueError(f"{config.model} takes frames of {channels} channels, but environments render 3 (RGB)")
    scaler, note = _action_scaler(config, action_dim)
    size = model.config.encoder.image_size
    graph, weights = nnx.split(model)

    def frames(states: Any) -> jax.Array:
        return jax.vmap(lambda state: resize_antialiased(env.render(state), size, size))(states)

    def policy(weights: Any) -> PlanningPolicy:
        task = LatentShooting(nnx.merge(graph, weights), frames, space, scaler, config.problems_at_once)
        return PlanningPolicy(solver, task, config.plan)

    return Setup(env=env, weights=weights, policy=policy, notes=(note,) if note else (), problems=problems)


def _check_solver(config: EvalConfig, kind: str, space: gymnasium.Space) -> None:
    """ValueError unless a solver of this kind plans actions of this space."""
    discrete = isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)
    if not discrete and not (isinstance(space, Box) and len(space.shape) == 1):
        raise ValueError(f"{config.env} cannot be planned for: its actions are {space}, not a one-axis Box or discrete")
    if discrete != (kind == "discrete"):
        fitting = [name for name, entry in SOLVERS.items() if (entry.kind == "discrete") == discrete]
        raise ValueError(
            f"solver.name: {config.solver['name']} does not plan actions of {config.env}, which are {space}; "
            f"allowed are {', '.join(fitting)}"
        )


def _problems(config: EvalConfig, env: envs_mjx.Env) -> Problems:
    problems = read_problems(Path(str(config.problems)).expanduser())
    (size,) = jax.eval_shape(lambda: env.goal_from(env.reset(jax.random.key(0)))).shape
    if problems.start.shape[1] != size:
        raise ValueError(
            f"{config.problems}: its states have {problems.start.shape[1]} entries, those of {config.env} have {size}"
        )
    if config.episodes > problems.count:
        raise ValueError(f"episodes: {config.problems} holds {problems.count} problems, got {config.episodes}")
    return problems


def read_action_stats(path: Path, action_dim: int) -> ActionScaler:
    """Mean and standard deviation of single actions, from a JSON file.

    Args:
        path: File with the lists `action_mean` and `action_std`.
        action_dim: Entries of an action.

    Raises:
        ValueError: The file is missing, no such JSON, or of another size.
    """
    expected = f"JSON with action_mean and action_std, lists of {action_dim} numbers"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        mean, std = (tuple(map(_number, content[name])) for name in ("action_mean", "action_std"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected {expected}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: expected {expected}") from error
    if len(mean) != action_dim:
        raise ValueError(f"{path}: action_mean has {len(mean)} entries; expected {expected}")
    try:
        return ActionScaler(mean, std)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError(value)
    return float(value)


def _action_scaler(config: EvalConfig, action_dim: int) -> tuple[ActionScaler, str | None]:
    beside = resolve_checkpoint(config.model).config.parent / "action_stats.json"
    if config.action_stats is not None:
        return read_action_stats(Path(config.action_stats).expanduser(), action_dim), None
    if beside.exists():
        return read_action_stats(beside, action_dim), None
    note = (
        f"no {beside.name} beside the checkpoint: its actions are taken as they are (mean 0, std 1); "
        "give the training statistics with --action-stats"
    )
    return ActionScaler((0.0,) * action_dim, (1.0,) * action_dim), note
