"""Record the MuJoCo environments of the reference: `mujoco_DOMAIN.npz`.

    python tests/golden/make_mujoco_goldens.py SITE_PACKAGES [DOMAIN ...]

Run with a Python that has dm_control and gymnasium; `SITE_PACKAGES` is the folder with the released reference
(stable-worldmodel 0.1.1), of which only the `dmcontrol` environments and the spaces are imported, so that torch is not
needed. With `MUJOCO_GL=egl` frames are recorded too.
"""

import functools
import importlib
import inspect
import operator
import os
import sys
import types
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from suite_fields import forget_removed_arrays

forget_removed_arrays()

FOLDER = Path(__file__).parent
ROWS = 8
RESETS = 300
CLASSES = {
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
# Where the reference buries its robot in the floor.
KEPT = {"walker": ("floor.rotation_y",)}


def load(site_packages: str, domain: str) -> types.ModuleType:
    """The reference's module of a domain, without running the packages around it."""
    root = Path(site_packages) / "stable_worldmodel"
    # Behind everything else, for the reference's small dependencies.
    sys.path.append(site_packages)
    for name in ("", ".envs", ".envs.dmcontrol"):
        package = sys.modules.setdefault(f"stable_worldmodel{name}", types.ModuleType(f"stable_worldmodel{name}"))
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    reduced = functools.partial(functools.reduce, operator.getitem)
    sys.modules["stable_worldmodel"].utils = types.SimpleNamespace(get_in=lambda node, path: reduced(path, node))
    sys.modules["stable_worldmodel"].spaces = importlib.import_module("stable_worldmodel.spaces")
    return importlib.import_module(f"stable_worldmodel.envs.dmcontrol.{domain}")


def factor_names(space, prefix=""):
    """Dotted names of the factors."""
    for name, part in space.spaces.items():
        if hasattr(part, "spaces"):
            yield from factor_names(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def factor(space, name):
    for part in name.split("."):
        space = space[part]
    return space


def target_of(domain: str, physics) -> np.ndarray:
    """Where the target is; the reference keeps it in the model."""
    model = physics.named.model
    if domain == "reacher":
        return model.geom_pos["target", :2].copy()
    if domain == "finger":
        return model.site_pos["target"][[0, 2]].copy()
    if domain == "manipulator":
        return np.concatenate([model.body_pos["target_ball"], model.body_quat["target_ball"]])
    return np.zeros(0)


def aim(domain: str, physics, target: np.ndarray) -> None:
    model = physics.named.model
    if domain == "reacher":
        model.geom_pos["target", :2] = target
    if domain == "finger":
        model.site_pos["target", ["x", "z"]] = target
    if domain == "manipulator":
        model.body_pos["target_ball"], model.body_quat["target_ball"] = target[:3], target[3:]


def put(env, domain: str, row: dict) -> None:
    """Bring an environment to a recorded state."""
    env.reset(seed=0, options={"variation": [], "variation_values": row["factors"]})
    physics = env.env.physics
    aim(domain, physics, row["target"])
    with_act = physics.model.na
    if with_act:
        physics.data.act[:] = row["act"]
    physics.data.ctrl[:] = row["ctrl"]
    physics.data.qpos[:], physics.data.qvel[:] = row["qpos"], row["qvel"]
    physics.forward()


def record(site_packages: str, domain: str) -> dict[str, np.ndarray]:
    """Single steps from states on random walks, their rewards under every task, and starts of episodes."""
    module = load(site_packages, domain)
    make = getattr(module, f"{CLASSES[domain]}DMControlWrapper")
    tasks = getattr(module, "_TASKS", None)
    rng = np.random.default_rng(zlib_seed(domain))
    if tasks:
        # The default first.
        default = inspect.signature(make).parameters["task"].default
        tasks = sorted(tasks, key=lambda task: task != default)
    envs = {task: make(task=task, seed=0) for task in tasks} if tasks else {"": make(seed=0)}
    first = next(iter(envs.values()))
    space, names = first.variation_space, list(factor_names(first.variation_space))
    rows = []
    for index in range(ROWS):
        values = {name: np.asarray(factor(space, name).init_value) for name in names}
        if index >= ROWS // 2:
            for name in names:
                if name not in KEPT.get(domain, ()):
                    part = factor(space, name)
                    part.seed(int(rng.integers(2**31)))
                    values[name] = np.asarray(part.sample())
        first.reset(seed=index, options={"variation": [], "variation_values": values})
        physics, held = first.env.physics, None
        for step in range(100):
            # Held for a while, so that something moves; every other row ends in touch with something if that happens.
            held = rng.uniform(-1, 1, first.action_space.shape) if step % 5 == 0 else held
            first.step(held)
            if step >= 4 * (index % (ROWS // 2)) and (index % 2 == 0 or physics.data.ncon):
                break
        row = {
            "factors": values,
            "qpos": physics.data.qpos.copy(),
            "qvel": physics.data.qvel.copy(),
            "act": physics.data.act.copy(),
            "ctrl": physics.data.ctrl.copy(),
            "target": target_of(domain, physics),
            "action": rng.uniform(-1, 1, first.action_space.shape).astype(np.float32),
        }
        rewards = []
        for env in envs.values():
            put(env, domain, row)
            before = env._obs_to_array(env.env.task.get_observation(env.env.physics))
            if env is first and os.environ.get("MUJOCO_GL") and index in (0, ROWS - 1):
                row["frame"] = env.render()
            obs, reward, _, _, info = env.step(row["action"])
            rewards.append(reward)
            if env is first:
                row |= {"obs_before": before, "obs": obs, "next_qpos": info["qpos"], "next_qvel": info["qvel"]}
                extras = [key for key in info if key not in ("env_name", "qpos", "qvel", "score")]
                row |= {f"info.{key}": np.asarray(info[key]) for key in extras if np.isfinite(info[key]).all()}
        rows.append(row | {"rewards": np.asarray(rewards)})
    resets, targets = [], []
    first.reset(seed=0, options={"variation": []})
    first.env.task._random = np.random.RandomState(1)
    for _ in range(RESETS):
        first.env.reset()
        data = first.env.physics.data
        resets.append(np.concatenate([data.qpos, data.qvel]))
        targets.append(target_of(domain, first.env.physics))
    kept = [key for key in rows[0] if key not in ("factors", "frame")]
    found = {key: np.stack([row[key] for row in rows]) for key in kept}
    found |= {f"factor.{name}": np.stack([row["factors"][name] for row in rows]) for name in names}
    found |= {"resets": np.float32(resets), "reset_targets": np.float32(targets), "tasks": np.asarray(list(envs))}
    if "frame" in rows[0]:
        found["frames"] = np.stack([rows[0]["frame"], rows[-1]["frame"]])
    return found


def zlib_seed(domain: str) -> int:
    return sum(map(ord, domain))


def main() -> None:
    site_packages, *domains = sys.argv[1:]
    for domain in domains or CLASSES:
        found = record(site_packages, domain)
        path = FOLDER / f"mujoco_{domain}.npz"
        np.savez_compressed(path, **found)
        print(f"{path.name}: {path.stat().st_size // 1024} KiB, tasks {', '.join(found['tasks'])}")


if __name__ == "__main__":
    main()
