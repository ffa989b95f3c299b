"""Compare PushT rows computed in batches of different sizes, bit for bit; prints the number of differing entries.

A program of its own, because a flag of XLA's has to be set before it starts: with `--xla_cpu_max_isa=AVX` the processor
has no fused multiply-add. With it LLVM chooses anew in every program which products and sums to fuse, and rows of
differently sized batches differ in their last bits.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import envs_mjx

ENV = envs_mjx.make("swm/PushT-v1")
ROWS, STEPS = 64, 20


def play(start, goal, actions):
    """States of one episode."""
    first = ENV.reset(jax.random.key(0), variation=(), options={"state": start, "goal_state": goal})

    def step(state, action):
        state = ENV.step(state, action)
        return state, (state.physics, state.obs, state.reward, state.info)

    return jax.lax.scan(step, first, actions)[1]


def differing(sizes: list[int], dtype) -> dict[int, int]:
    """Entries that differ between the largest batch and each other size."""
    with np.load(Path(__file__).parents[1] / "golden" / "pusht_t.npz") as golden:
        inputs = [jnp.asarray(golden[name][:ROWS], dtype) for name in ("start", "goal_state")]
        inputs.append(jnp.asarray(golden["action"][:ROWS, :STEPS]))
    results = {}
    for size in sizes:
        program = jax.jit(jax.vmap(play))
        parts = [program(*(x[i : i + size] for x in inputs)) for i in range(0, ROWS - ROWS % size, size)]
        results[size] = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    whole = results[max(sizes)]
    assert (np.asarray(whole[3]["n_contacts"]) > 0).mean() > 0.02

    def unequal(a, b):
        return int((a != b[: len(a)]).sum())

    return {size: sum(jax.tree.leaves(jax.tree.map(unequal, part, whole))) for size, part in results.items()}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", "float64" in sys.argv)
    for size, number in differing([1, 5, 64], jnp.float64 if "float64" in sys.argv else jnp.float32).items():
        print(size, number)
