"""Control steps per second, state only, in batches here and in one process of the reference; frames as well.

    python benchmarks/envs.py --reference-python DIR/bin/python [--envs PushT-v1,TwoRoom-v1,...]

JAX is imported after the options are read, because the number of host devices is fixed by then.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import NOT_MEASURED, Report, Timing, exchange_folder, machine, progress, run_reference, time_calls

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

Figures = tuple[int, int, float, float, int, Timing]
"""Batch, devices, memory of the program on one device in MiB, seconds of compilation, things per call, timing."""
OPTIONS = {"swm/PushT-v1": {"agent_shapes": "circle"}}
"""Constructor arguments here; by default both sides have round agents, and then programs need only those."""


def main() -> None:
    """Run the reference, then swmjax, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument(
        "--batches", type=sizes, default=(1, 64, 1024, 4096, 16384), help="default 1,64,1024,4096,16384"
    )
    parser.add_argument("--envs", type=ids, default=ENVS, help=f"default {','.join(ENVS)}")
    parser.add_argument("--render-batch", type=int, default=64, help="frames per call (default 64)")
    parser.add_argument("--host-devices", type=int, default=2, help="CPU devices to share a batch among (default 2)")
    parser.add_argument("--repeats", type=int, default=EPISODE_STEPS // STEPS_PER_CALL, help="timed warm calls")
    parser.add_argument("--quick", action="store_true", help="one tiny batch, few steps: shows that it works")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.host_devices, arguments.render_batch) < 1:
        parser.error("--repeats, --host-devices and --render-batch must be at least 1")
    steps, episodes, frames = STEPS_PER_CALL, 10, 100
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
    }
    with exchange_folder() as name:
        reference = run_reference(arguments.reference_python, "reference_envs.py", settings, Path(name))

    columns = ["", "of", "batch", "devices", "MiB", "compile s", "per second", "ratio to reference"]
    for env_id in arguments.envs:
        stepping, rendering, frame = measure(
            env_id, arguments.batches, arguments.render_batch, steps, arguments.repeats
        )
        labels = {"steps": "control steps", "frames": f"frames of {frame} px"}
        known = (reference or {}).get("envs", {}).get(env_id, {})
        counts = {"steps": episodes * EPISODE_STEPS, "frames": frames}
        rates = {kind: (Timing(tuple(seconds)), counts[kind]) for kind, seconds in known.items()}
        rows = [row(labels["steps"], *figures, rates.get("steps")) for figures in stepping]
        rows += [row(labels["frames"], *figures, rates.get("frames")) for figures in rendering]
        for kind, (timing, count) in rates.items():
            rows.append(
                [labels[kind], "reference", "1", "1 process", NOT_MEASURED, NOT_MEASURED, timing.rates(count), "1.0x"]
            )
        title = (
            f"{env_id}, random actions, float32, state only: {steps} steps per call, resets not counted\n"
            f"median (least..most) of {arguments.repeats} warm calls"
        )
        report.table(title, columns, rows)
    if reference:
        report.line(
            f"The reference steps its bare environment class (classic control: Gymnasium's) in one process (one core): "
            f"{episodes} episodes of {EPISODE_STEPS} steps per timed call, resets not counted."
        )
    else:
        report.without_reference(arguments.reference_python)
    report.facts("How it was measured", machine() | ({"reference": reference["versions"]} if reference else {}))
    report.close()


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
        "swmjax",
        str(batch),
        str(devices),
        f"{mebibytes:,.0f}",
        f"{compiled:.1f}",
        timing.rates(count),
        ratio,
    ]


def measure(
    env_id: str, batches: Sequence[int], render_batch: int, steps: int, repeats: int
) -> tuple[list[Figures], list[Figures], str]:
    """Compile and time stepping for every batch, and rendering, on one device and on all.

    Returns:
        Figures of stepping and of rendering, and the size of a frame.
    """
    import jax

    import envs_mjx

    # Compile times are figures here, so programs must not come from a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    env = envs_mjx.make(env_id, **OPTIONS.get(env_id, {}))
    progress(f"{env_id}: resets")
    keys = jax.random.split(jax.random.key(0), max(*batches, render_batch))
    states = jax.jit(jax.vmap(env.reset))(keys)

    def first(count: int) -> Any:
        return jax.jit(lambda states: jax.tree.map(lambda leaf: leaf[:count], states))(states)

    stepping = []
    for batch in batches:
        for count in sorted({1, len(jax.devices())}):
            if batch % count == 0:
                progress(f"{env_id}: batch {batch} on {count} device(s)")
                stepping.append(time_steps(env, first(batch), batch, jax.devices()[:count], steps, repeats))
    progress(f"{env_id}: frames")
    rendering = []
    for count in sorted({1, len(jax.devices())}):
        if render_batch % count == 0:
            rendering.append(time_frames(env, first(render_batch), render_batch, jax.devices()[:count], repeats))
    height, width = jax.eval_shape(env.render, jax.tree.map(lambda leaf: leaf[0], states)).shape[:2]
    return stepping, rendering, f"{height} x {width}"


def time_frames(env: Any, states: Any, batch: int, devices: Sequence[Any], repeats: int) -> Figures:
    """Time frames of a batch of states."""
    import jax

    render, rows, _ = shared(jax.vmap(env.render), devices, 1)
    states = jax.device_put(states, rows)
    compiled, program = compile_timed(render, states)
    jax.block_until_ready(program(states))
    timing = time_calls(lambda: jax.block_until_ready(program(states)), repeats)
    return batch, len(devices), memory(program), compiled, batch, timing


def shared(function: Callable[..., Any], devices: Sequence[Any], arguments: int) -> tuple[Callable[..., Any], Any, Any]:
    """A function of batched states, and of actions with an axis of steps before the batch, shared among devices.

    Returns:
        The function, and where states and actions belong.
    """
    import jax
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    if len(devices) == 1:
        return function, devices[0], devices[0]
    mesh = jax.make_mesh((len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
    by_row, by_column = P("batch"), P(None, "batch")
    # Unchecked: the physics starts its loops from constants, which count as equal on all devices.
    spread = jax.shard_map(
        function, mesh=mesh, in_specs=(by_row, by_column)[:arguments], out_specs=by_row, check_vma=False
    )
    return spread, NamedSharding(mesh, by_row), NamedSharding(mesh, by_column)


def time_steps(env: Any, states: Any, batch: int, devices: Sequence[Any], steps: int, repeats: int) -> Figures:
    """Time a scan over steps; every call goes on where the last one ended."""
    import jax

    def run(states, actions):
        return jax.lax.scan(lambda states, action: (jax.vmap(env.step)(states, action), None), states, actions)[0]

    draws = random_actions(env.action_space, (repeats + 1, steps, batch))
    program, rows, columns = shared(run, devices, 2)
    actions = [jax.device_put(draw, columns) for draw in draws]
    states = jax.device_put(states, rows)
    compiled, compiled_run = compile_timed(program, states, actions[0])
    jax.block_until_ready(compiled_run(states, actions[-1]))
    seconds = []
    for one in actions[:-1]:
        start = time.perf_counter()
        states = jax.block_until_ready(compiled_run(states, one))
        seconds.append(time.perf_counter() - start)
    return batch, len(devices), memory(compiled_run), compiled, batch * steps, Timing(tuple(seconds))


def memory(program: Any) -> float:
    """What a program needs on one device, in MiB: arguments, results and everything in between."""
    analysis = program.memory_analysis()
    needed = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return needed / 2**20


def random_actions(space: Any, shape: tuple[int, ...]) -> Any:
    """Uniform actions of a one-axis Box or a discrete space."""
    import gymnasium
    import jax
    import jax.numpy as jnp

    key = jax.random.key(1)
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.random.randint(key, shape, int(space.start), int(space.start + space.n))
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return jax.random.randint(key, (*shape, len(space.nvec)), 0, jnp.asarray(space.nvec))
    return jax.random.uniform(
        key, (*shape, *space.shape), minval=jnp.asarray(space.low), maxval=jnp.asarray(space.high)
    )


def compile_timed(function: Any, *arguments: Any) -> tuple[float, Any]:
    """Seconds of tracing and compilation, and the program."""
    import jax

    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return time.perf_counter() - start, program


if __name__ == "__main__":
    main()
