"""Timing of steps and frames of environments: compile time apart, on one device or shared among several.

JAX is imported inside the functions, because the number of host devices is fixed when it starts.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from common import Timing, time_calls

Figures = tuple[int, int, float, float, int, Timing]
"""Batch, devices, memory of the program on one device in MiB, seconds of compilation, things per call, timing."""


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
    seconds, work = [], []
    for one in actions[:-1]:
        start, begun = time.perf_counter(), time.process_time()
        states = jax.block_until_ready(compiled_run(states, one))
        seconds.append(time.perf_counter() - start)
        work.append(time.process_time() - begun)
    return batch, len(devices), memory(compiled_run), compiled, batch * steps, Timing(tuple(seconds), tuple(work))


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
