"""Recorded single steps of the reference, replayed in MJX by one program per domain."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import envs_mjx

# Tasks that change the physics, and so need a program of their own.
ALONE = {"finger": ("spin",)}

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = {
    "pendulum": "Pendulum",
    "cartpole": "Cartpole",
    "acrobot": "Acrobot",
    "reacher": "Reacher",
    "ball_in_cup": "BallInCup",
    "cheetah": "Cheetah",
    "hopper": "Hopper",
    "walker": "Walker",
    "finger": "Finger",
    "humanoid": "Humanoid",
    "quadruped": "Quadruped",
    "manipulator": "Manipulator",
}


def make(domain, **kwargs):
    return envs_mjx.make(f"swm/{NAMES[domain]}DMControl-v0", **kwargs)


def golden(domain):
    with np.load(GOLDEN / f"mujoco_{domain}.npz") as file:
        return dict(file)


def factors_of(recorded):
    return {key.removeprefix("factor."): value for key, value in recorded.items() if key.startswith("factor.")}


def replayed(env, recorded):
    """The recorded rows in MJX: observation before, then one step with the rewards of all tasks.

    Returns:
        Observation before, positions, velocities, observation, info, and rewards by task, with a leading axis of rows.
    """
    alone = ALONE.get(env.domain, ())
    same = (env.task,) if env.task in alone else [task for task in env.tasks if task not in alone]
    tasks = {task: dataclasses.replace(env, task=task) for task in same}

    def play(row):
        values = {name: row[f"factor.{name}"] for name in env.variation_space.names()}
        vector = jnp.concatenate([row["qpos"], row["qvel"]])
        options = {"state": vector} | ({"target": row["target"]} if env.target_size else {})
        state = env.reset(jax.random.key(0), values=values, options=options)
        state = state.replace(physics=state.physics.replace(ctrl=row["ctrl"], act=row["act"]))
        before = env.set_state(state, vector)
        after, shown, rewards, _ = env._walk(
            before.physics,
            before.goal,
            row["action"],
            lambda view: {task: other._reward(view) for task, other in tasks.items()},
            env._shown,
        )
        return before.obs["observation"], after.qpos, after.qvel, shown["obs"]["observation"], shown["info"], rewards

    float_dtype = jnp.result_type(float)
    keys = ("qpos", "qvel", "act", "ctrl", "target", "action")
    rows = {key: jnp.asarray(recorded[key], float_dtype) for key in keys}
    for name, value in factors_of(recorded).items():
        rows[f"factor.{name}"] = jnp.asarray(value, env.variation_space.factor(name)._traced_dtype())
    rows["action"] = rows["action"].astype(jnp.float32)
    return jax.device_get(jax.jit(jax.vmap(play))(rows))


def differences(env, recorded):
    """Largest differences from the reference by quantity; observations and velocities relative above 1."""
    before, qpos, qvel, observation, info, rewards = replayed(env, recorded)
    for task in ALONE.get(env.domain, ()):
        rewards |= replayed(dataclasses.replace(env, task=task), recorded)[-1]
    found = {
        "obs_before": apart(before, recorded["obs_before"]),
        "qpos": apart(qpos, recorded["next_qpos"]),
        "qvel": apart(qvel, recorded["next_qvel"]),
        "obs": apart(observation, recorded["obs"]),
    }
    order = [str(task) for task in recorded["tasks"]]
    for column, task in enumerate(order):
        found[f"reward.{task or env.task}"] = apart(rewards[task or env.task], recorded["rewards"][:, column])
    for key in recorded:
        if key.startswith("info."):
            found[key] = apart(info[key.removeprefix("info.")], recorded[key])
    return found


def apart(ours, theirs):
    theirs = np.asarray(theirs, np.float64)
    return float((np.abs(np.asarray(ours, np.float64) - theirs) / np.maximum(1.0, np.abs(theirs))).max())


def states(env, recorded, rows):
    """States of some of the recorded rows, batched."""

    def start(values, vector, target):
        options = {"state": vector} | ({"target": target} if env.target_size else {})
        return env.reset(jax.random.key(0), values=values, options=options)

    rows = list(rows)
    values = {
        name: jnp.asarray(value[rows], env.variation_space.factor(name)._traced_dtype())
        for name, value in factors_of(recorded).items()
    }
    vectors = jnp.asarray(np.concatenate([recorded["qpos"], recorded["qvel"]], axis=1)[rows])
    return jax.jit(jax.vmap(start))(values, vectors, jnp.asarray(recorded["target"][rows]))
