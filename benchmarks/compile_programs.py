"""The programs whose compilation `compile.py` measures, by name; the only place there that knows swmjax's insides."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete

import envs_mjx

Program = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and the shapes, or arrays, that it is compiled for."""

BATCH = 64
"""Environments in a batch."""
CHECKPOINT = Path(__file__).parents[1] / "tests" / "golden" / "lewm_mini_hf4"
HORIZON, SAMPLES, STEPS = 5, 64, 3
PUSHT, ROUND = ("swm/PushT-v1", {}), ("swm/PushT-v1", {"agent_shapes": "circle"})
"""Round agents are what evaluations, benchmarks and planners use; all shapes are the default."""
ONE_HOT_SOLVERS = ("pgd", "categorical_cem")
HOST_SOLVERS = ("nevergrad",)
MADE_OF_OBJECTS = ("ask_tell", "composite", "grasp")
"""Their programs are those of the objects that they are made of."""


def reset(env_id: str, options: dict[str, Any]) -> Program:
    """Starts of a batch."""
    return jax.vmap(envs_mjx.make(env_id, **options).reset), (keys(),)


def step(env_id: str, options: dict[str, Any]) -> Program:
    """One control step of a batch."""
    env = envs_mjx.make(env_id, **options)
    actions = jax.ShapeDtypeStruct((BATCH, *env.action_space.shape), jnp.float32)
    return jax.vmap(env.step), (states(env), actions)


def render(env_id: str, options: dict[str, Any]) -> Program:
    """Frames of a batch."""
    env = envs_mjx.make(env_id, **options)
    return jax.vmap(env.render), (states(env),)


def keys() -> Any:
    """Shape of a batch of keys."""
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH))


def states(env: Any) -> Any:
    """Shapes of a batch of states."""
    return jax.eval_shape(jax.vmap(env.reset), keys())


def main_job() -> list[Program]:
    """What `swmjax eval` compiles when it is told nothing: PushT, CEM through its physics, 10 episodes a batch."""
    from swmjax.world import evaluation, load_settings, set_up

    config = load_settings()
    setup, size = set_up(config), config.batch_size
    if not hasattr(evaluation, "episodes_program"):
        return _main_job_of_release_0_1(config, setup)
    batch = evaluation.batch(range(size), size, False)
    return [(evaluation.episodes_program(config, setup), (setup.policy, setup.protocol, *batch))]


def _main_job_of_release_0_1(config: Any, setup: Any) -> list[Program]:
    """The episodes, one plan to be timed, and the frames of the video: of the goals and of an episode."""
    from swmjax.world import evaluation
    from swmjax.world.episodes import start_states

    seeds, problems = evaluation._batch(config, setup, [0], 1)
    drawn = jax.eval_shape(lambda: start_states(setup.env, seeds, config.goal_offset, problems))

    def plan(weights: Any, seeds: Any, states: Any, goal_states: Any) -> Any:
        policy = setup.policy(weights)
        return policy.plan(policy.init(seeds, goal_states), states).actions

    def frames(states: Any) -> Any:
        return jax.lax.map(setup.env.render, states)

    def shown(count: int) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), drawn[0])

    episodes = evaluation._episodes_program(config, setup)
    return [
        (episodes, (setup.weights, *evaluation._batch(config, setup, range(config.batch_size), config.batch_size))),
        (plan, (setup.weights, seeds, *drawn)),
        (frames, (shown(config.video_episodes),)),
        (frames, (shown(config.budget + 1),)),
    ]


def lewm_plan() -> Program:
    """A CEM plan with a LeWM, from frames to actions."""
    from swmjax.checkpoints import load_pretrained
    from swmjax.planning import CEMSolver, GoalMSE, encode_problems, solve_batch

    try:
        from swmjax.planning import model_cost
    except ImportError:  # Its name in release 0.1.
        from swmjax.planning import latent_cost as model_cost

    model = load_pretrained(CHECKPOINT)
    size, actions = model.config.encoder.image_size, model.config.action_encoder.input_dim
    space = Box(-1.0, 1.0, (actions,), np.float32)
    solver = CEMSolver(num_samples=SAMPLES, n_steps=STEPS, topk=8)

    def plan(model: Any, pixels: Any, goal: Any, key: Any) -> Any:
        problems = encode_problems(model, pixels, goal, jnp.zeros((1, 0, actions)))
        return solve_batch(solver, model_cost(model, GoalMSE()), problems, space, key, HORIZON).actions

    frame = jax.ShapeDtypeStruct((1, 1, 3, size, size), jnp.float32)
    return plan, (model, frame, frame, jax.eval_shape(lambda: jax.random.key(0)))


def solver_plan(name: str) -> Program:
    """A plan of a solver on the squared length of the actions."""
    from swmjax.planning import make_solver, solve

    solver = make_solver(name)
    space = Discrete(3) if name in ONE_HOT_SOLVERS else Box(-1.0, 1.0, (2,), np.float32)

    def plan(key: Any) -> Any:
        return solve(solver, lambda actions: (actions**2).sum((1, 2)), space, key, HORIZON).actions

    return plan, (jax.eval_shape(lambda: jax.random.key(0)),)


def programs() -> dict[str, Callable[[], Program | list[Program]]]:
    """What makes each program; a list of them for what compiles several."""
    from swmjax.planning import SOLVERS

    suite = [(f"{name}-step", f"swm/{name.capitalize()}DMControl-v0") for name in ("cartpole", "walker", "humanoid")]
    left_out = (*MADE_OF_OBJECTS, *HOST_SOLVERS)
    return {
        **{f"pusht-{part.__name__}": partial(part, *PUSHT) for part in (reset, step, render)},
        **{f"pusht-round-{part.__name__}": partial(part, *ROUND) for part in (reset, step, render)},
        "eval": main_job,
        "tworoom-step": partial(step, "swm/TwoRoom-v1", {}),
        **{name: partial(step, env_id, {"impl": "jax"}) for name, env_id in suite},
        "lewm-plan": lewm_plan,
        **{f"solver-{name}": partial(solver_plan, name) for name in SOLVERS if name not in left_out},
    }
