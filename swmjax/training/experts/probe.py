"""Whether there is anything to learn: random actions before a training, until a step has a reward."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from envs_mjx import State
from envs_mjx.checks import UserError
from swmjax.runs.telling import Note, Progress, silent
from swmjax.runs.watched import watched
from swmjax.training.experts.config import ExpertConfig
from swmjax.training.experts.env import TrainingEnv

_ENVIRONMENTS = 16
"""Side by side."""


def check_reward(config: ExpertConfig, progress: Progress = silent, note: Note = silent) -> None:
    """Refuse a training whose rewards are all 0, as far as `probe_steps` steps of random actions can tell.

    Args:
        config: Settings.
        progress: Told the stage and the steps so far.
        note: Told what the user should read at once.

    Raises:
        Stopped: The user stopped it.
        UserError: No step had a reward.
    """
    if config.probe_steps and not _meets_reward(config, progress, note):
        raise UserError(
            f"{config.env} gave the reward 0 in {config.probe_steps:,} steps of random actions, from which no expert "
            "learns anything; take another environment or task, or --set probe_steps=0 where rewards are only rare"
        )


def _meets_reward(config: ExpertConfig, progress: Progress, note: Note) -> bool:
    env, steps = config.make_env(), config.probe_steps
    start_key, key = jax.random.split(jax.random.key(config.seed))
    with watched(progress, note) as run:
        begin, _ = run.compile("compiling random actions", _begin, env, start_key)
        states = run.finish(begin, start_key)
        step, _ = run.compile("compiling random actions", _step, env, states, key)
        for i in range(-(-steps // _ENVIRONMENTS)):
            states, met = run.finish(step, states, jax.random.fold_in(key, i))
            if met:
                return True
            run.done = min((i + 1) * _ENVIRONMENTS, steps)
            run.show("looking for a reward")
            run.leave_if_asked()
    return False


@functools.partial(jax.jit, static_argnums=0)
def _begin(env: TrainingEnv, key: Key[Array, ""]) -> State:
    return env.reset(jax.random.split(key, _ENVIRONMENTS))


@functools.partial(jax.jit, static_argnums=0)
def _step(env: TrainingEnv, states: State, key: Key[Array, ""]) -> tuple[State, Bool[Array, ""]]:
    actions = jax.random.uniform(key, (_ENVIRONMENTS, env.action_size), jnp.float32, -1.0, 1.0)
    states, experience = env.step(states, actions)
    return states, ((experience.reward != 0.0) & ~jnp.isnan(experience.reward)).any()
