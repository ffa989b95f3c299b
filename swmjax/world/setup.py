"""From settings to the objects of an evaluation: environment, policy and protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
from gymnasium.spaces import Box

import envs_mjx
from envs_mjx.checks import UserError
from envs_mjx.wrappers import FlatAction
from swmjax.checkpoints import load_pretrained, resolve_checkpoint
from swmjax.models import ModelInputs, OracleModel
from swmjax.planning import SOLVERS, block_space, solver_class
from swmjax.planning.host import HostSolver
from swmjax.planning.memory import check_memory
from swmjax.policies import ActionBox, MPCPolicy, PhysicsPolicy, Scaler, WorldModelPolicy, planning_objective
from swmjax.world.config import ORACLE, EvalConfig
from swmjax.world.protocols import Protocol


@dataclass(frozen=True)
class Setup:
    """What an evaluation runs.

    Attributes:
        env: The environment.
        policy: The policy.
        protocol: Which episodes are played.
        notes: What the user should know about the model, the problems and the factors of variation.
    """

    env: envs_mjx.Env
    policy: MPCPolicy
    protocol: Protocol
    notes: tuple[str, ...] = ()


def set_up(config: EvalConfig) -> Setup:
    """Build environment, policy and protocol, and load the checkpoint if there is one.

    Raises:
        UserError: The environment, the problems, the checkpoint or its action statistics cannot be used.
    """
    env = envs_mjx.make(config.env, **config.env_options)
    if isinstance(env.action_space, gymnasium.spaces.Dict):
        env = FlatAction(env)
    _check_solver(config, env.action_space)
    _check_population(config, env)
    protocol = config.make_protocol(env)
    protocol.check(env, config.env, config.episodes)
    policy, notes = _physics(config, env) if config.model == ORACLE else _world_model(config, env)
    if isinstance(policy, WorldModelPolicy) and policy.objective is not None and not _has_goals(protocol, env):
        raise UserError(
            f"model: {config.model} plans towards goals, and whole episodes of {config.env} have none; take a model of "
            "rewards (TD-MPC2), or another protocol"
        )
    reach = config.plan.horizon * config.plan.action_block
    notes += protocol.remarks(env, config.env, reach, config.budget)
    if not protocol.places:
        notes += _remarks_on_factors(config, env)
    notes += env.remarks
    return Setup(env=env, policy=policy, protocol=protocol, notes=notes)


def _has_goals(protocol: Protocol, env: envs_mjx.Env) -> bool:
    return protocol.until == "success" or env.reaches_goals


def _remarks_on_factors(config: EvalConfig, env: envs_mjx.Env) -> tuple[str, ...]:
    """What stands still since the user has named what varies."""
    if config.variation is None:
        return ()
    space = env.variation_space
    still = set(space.select(env.default_variation)) - set(config.factors(env))
    if not still:
        return ()
    names = ", ".join(name for name in space.names() if name in still)
    return (f"only the factors that are named vary; {names} keep their initial values unless they are named too",)


def _physics(config: EvalConfig, env: envs_mjx.Env) -> tuple[PhysicsPolicy, tuple[str, ...]]:
    policy = PhysicsPolicy(
        model=OracleModel(env),
        solver=config.make_solver(),
        config=config.plan,
        state_cost=env.planning_cost,
        plan_batch_size=_plan_batch_size(config),
    )
    return policy, ()


def _plan_batch_size(config: EvalConfig) -> int | None:
    """Episodes that are planned for side by side; all if None."""
    if config.model != ORACLE:
        return config.plan_batch_size
    # The physics is the same to the bit either way. One episode after the other lets a CPU leave out those that need no
    # plan; an accelerator is faster with all at once.
    return 1 if jax.default_backend() == "cpu" else None


def _world_model(config: EvalConfig, env: envs_mjx.Env) -> tuple[WorldModelPolicy, tuple[str, ...]]:
    space = env.action_space
    if not isinstance(space, Box):
        raise UserError(f"model: {config.env} has discrete actions; plan for it through its own physics (oracle)")
    notes: list[str] = []
    model = load_pretrained(config.model, allow_nonfinite=config.allow_nonfinite, note=notes.append)
    try:
        objective = planning_objective(model)
    except UserError as error:
        raise UserError(f"{config.model}: {error}") from None
    inputs = model.inputs
    (action_dim,) = space.shape
    given = config.plan.action_block * action_dim
    if inputs.action_size != given:
        raise UserError(
            f"plan.action_block: {config.model} takes planner actions of size {inputs.action_size}, but blocks of "
            f"{config.plan.action_block} actions of {config.env} have size {given}"
        )
    if inputs.channels != 3:
        raise UserError(f"{config.model} takes frames of {inputs.channels} channels, but environments render 3 (RGB)")
    _check_vectors(config, env, inputs)
    scalers, note = _scalers(config, action_dim, inputs)
    policy = WorldModelPolicy(
        model=model,
        solver=config.make_solver(),
        config=config.plan,
        actions=ActionBox.of(space),
        scaler=scalers["action"],
        objective=objective,
        image_size=inputs.image_size,
        vectors=tuple((name, scalers[name]) for name, _ in inputs.vectors),
        plan_batch_size=_plan_batch_size(config),
    )
    return policy, (*notes, note) if note else tuple(notes)


def _check_solver(config: EvalConfig, space: gymnasium.Space) -> None:
    """ValueError unless the solver plans actions of this space, in a compiled program, with this model."""
    name, oracle = str(config.solver["name"]), config.model == ORACLE
    asked = solver_class(name)
    discrete = isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)
    if not discrete and not (isinstance(space, Box) and len(space.shape) == 1):
        raise UserError(f"{config.env} cannot be planned for: its actions are {space}, not a one-axis Box or discrete")
    usable = {
        name: solver
        for name, solver in (SOLVERS | {name: asked}).items()
        if solver.from_settings
        and not issubclass(solver, HostSolver)
        and not (oracle and "transitions" in solver.takes)
    }
    fitting = [name for name, solver in usable.items() if solver.actions == ("discrete" if discrete else "box")]
    if name in fitting:
        return
    if name in usable:
        reason = f"does not plan actions of {config.env}, which are {space}"
    elif "transitions" in asked.takes:
        reason = "plans in latents, which the physics does not have (oracle)"
    else:
        reason = "searches on the host, but evaluations are compiled"
    raise UserError(f"solver.name: {name} {reason}; allowed are {', '.join(fitting)}")


def _check_population(config: EvalConfig, env: envs_mjx.Env) -> None:
    """Refuse a population that cannot fit into the memory."""
    oracle = config.model == ORACLE
    at_once = _plan_batch_size(config)
    check_memory(
        config.make_solver(),
        block_space(env.action_space, config.plan.action_block),
        config.plan.horizon,
        problems=min(config.episodes, config.batch_size, at_once or config.batch_size),
        problem=partial(jax.eval_shape, env.reset, jax.random.key(0)) if oracle else None,
    )


def _check_vectors(config: EvalConfig, env: envs_mjx.Env, inputs: ModelInputs) -> None:
    """UserError unless the environment observes the vectors of the model."""
    state = jax.eval_shape(env.reset, jax.random.key(0))
    vectors = {name: value.shape[0] for name, value in (state.info | state.obs).items() if len(value.shape) == 1}
    for name, length in inputs.vectors:
        if vectors.get(name) != length:
            known = ", ".join(f"{known} ({size})" for known, size in vectors.items()) or "none"
            raise UserError(
                f"{config.model} observes {name!r} with {length} entries; the vectors of {config.env} are {known}"
            )


def read_stats(path: Path, sizes: Mapping[str, int]) -> dict[str, Scaler]:
    """Means and standard deviations of single actions, and of observed vectors, from a JSON file.

    Args:
        path: File with the lists `action_mean` and `action_std`, and those of other vectors.
        sizes: Entries of each vector, `action` among them.

    Raises:
        UserError: The file is missing, no such JSON, or of another size.
    """
    scalers = {}
    for name, size in sizes.items():
        expected = f"JSON with {name}_mean and {name}_std, lists of {size} numbers"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            mean, std = (tuple(map(_number, content[f"{name}_{part}"])) for part in ("mean", "std"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; expected {expected}") from error
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path}: expected {expected}") from error
        if len(mean) != size:
            raise UserError(f"{path}: {name}_mean has {len(mean)} entries; expected {expected}")
        try:
            scalers[name] = Scaler(mean, std)
        except ValueError as error:
            raise UserError(f"{path}: {name}: {error}") from error
    return scalers


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError(value)
    return float(value)


def _scalers(config: EvalConfig, action_dim: int, inputs: ModelInputs) -> tuple[dict[str, Scaler], str | None]:
    sizes = {"action": action_dim} | dict(inputs.vectors)
    beside = resolve_checkpoint(config.model).config.parent / "action_stats.json"
    if config.action_stats is not None:
        return read_stats(Path(config.action_stats).expanduser(), sizes), None
    if beside.exists():
        return read_stats(beside, sizes), None
    note = (
        f"no {beside.name} beside the checkpoint: its {' and '.join(f'{name}s' for name in sizes)} are taken as they "
        "are (mean 0, std 1); give the training statistics with --action-stats"
    )
    return {name: Scaler.identity(size) for name, size in sizes.items()}, note
