"""Scoring in slices and on several devices gives the plan of one device."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types
from gymnasium.spaces import Box
from planning.recorded_costs import wavy

from swmjax.planning import CEMSolver, solve, solve_batch
from swmjax.planning.scoring import Scorer

SPACE = Box(-1.0, 1.0, (2,), np.float32)
TARGET = jnp.linspace(-0.5, 0.5, 6).reshape(3, 2)
SOLVER = CEMSolver(num_samples=24, n_steps=3, topk=4)


def test_slices_give_the_same_costs_constraints_and_gradients():
    candidates = jax.random.normal(jax.random.key(0), (10, 3, 2))
    cost, constraint = partial(wavy, TARGET), lambda a: a[:, 0]
    whole, sliced = Scorer(cost, constraint), Scorer(cost, constraint, chunk=4)
    np.testing.assert_allclose(sliced(candidates), whole(candidates), rtol=1e-6)
    np.testing.assert_array_equal(sliced.constraints(candidates), whole.constraints(candidates))
    gradient = [jax.grad(lambda a, s=scorer: s(a).sum())(candidates) for scorer in (whole, sliced)]
    np.testing.assert_allclose(*gradient, rtol=1e-5, atol=1e-6)


def test_slices_bound_what_the_cost_function_sees():
    seen = []

    def cost(actions):
        seen.append(actions.shape[0])
        return wavy(TARGET, actions)

    plan = solve(SOLVER, cost, SPACE, jax.random.key(0), 3, candidate_chunk=5)
    assert set(seen) == {5}
    whole = solve(SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3)
    np.testing.assert_allclose(plan.actions, whole.actions, atol=1e-6)


def test_slices_save_memory():
    def cost(actions):
        # Every candidate needs 64 kB.
        wide = jnp.sin(actions.reshape(actions.shape[0], -1, 1) * jnp.arange(16384.0)[None, None])
        return jax.lax.reduce(jnp.sort(wide[:, 0]), 0.0, jax.lax.add, (1,))

    def memory(chunk):
        run = jax.jit(lambda key: solve(SOLVER, cost, SPACE, key, 3, candidate_chunk=chunk))
        return run.lower(jax.random.key(0)).compile().memory_analysis().temp_size_in_bytes

    assert memory(4) < 0.4 * memory(None)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda a: jnp.zeros((24, 1)), r"24 floating point costs for 24 candidates, got float32 of shape \[24, 1\]"),
        (lambda a: jnp.zeros(()), r"got float32 of shape \[\]"),
        (lambda a: jnp.zeros(24, int), "got int32"),
        (lambda a: None, "24 floating point costs for 24 candidates, got a NoneType"),
        (lambda a: (jnp.zeros(24), a), "got a tuple"),
        (lambda a: np.asarray(a).sum((1, 2)), "makes NumPy arrays of its candidates, .*; write it with jax.numpy"),
    ],
)
def test_costs_of_another_shape_are_refused(returned, message):
    with pytest.raises(ValueError, match=message):
        solve(SOLVER, returned, SPACE, jax.random.key(0), 3)


@pytest.mark.parametrize(
    ("call", "key", "message"),
    [
        (solve, 0, r"^solve takes a random key such as jax.random.key\(0\), got 0$"),
        (solve, np.int64(3), r"solve takes a random key .*, got np.int64\(3\)"),
        (
            solve,
            jax.random.split(jax.random.key(0), 3),
            r"solve takes one key, got a batch of \[3\]: solve_batch",
        ),
        (solve_batch, 0, r"^solve_batch takes a random key such as jax.random.key\(0\), or one a problem, got 0$"),
        (solve_batch, jax.random.PRNGKey(0), "solve_batch takes a random key .*, or one a problem, got Array"),
    ],
)
def test_keys_that_are_none_are_refused_in_a_sentence(call, key, message):
    problems = () if call is solve else (TARGET[None],)
    cost = partial(wavy, TARGET) if call is solve else wavy
    with unchecked_types(), pytest.raises(ValueError, match=message):
        call(SOLVER, cost, *problems, SPACE, key, 3)
    with unchecked_types(), pytest.raises(ValueError, match=r"cost_fn must be a function .* to costs \[N\], got 3"):
        call(SOLVER, 3, *problems, SPACE, key, 3)


def test_bad_arguments():
    arguments = SOLVER, partial(wavy, TARGET), SPACE, jax.random.key(0), 3
    with pytest.raises(ValueError, match="candidate_chunk must be at least 1, got 0"):
        solve(*arguments, candidate_chunk=0)
    with pytest.raises(ValueError, match="CEMSolver takes no constraints"):
        solve(*arguments, constraint_fn=lambda a: a[:, 0])
    with pytest.raises(ValueError, match="axes of the mesh must be called candidates or problems, got .*'data'"):
        solve(*arguments, mesh=jax.make_mesh((1,), ("data",)))


MESHES = """
import jax, jax.numpy as jnp, numpy as np
from gymnasium.spaces import Box
from swmjax.planning import CEMSolver, solve_batch
assert jax.device_count() == 8
space = Box(-1.0, 1.0, (2,), np.float32)
targets = jnp.linspace(-0.8, 0.8, 8 * 6).reshape(8, 3, 2)
cost = lambda target, a: ((a - target[None]) ** 2).sum((1, 2)) + 0.3 * jnp.sin(5 * a).sum((1, 2))
solver = CEMSolver(num_samples=24, n_steps=4, topk=4)
odd = CEMSolver(num_samples=21, n_steps=4, topk=4)

def plan(mesh, solver=solver):
    run = jax.jit(lambda targets, key: solve_batch(solver, cost, targets, space, key, 3, mesh=mesh))
    return run(targets, jax.random.key(0)), run.lower(targets, jax.random.key(0)).compile().as_text()

alone, _ = plan(None)
for shape, names in (((8,), ("candidates",)), ((8,), ("problems",)), ((2, 4), ("problems", "candidates"))):
    shared, text = plan(jax.make_mesh(shape, names))
    np.testing.assert_allclose(shared.actions, alone.actions, atol=2e-6)
    np.testing.assert_allclose(shared.cost, alone.cost, rtol=1e-5)
    # The devices really share the work: every one sees its part of the candidates of its part of the problems.
    parts = dict(zip(names, shape))
    local = f"[{8 // parts.get('problems', 1)},{24 // parts.get('candidates', 1)}"
    assert f"f32{local}]" in text or f"f32{local},3,2]" in text, (names, local)
shared, alone = plan(jax.make_mesh((8,), ("candidates",)), odd)[0], plan(None, odd)[0]
np.testing.assert_allclose(shared.actions, alone.actions, atol=2e-6)
print("fine")
"""

PROCESSES = """
import sys
import jax
jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", num_processes=2, process_id=int(sys.argv[1]))
import jax.numpy as jnp, numpy as np
from gymnasium.spaces import Box
from swmjax.planning import CEMSolver, solve
assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 4, 2)
space = Box(-1.0, 1.0, (2,), np.float32)
target = np.linspace(-0.8, 0.8, 6, dtype=np.float32).reshape(3, 2)
cost = lambda a: ((a - target[None]) ** 2).sum((1, 2))
solver = CEMSolver(num_samples=24, n_steps=4, topk=4)
mesh = jax.make_mesh((4,), ("candidates",))
shared = jax.jit(lambda: solve(solver, cost, space, jax.random.key(0), 3, mesh=mesh).actions)()
alone = jax.jit(lambda: solve(solver, cost, space, jax.random.key(0), 3).actions, device=jax.local_devices()[0])()
np.testing.assert_allclose(shared.addressable_data(0), alone, atol=2e-6)
print("fine")
"""


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def test_eight_devices_plan_as_one():
    done = subprocess.run(
        [sys.executable, "-c", MESHES], env=environment(8), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_plan_as_one(tmp_path):
    import socket

    script = Path(tmp_path, "plan.py")
    script.write_text(PROCESSES)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = [
        subprocess.Popen(
            [sys.executable, str(script), str(index), port],
            env=environment(2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    for process in both:
        out, err = process.communicate()
        assert out.strip().endswith("fine"), err[-2000:]


def test_batch_size_and_a_mesh_of_problems_exclude_each_other():
    with pytest.raises(ValueError, match="batch_size cannot be combined"):
        solve_batch(
            SOLVER,
            wavy,
            TARGET[None],
            SPACE,
            jax.random.key(0),
            3,
            batch_size=1,
            mesh=jax.make_mesh((1,), ("problems",)),
        )
