"""From settings to the objects of an evaluation: environment, policy, and weights that enter as arguments."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
from flax import nnx
from gymnasium.spaces import Box

import envs_mjx
from envs_mjx.checks import UserError
from envs_mjx.raster.antialias import resize_antialiased
from swmjax.checkpoints import load_pretrained, resolve_checkpoint
from swmjax.models import ModelInputs, OracleModel
from swmjax.planning import SOLVERS, Solver, block_space
from swmjax.planning.host import HostSolver
from swmjax.planning.memory import check_memory
from swmjax.policies import LatentShooting, OracleShooting, PlanningPolicy, Scaler, planning_objective
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
        UserError: The environment, the problems, the checkpoint or its action statistics cannot be used.
    """
    env = envs_mjx.make(config.env, **config.env_options)
    if not env.has_success:
        raise UserError(
            f"env: {config.env} has no success to count, since its episodes end in failure or by time; plan in it with "
            "swmjax.planning, or collect its episodes with `swmjax collect`"
        )
    space = env.action_space
    solver = config.make_solver()
    _check_solver(config, space)
    _check_population(config, env, solver)
    problems = None if config.problems is None else _problems(config, env)
    if config.model == ORACLE:
        task = OracleShooting(OracleModel(env), env.planning_cost, space, config.plan.action_block)
        return Setup(
            env=env, weights=None, policy=lambda _: PlanningPolicy(solver, task, config.plan), problems=problems
        )
    if not isinstance(space, Box):
        raise UserError(f"model: {config.env} has discrete actions; plan for it through its own physics (oracle)")
    model = load_pretrained(config.model)
    try:
        objective = planning_objective(model)
    except ValueError as error:
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
    observations = _observations(config, env, inputs)
    scalers, note = _scalers(config, action_dim, inputs)
    graph, weights = nnx.split(model)

    def policy(weights: Any) -> PlanningPolicy:
        task = LatentShooting(
            nnx.merge(graph, weights),
            observations,
            space,
            scalers["action"],
            config.plan_batch_size,
            objective,
            tuple((name, scalers[name]) for name, _ in inputs.vectors),
        )
        return PlanningPolicy(solver, task, config.plan)

    return Setup(env=env, weights=weights, policy=policy, notes=(note,) if note else (), problems=problems)


def _check_solver(config: EvalConfig, space: gymnasium.Space) -> None:
    """ValueError unless the solver plans actions of this space, in a compiled program, with this model."""
    name, oracle = config.solver["name"], config.model == ORACLE
    discrete = isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete)
    if not discrete and not (isinstance(space, Box) and len(space.shape) == 1):
        raise UserError(f"{config.env} cannot be planned for: its actions are {space}, not a one-axis Box or discrete")
    usable = {
        name: solver
        for name, solver in SOLVERS.items()
        if solver.from_settings
        and not issubclass(solver, HostSolver)
        and not (oracle and "transitions" in solver.takes)
    }
    fitting = [name for name, solver in usable.items() if solver.actions == ("discrete" if discrete else "box")]
    if name in fitting:
        return
    if name in usable:
        reason = f"does not plan actions of {config.env}, which are {space}"
    elif "transitions" in SOLVERS[name].takes:
        reason = "plans in latents, which the physics does not have (oracle)"
    else:
        reason = "searches on the host, but evaluations are compiled"
    raise UserError(f"solver.name: {name} {reason}; allowed are {', '.join(fitting)}")


def _check_population(config: EvalConfig, env: envs_mjx.Env, solver: Solver) -> None:
    """Refuse a population that cannot fit into the memory."""
    oracle = config.model == ORACLE
    at_once = None if oracle else config.plan_batch_size
    check_memory(
        solver,
        block_space(env.action_space, config.plan.action_block),
        config.plan.horizon,
        problems=min(config.episodes, config.batch_size, at_once or config.batch_size),
        problem=partial(jax.eval_shape, env.reset, jax.random.key(0)) if oracle else None,
    )


def _observations(config: EvalConfig, env: envs_mjx.Env, inputs: ModelInputs) -> Callable[[Any], Any]:
    """From a batch of states to what the model looks at.

    Raises:
        UserError: The environment does not observe a vector of the model.
    """
    size = inputs.image_size
    state = jax.eval_shape(env.reset, jax.random.key(0))
    vectors = {name: value.shape[0] for name, value in (state.info | state.obs).items() if len(value.shape) == 1}
    for name, length in inputs.vectors:
        if vectors.get(name) != length:
            known = ", ".join(f"{known} ({size})" for known, size in vectors.items()) or "none"
            raise UserError(
                f"{config.model} observes {name!r} with {length} entries; the vectors of {config.env} are {known}"
            )

    def observe(state: Any) -> dict[str, jax.Array] | jax.Array:
        observed = {name: (state.info | state.obs)[name] for name, _ in inputs.vectors}
        if size is None:
            return observed
        frame = resize_antialiased(env.render(state), size, size)
        return {"pixels": frame} | observed if observed else frame

    return jax.vmap(observe)


def _problems(config: EvalConfig, env: envs_mjx.Env) -> Problems:
    problems = read_problems(Path(str(config.problems)).expanduser())
    (size,) = jax.eval_shape(lambda: env.goal_from(env.reset(jax.random.key(0)))).shape
    if problems.start.shape[1] != size:
        raise UserError(
            f"{config.problems}: its states have {problems.start.shape[1]} entries, those of {config.env} have {size}"
        )
    if config.episodes > problems.count:
        raise UserError(f"episodes: {config.problems} holds {problems.count} problems, got {config.episodes}")
    return problems


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
