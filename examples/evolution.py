"""Any evolution strategy with pure init, ask and tell functions; here a small one of our own.

    python examples/evolution.py

`EvosaxSolver("CMA_ES")` takes the strategies of evosax (`pip install 'swmjax[search]'`) in the same way.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from navigation import HORIZON, SPACE, cost, report

from swmjax.planning import AskTellSolver, solve


@dataclass(frozen=True)
class BestSoFar:
    """Sample around the best vector so far; search wider after a better one, narrower without."""

    num_samples: int = 128

    def init(self, key, mean):
        return {"best": mean, "cost": jnp.asarray(jnp.inf), "width": jnp.asarray(0.5)}

    def ask(self, key, state):
        noise = jax.random.normal(key, (self.num_samples, state["best"].shape[0]))
        return state["best"][None] + state["width"] * noise, state

    def tell(self, key, state, population, costs):
        index = jnp.argmin(costs)
        better = costs[index] < state["cost"]
        return {
            "best": jnp.where(better, population[index], state["best"]),
            "cost": jnp.where(better, costs[index], state["cost"]),
            "width": state["width"] * jnp.where(better, 1.1, 0.85),
        }


solver = AskTellSolver(BestSoFar(), n_steps=60)
plan = jax.jit(lambda key: solve(solver, cost, SPACE, key, HORIZON))(jax.random.key(0))
report("AskTellSolver", plan.actions)
