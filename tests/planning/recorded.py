"""Solvers fed with recorded noise."""

import dataclasses

import jax

from swmjax.planning.scoring import Scorer


def replay(solver, noise):
    """The solver, drawing recorded noise [steps, ...] instead of sampling."""

    def sample_noise(self, key, step, shape, dtype):
        assert noise.shape[1:] == tuple(shape)
        return noise[step].astype(dtype)

    recorded = type("Recorded", (type(solver),), {"sample_noise": sample_noise})
    return recorded(**{field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)})


def run(solver, cost_fn, space, horizon, warm_start=None, constraint_fn=None, carry=None, transitions=None):
    """What `solve` does, keeping every state and record: (states of all steps, plan, records of all steps)."""
    scorer = Scorer(cost_fn, constraint_fn, transitions=transitions)

    def advance(state, _):
        state, record = solver.step(state, scorer)
        return state, (state, record)

    state = solver.prepare(solver.init(jax.random.key(0), space, horizon, warm_start, carry), scorer)
    state, (states, records) = jax.lax.scan(advance, state, length=solver.n_steps)
    return states, solver.finish(state, scorer), records
