"""CEM fed with recorded noise."""

import dataclasses
from dataclasses import dataclass

import jax

from swmjax.planning import CEMSolver


@dataclass(frozen=True, eq=False)
class RecordedCEM(CEMSolver):
    """CEM that draws recorded noise [n_steps, N, H, A] instead of sampling."""

    noise: jax.Array | None = None

    def sample_noise(self, key, step, shape, dtype):
        assert self.noise is not None
        assert self.noise.shape[1:] == shape
        return self.noise[step].astype(dtype)

    @classmethod
    def replay(cls, solver, noise):
        return cls(**dataclasses.asdict(solver), noise=noise)

    def run(self, cost_fn, space, horizon, warm_start=None):
        """What `solve` does, with the last state (for its std) as well: (state, plan, trace)."""
        state = self.init(jax.random.key(0), space, horizon, warm_start)
        state, trace = jax.lax.scan(lambda carry, _: self.step(carry, cost_fn), state, length=self.n_steps)
        return state, self.finish(state), trace
