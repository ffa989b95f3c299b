"""The installed dm_control on MuJoCo's C code: single steps from the same states, and episodes of its own."""

import dataclasses
import importlib
import os
import time
import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from envs.mujoco import recorded
from envs.mujoco.varied import varied_model
from scipy import stats

# It renders nothing here, and would warn where there is no display.
with mock.patch.dict(os.environ, {"MUJOCO_GL": "disable"}):
    from dm_control import mujoco, suite
    from suite_fields import forget_removed_arrays

forget_removed_arrays()

# Where the reference buries its robot in the floor.
KEPT = {"walker": ("floor.rotation_y",)}


def suite_tasks(env, seed):
    """Tasks of dm_control by name; the reference's own ones are not among them."""
    known = {task for domain, task in suite.ALL_TASKS if domain == env.domain}
    return {task: suite.load(env.domain, task, {"random": seed}).task for task in env.tasks if task in known}


def suite_physics(env):
    """dm_control's class of the domain's physics."""
    return importlib.import_module(f"dm_control.suite.{env.domain}").Physics


def reference_tasks(env, site_packages):
    """All tasks of the reference by name, and its class of the domain's physics.

    Leaves `sys.path` and the reference's modules for the caller to put back.
    """
    from golden import make_mujoco_goldens as script

    wrapper = getattr(script.load(str(site_packages), env.domain), f"{script.CLASSES[env.domain]}DMControlWrapper")
    wrappers = {task: wrapper(task=task, seed=0) for task in env.tasks}
    for made in wrappers.values():
        # The folder with its MJCF, which the reference leaves to the garbage collector, and that warns.
        made._mjcf_tempdir.cleanup()
    envs = {task: made.env for task, made in wrappers.items()}
    return {task: found.task for task, found in envs.items()}, type(next(iter(envs.values())).physics)


def physics_of(env, factors, kind):
    """Physics of dm_control on the varied model."""
    return kind.from_model(mujoco.wrapper.MjModel(varied_model(env, factors)))


def begin(physics, task):
    """Start an episode of a task."""
    with physics.reset_context():
        task.initialize_episode(physics)


def rest(env, factors, physics):
    """Stop a locked joint, as every step of the environment begins."""
    if hasattr(env, "lock") and env.fixed and factors[env.lock[0]]:
        physics.named.data.qvel[env.lock[1]] = 0


def flat(observation):
    """An observation as the environments concatenate it."""
    return np.concatenate([np.ravel(value) for value in observation.values()])


def target_of(domain, physics):
    """Where the target is; dm_control keeps it in the model."""
    model = physics.named.model
    if domain == "reacher":
        return model.geom_pos["target", :2].copy()
    if domain == "finger":
        return model.site_pos["target"][[0, 2]].copy()
    if domain == "manipulator":
        return np.concatenate([model.body_pos["target_ball"], model.body_quat["target_ball"]])
    return np.zeros(0)


def scaled(physics, action):
    """Controls of an action from -1 to 1."""
    low, high = physics.model.actuator_ctrlrange.T
    return low + (action + 1) / 2 * (high - low)


def varied_factors(env, rng, vary):
    """Factors by name, nominal or all drawn."""
    found = {}
    for name in env.variation_space.names():
        space = env.variation_space.factor(name)
        space.seed(int(rng.integers(2**31)))
        drawn = vary and (env.fixed or name not in KEPT.get(env.domain, ()))
        found[name] = np.asarray(space.sample() if drawn else space.init_value)
    return found


def rows_of(env, seed, count, more_tasks=None, kind=None, walked=20):
    """States, and two control steps from each, in C, with the rewards of dm_control's tasks and of further ones.

    A third of the rows has the nominal model, the others have all factors drawn. Every other row starts where an
    episode starts, the rest after `walked` random steps of the environment.
    """
    rng = np.random.default_rng(seed)
    tasks, kind = suite_tasks(env, seed), kind or suite_physics(env)
    first, rows = tasks[env.task], []
    alone = recorded.ALONE.get(env.domain, ())
    tasks = {env.task: first} if env.task in alone else (more_tasks or {}) | tasks
    tasks = {name: task for name, task in tasks.items() if name == env.task or name not in alone}
    for index in range(count):
        factors = varied_factors(env, rng, vary=index % 3 != 0)
        physics = physics_of(env, factors, kind)
        begin(physics, first)
        for _ in range(walked * (index // 3 % 2)):
            physics.set_control(scaled(physics, rng.uniform(-1, 1, physics.model.nu)))
            physics.step(2 * env.substeps)
        rest(env, factors, physics)
        physics.forward()
        action = rng.uniform(-1, 1, physics.model.nu).astype(np.float32)
        data = physics.data
        row = {name: getattr(data, name).copy() for name in ("qpos", "qvel", "act", "ctrl")}
        row |= {"action": action, "target": target_of(env.domain, physics), "factors": factors}
        after = []
        for _ in range(2):
            rest(env, factors, physics)
            physics.set_control(scaled(physics, action.astype(float)))
            physics.step(env.substeps)
            observed = flat(first.get_observation(physics))
            rewards = {name: np.asarray(judged(task, physics)) for name, task in tasks.items()}
            after.append({"qpos": data.qpos.copy(), "qvel": data.qvel.copy(), "obs": observed, "reward": rewards})
        row["after"] = jax.tree.map(lambda *leaves: np.stack(leaves), *after)
        rows.append(row)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def judged(task, physics):
    """A task's reward, for its own radius of the target, which it keeps in the model."""
    places = {"_target_size": physics.model.geom_size, "_target_radius": physics.model.site_size}
    for name, place in places.items():
        if hasattr(task, name):
            kept = place.copy()
            named = physics.named.model.geom_size if name == "_target_size" else physics.named.model.site_size
            named["target", 0] = getattr(task, name)
            reward = task.get_reward(physics)
            place[:] = kept
            return reward
    return task.get_reward(physics)


def single(env):
    """The same environment with one control step per step."""
    kind = types.new_class("Single", (type(env),), exec_body=lambda body: body.update(action_repeat=1))
    return kind(**{field.name: getattr(env, field.name) for field in dataclasses.fields(env)})


def replayed(env, rows, tasks):
    """The same two control steps in MJX: positions, velocities, observations and rewards by task."""
    one = single(env)
    others = {task: dataclasses.replace(env, task=task) for task in tasks}

    def play(row):
        fields = env._fields(row["factors"])
        vector = {name: row[name] for name in ("qpos", "qvel", "act", "ctrl", "target")}
        physics = env._blank().replace(fields=fields, **vector)
        goal = jnp.full((env._state_size,), jnp.nan)

        def control_step(physics, _):
            after, seen, rewards, _ = one._walk(
                physics,
                goal,
                row["action"],
                lambda view: {task: other._reward(view) for task, other in others.items()},
                lambda view: {"qpos": view.qpos, "qvel": view.qvel, "obs": env._observe(view)},
            )
            return after, seen | {"reward": rewards}

        return jax.lax.scan(control_step, physics, None, 2)[1]

    float_dtype = jnp.result_type(float)
    given = {name: jnp.asarray(rows[name], float_dtype) for name in ("qpos", "qvel", "act", "ctrl", "target")}
    given["action"] = jnp.asarray(rows["action"])
    given["factors"] = {
        name: jnp.asarray(value, env.variation_space.factor(name)._traced_dtype())
        for name, value in rows["factors"].items()
    }
    return jax.device_get(jax.jit(jax.vmap(play))(given))


def differences(env, rows):
    """Largest differences from dm_control after one control step and after both, by quantity.

    Positions and observations relative above 1, rewards absolute.
    """
    theirs = rows["after"]
    ours = replayed(env, rows, tuple(theirs["reward"]))
    found = {}
    for label, steps in (("control", slice(0, 1)), ("env", slice(1, 2))):
        cut = lambda leaf, steps=steps: np.asarray(leaf)[:, steps]  # noqa: E731
        found[label] = {
            "physics": max(recorded.apart(cut(ours[name]), cut(theirs[name])) for name in ("qpos", "qvel")),
            "obs": recorded.apart(cut(ours["obs"]), cut(theirs["obs"])),
        } | {
            f"reward.{name}": float(np.abs(cut(ours["reward"][name]) - cut(theirs["reward"][name])).max())
            for name in theirs["reward"]
        }
    return found


# What is looked at in an episode's positions [T, nq] and velocities [T, nv].
COORDINATES = {
    "acrobot": {"elbow speed": lambda q, v: np.abs(v[:, 1]).mean()},
    "ball_in_cup": {"ball height": lambda q, v: q[:, 3].mean(), "cup speed": lambda q, v: np.abs(v[:, 0]).mean()},
    "cartpole": {"cart": lambda q, v: np.abs(q[:, 0]).mean(), "pole speed": lambda q, v: np.abs(v[:, 1]).mean()},
    "cheetah": {
        "height": lambda q, v: q[:, 1].mean(),
        "way": lambda q, v: q[-1, 0],
        "last height": lambda q, v: q[-1, 1],
    },
    "finger": {"spin": lambda q, v: np.abs(v[:, 2]).mean(), "finger speed": lambda q, v: np.abs(v[:, 0]).mean()},
    "hopper": {"height": lambda q, v: q[:, 1].mean(), "way": lambda q, v: q[-1, 0]},
    "humanoid": {"height": lambda q, v: q[:, 2].mean(), "way": lambda q, v: q[-1, 0]},
    "manipulator": {"ball height": lambda q, v: q[:, 9].mean(), "arm speed": lambda q, v: np.abs(v[:, 0]).mean()},
    "pendulum": {"speed": lambda q, v: np.abs(v[:, 0]).mean()},
    "quadruped": {"height": lambda q, v: q[:, 2].mean(), "way": lambda q, v: np.hypot(*q[-1, :2])},
    "reacher": {"shoulder speed": lambda q, v: np.abs(v[:, 0]).mean(), "wrist": lambda q, v: np.abs(q[:, 1]).mean()},
    "walker": {"height": lambda q, v: q[:, 0].mean(), "way": lambda q, v: q[-1, 1]},
}


def drawn_actions(env, seed, episodes, steps, held=5):
    """Uniform actions that are held for some steps."""
    rng = np.random.default_rng(seed)
    changes = rng.uniform(-1, 1, (episodes, -(-steps // held), *env.action_space.shape))
    return np.repeat(changes, held, axis=1)[:, :steps].astype(np.float32)


def summaries(env, qpos, qvel, rewards):
    """One number per episode of every quantity; arrays have the axes episode, step, entry."""
    found = {"return": rewards.sum(1), "speed": np.log(np.sqrt((qvel**2).mean((1, 2))))}
    for name, judge in COORDINATES[env.domain].items():
        found[name] = np.asarray([judge(q, v) for q, v in zip(qpos, qvel, strict=True)])
    return found


def suite_episodes(env, seed, episodes, steps, changed=None):
    """Episodes of dm_control with the nominal model, or with some factors changed."""
    factors = {name: np.asarray(env.variation_space.factor(name).init_value) for name in env.variation_space.names()}
    task = suite_tasks(env, seed)[env.task]
    physics = physics_of(env, factors | (changed or {}), suite_physics(env))
    qpos, qvel, rewards = [], [], []
    for actions in drawn_actions(env, seed, episodes, steps):
        begin(physics, task)
        for action in actions:
            total = 0.0
            physics.set_control(scaled(physics, action.astype(float)))
            for _ in range(2):
                physics.step(env.substeps)
                total += float(task.get_reward(physics))
            qpos.append(physics.data.qpos.copy())
            qvel.append(physics.data.qvel.copy())
            rewards.append(total)
    shape = (episodes, steps)
    return summaries(env, *(np.asarray(found).reshape(*shape, *np.shape(found[0])) for found in (qpos, qvel, rewards)))


def our_episodes(env, seed, episodes, steps):
    """Episodes in MJX, and the CPU time of a second call of the compiled program, s."""
    actions = jnp.asarray(drawn_actions(env, seed, episodes, steps))

    def play(key, actions):
        def step(state, action):
            state = env.step(state, action)
            return state, (state.physics.qpos, state.physics.qvel, state.reward)

        return jax.lax.scan(step, env.reset(key), actions)[1]

    keys = jax.random.split(jax.random.key(seed), episodes)
    program = jax.jit(jax.vmap(play))
    found = jax.device_get(program(keys, actions))
    start = time.process_time()
    jax.block_until_ready(program(keys, actions))
    return summaries(env, *found), time.process_time() - start


def told_apart(ours, theirs):
    """p values of Kolmogorov-Smirnov by quantity; rounded, since the same is computed in another order."""
    return {name: float(stats.ks_2samp(ours[name].round(5), theirs[name].round(5)).pvalue) for name in ours}
