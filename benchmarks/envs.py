"""Control steps per second, state only, in batches here and in one process of the reference; frames as well.

    python benchmarks/envs.py --reference-python DIR/bin/python [--envs PushT-v1,TwoRoom-v1,...]
    python benchmarks/envs.py --suite [--impl jax,c] [--envs CheetahDMControl-v0,...]

The second form measures the control suite in MJX and in MuJoCo's C library, beside dm_control in one process, and
beside `mujoco.batch` and `mujoco.rollout` without JAX on the same threads.

JAX is imported after the options are read, because the number of host devices is fixed by then.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import NOT_MEASURED, Report, Timing, exchange_folder, machine, progress, run_reference
from env_timing import Figures, time_frames, time_steps

STEPS_PER_CALL = 20
EPISODE_STEPS = 100
"""Steps of the reference between two resets; here the warm calls go on from each other for as long."""
ENVS = (
    "swm/PushT-v1",
    "swm/TwoRoom-v1",
    "swm/CartPoleControl-v1",
    "swm/MountainCarControl-v0",
    "swm/MountainCarContinuousControl-v0",
    "swm/AcrobotControl-v1",
    "swm/PendulumControl-v1",
)

STARTS = 64
"""Different starts in a batch of the control suite."""
OPTIONS = {"swm/PushT-v1": {"agent_shapes": "circle"}}
"""Constructor arguments here; by default both sides have round agents, and then programs need only those."""


def main() -> None:
    """Run the reference, then swmjax, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument("--batches", type=sizes, help="default 1,64,1024,4096,16384; with --suite 1,64,1024,8192")
    parser.add_argument("--envs", type=ids, help=f"default {','.join(ENVS)}; with --suite its twelve domains")
    parser.add_argument("--suite", action="store_true", help="the control suite instead")
    parser.add_argument("--impl", default="jax,c", help="with --suite, implementations of the physics: jax, c, warp")
    parser.add_argument("--fidelity", default="parity", help="with --suite: parity, fast")
    parser.add_argument("--steps", type=int, help=f"steps per call (default {STEPS_PER_CALL}; with --suite 4)")
    parser.add_argument("--limit", type=float, default=60.0, help="leave out batches whose call takes longer, s")
    parser.add_argument("--render-batch", type=int, default=64, help="frames per call (default 64)")
    parser.add_argument("--host-devices", type=int, help="CPU devices to share a batch (default 2; --suite 1)")
    parser.add_argument("--repeats", type=int, default=EPISODE_STEPS // STEPS_PER_CALL, help="timed warm calls")
    parser.add_argument("--quick", action="store_true", help="one tiny batch, few steps: shows that it works")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    # On several devices of one CPU, factorisations of jaxlib wait for each other.
    arguments.host_devices = arguments.host_devices if arguments.host_devices is not None else 2 - arguments.suite
    if min(arguments.repeats, arguments.host_devices, arguments.render_batch) < 1:
        parser.error("--repeats, --host-devices and --render-batch must be at least 1")
    arguments.batches = arguments.batches or ((1, 64, 1024, 8192) if arguments.suite else (1, 64, 1024, 4096, 16384))
    arguments.envs = arguments.envs or (suite_ids() if arguments.suite else ENVS)
    mixed = [env_id for env_id in arguments.envs if (env_id in suite_ids()) != arguments.suite]
    if mixed:
        parser.error(f"{', '.join(mixed)}: {'not in the control suite' if arguments.suite else 'needs --suite'}")
    steps, episodes, frames = arguments.steps or (4 if arguments.suite else STEPS_PER_CALL), 10, 100
    if arguments.quick:
        arguments.batches, arguments.render_batch, steps, episodes, frames = (4,), 2, 2, 1, 5
    # Only the CPU platform reads this flag.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={arguments.host_devices}"
    os.environ["XLA_FLAGS"] = flags.strip()

    report = Report(arguments.output)
    settings = {
        "envs": arguments.envs,
        "repeats": arguments.repeats,
        "episodes": episodes,
        "episode_steps": EPISODE_STEPS,
        "frames": frames,
        "batches": list(arguments.batches),
        "batch_steps": steps,
    }
    with exchange_folder() as name:
        if arguments.suite:
            settings["envs"] = {env_id: suite_task(env_id) for env_id in arguments.envs}
            reference = run_reference(Path(sys.executable), "reference_suite.py", settings, Path(name))
        else:
            reference = run_reference(arguments.reference_python, "reference_envs.py", settings, Path(name))

    columns = ["", "of", "batch", "devices", "MiB", "compile s", "per second", "per CPU second", "ratio to reference"]
    for env_id in arguments.envs:
        kinds = arguments.impl.split(",") if arguments.suite else [""]
        measured = {}
        for kind in kinds:
            options = {"impl": kind, "fidelity": arguments.fidelity} if kind else OPTIONS.get(env_id, {})
            measured[f"swmjax {kind}".strip()] = measure(
                env_id, options, arguments.batches, arguments.render_batch, steps, arguments.repeats, arguments.limit
            )
        frame, physics = next(iter(measured.values()))[2:]
        labels = {"steps": "control steps", "frames": f"frames of {frame} px"}
        known = (reference or {}).get("envs", {}).get(env_id, {})
        without_jax = known.pop("without_jax", [])
        counts = {"steps": episodes * EPISODE_STEPS, "frames": frames}
        rates = {kind: (Timing(tuple(seconds)), counts[kind]) for kind, seconds in known.items()}
        rows = []
        for of, (stepping, rendering, _, _) in measured.items():
            rows += [row(labels["steps"], of, *figures, rates.get("steps")) for figures in stepping]
            rows += [row(labels["frames"], of, *figures, rates.get("frames")) for figures in rendering]
            left = [batch for batch in arguments.batches if batch not in {figures[0] for figures in stepping}]
            if left:
                report.line(f"{of}: left out, since a call would take more than {arguments.limit:g} s: batch {left}")
        for of, batch, seconds, work in without_jax:
            figures = (batch, 1, 0.0, 0.0, batch * steps, Timing(tuple(seconds), tuple(work)))
            rows.append(row(labels["steps"], of, *figures, rates.get("steps")))
        for kind, (timing, count) in rates.items():
            rows.append(
                [
                    labels[kind],
                    "reference",
                    "1",
                    "1 process",
                    NOT_MEASURED,
                    NOT_MEASURED,
                    timing.rates(count),
                    timing.rates_of_work(count),
                    "1.0x",
                ]
            )
        title = (
            f"{env_id}, random actions, float32, state only: {steps} steps per call, resets not counted\n"
            f"median (least..most) of {arguments.repeats} warm calls{physics}"
        )
        report.table(title, columns, rows)
    per_call = f"{episodes} episodes of {EPISODE_STEPS} steps per timed call, resets not counted."
    if not reference:
        report.without_reference(arguments.reference_python)
    elif arguments.suite:
        report.line(f"The reference is dm_control's task in one process of C MuJoCo (one core): {per_call}")
        report.line("Batch.step and mujoco.rollout move the physics alone, without observations, rewards and resets.")
    else:
        report.line(
            f"The reference steps its bare environment class (classic control: Gymnasium's) in one process (one core): "
            f"{per_call}"
        )
    report.facts("How it was measured", machine() | ({"reference": reference["versions"]} if reference else {}))
    report.close()


def suite_ids() -> tuple[str, ...]:
    """The domains of the control suite."""
    import envs_mjx

    return tuple(env_id for env_id in envs_mjx.registered_ids() if env_id.endswith("DMControl-v0"))


def suite_task(env_id: str) -> tuple[str, str]:
    """A domain's name in dm_control, and the task that it is measured with, the default one."""
    import envs_mjx

    env: Any = envs_mjx.make(env_id)
    return env.domain, env.task


def ids(text: str) -> tuple[str, ...]:
    """Environment ids separated by commas, each with or without a namespace."""
    import envs_mjx

    full = tuple(envs_mjx.full_id(part) for part in text.split(","))
    for name in full:
        envs_mjx.spec(name)
    return full


def sizes(text: str) -> tuple[int, ...]:
    """Batch sizes separated by commas."""
    values = tuple(int(part) for part in text.split(","))
    if min(values) < 1:
        raise ValueError("a batch holds at least one environment")
    return values


def row(
    label: str,
    of: str,
    batch: int,
    devices: int,
    mebibytes: float,
    compiled: float,
    count: int,
    timing: Timing,
    reference: tuple[Timing, int] | None,
) -> list[str]:
    """One line of the table; `count` things come out of a call."""
    ratio = NOT_MEASURED
    if reference:
        theirs, their_count = reference
        ratio = f"{(count / timing.median) / (their_count / theirs.median):.1f}x"
    return [
        label,
        of,
        str(batch),
        str(devices),
        f"{mebibytes:,.0f}",
        f"{compiled:.1f}",
        timing.rates(count),
        timing.rates_of_work(count),
        ratio,
    ]


def measure(
    env_id: str,
    options: dict[str, str],
    batches: Sequence[int],
    render_batch: int,
    steps: int,
    repeats: int,
    limit: float,
) -> tuple[list[Figures], list[Figures], str, str]:
    """Compile and time stepping for every batch, and rendering, on one device and on all.

    Returns:
        Figures of stepping and of rendering, the size of a frame, and what a step is in MuJoCo's steps.
    """
    import jax
    import jax.numpy as jnp

    import envs_mjx

    # Compile times are figures here, so programs must not come from a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    env: Any = envs_mjx.make(env_id, **options)
    repeat, physics = getattr(env, "action_repeat", 1), ""
    if hasattr(env, "substeps"):
        physics = f"; a control step is {env.substeps} of physics; {options['fidelity']}"
    progress(f"{env_id}: resets")
    largest = max(*batches, render_batch)
    # Some tasks let the physics settle before an episode: where that is dear, rows share starts.
    keys = jax.random.split(jax.random.key(0), min(largest, STARTS) if physics else largest)
    starts = jax.jit(jax.vmap(env.reset))(keys)

    def first(count: int) -> Any:
        rows = jnp.arange(count) % len(keys)
        return jax.jit(lambda states: jax.tree.map(lambda leaf: leaf[rows], states))(starts)

    devices = jax.devices()
    stepping: list[Figures] = []
    for batch in sorted(batches):
        for count in sorted({1, len(devices)}):
            known = [figures for figures in stepping if figures[1] == count]
            if known and known[-1][-1].median * batch / known[-1][0] > limit:
                continue
            if batch % count == 0:
                progress(f"{env_id}: batch {batch} on {count} device(s)")
                figures = time_steps(env, first(batch), batch, devices[:count], steps, repeats)
                stepping.append((*figures[:4], figures[4] * repeat, figures[5]))
    progress(f"{env_id}: frames")
    rendering = []
    # MuJoCo draws on the host, whatever the number of devices.
    for count in sorted({1, 1 if physics else len(devices)}):
        if render_batch % count == 0:
            rendering.append(time_frames(env, first(render_batch), render_batch, devices[:count], repeats))
    height, width = jax.eval_shape(env.render, jax.tree.map(lambda leaf: leaf[0], starts)).shape[:2]
    return stepping, rendering, f"{height} x {width}", physics


if __name__ == "__main__":
    main()
