"""The dm_control side of envs.py: every task of the control suite in one process, and its physics alone in batches."""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import mujoco
import numpy as np
from dm_control import suite
from mujoco import rollout
from mujoco.batch import Batch

sys.path[0] = str(Path(__file__).parents[1] / "tests")
from suite_fields import forget_removed_arrays  # noqa: E402

forget_removed_arrays()


def measure(env, settings: dict) -> dict[str, list[float]]:
    """Seconds of control steps, without resets."""
    generator, spec = np.random.default_rng(0), env.action_spec()
    steps = []
    for repeat in range(settings["repeats"] + 1):
        seconds = 0.0
        for _ in range(settings["episodes"]):
            env.reset()
            actions = generator.uniform(spec.minimum, spec.maximum, (settings["episode_steps"], *spec.shape))
            start = time.perf_counter()
            for action in actions:
                env.step(action)
            seconds += time.perf_counter() - start
        # The first round warms up.
        if repeat:
            steps.append(seconds)
    return {"steps": steps}


def measure_batches(env, settings: dict) -> list:
    """What moves the physics, the size of a batch, and seconds and CPU seconds of calls of some control steps."""
    model, substeps, steps = env.physics.model.ptr, env._n_sub_steps, settings["batch_steps"]
    generator, found, stage = np.random.default_rng(0), [], int(mujoco.mjtStage.mjSTAGE_VEL)
    low, high = model.actuator_ctrlrange.T
    threads = os.cpu_count() or 1
    with rollout.Rollout(nthread=threads) as pool:
        datas = [mujoco.MjData(model) for _ in range(threads)]
        for size in settings["batches"]:
            batch = Batch(model, size)
            batch.reset()
            states = np.tile(np.concatenate([[0.0], env.physics.get_state()]), (size, 1))

            def stepped(controls, batch=batch):
                for step in range(steps):
                    batch.bind("ctrl")[:] = controls[:, step]
                    batch.step(nstep=substeps, stage=stage)

            def rolled(controls, size=size, states=states):
                pool.rollout([model] * size, datas, states, np.repeat(controls, substeps, axis=1))

            for name, call in (("Batch.step", stepped), ("mujoco.rollout", rolled)):
                seconds, work = [], []
                for _ in range(settings["repeats"] + 1):
                    controls = generator.uniform(low, high, (size, steps, model.nu))
                    start, begun = time.perf_counter(), time.process_time()
                    call(controls)
                    seconds.append(time.perf_counter() - start)
                    work.append(time.process_time() - begun)
                # The first call warms up.
                found.append([name, size, seconds[1:], work[1:]])
    return found


def main(folder: Path) -> None:
    """Time every task that was asked for."""
    settings = json.loads((folder / "settings.json").read_text())
    figures = {}
    for env_id, (domain, task) in settings["envs"].items():
        env = suite.load(domain, task, task_kwargs={"random": 0})
        figures[env_id] = measure(env, settings) | {"without_jax": measure_batches(env, settings)}
    versions = ", ".join(f"{name} {version(name)}" for name in ("dm-control", "mujoco"))
    (folder / "result.json").write_text(json.dumps({"envs": figures, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
