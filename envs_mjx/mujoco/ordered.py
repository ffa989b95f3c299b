"""Factorisations of MJX one after the other, for wherever MJX computes; MuJoCo's C library has its own threads.

On a CPU, jaxlib 0.10 spreads a batch of Cholesky factorisations over XLA's threads and lets the thread that asked wait
for them. When as many factorisations as there are threads run at the same time, all threads wait and the program never
ends: on two cores, those of the inertia and of the inertia with damping suffice. Here the second one waits for the
acceleration, to which the first one leads. Several programs at the same time, or one on several devices of one CPU, can
still wait for each other; XLA_FLAGS=--xla_cpu_multi_thread_eigen=false rules that out.
"""

import contextlib
from collections.abc import Callable, Iterator

from mujoco import mjx

# The public `step` looks its integrators up here.
from mujoco.mjx._src import forward

_Integrator = Callable[[mjx.Model, mjx.Data], mjx.Data]
_EULER, _IMPLICIT = forward.euler, forward.implicit


@contextlib.contextmanager
def ordered_factors() -> Iterator[None]:
    """Trace steps whose factorisations depend on each other; the numbers stay the same."""
    forward.euler, forward.implicit = _after_forces(_EULER), _after_forces(_IMPLICIT)
    try:
        yield
    finally:
        forward.euler, forward.implicit = _EULER, _IMPLICIT


def _after_forces(integrate: _Integrator) -> _Integrator:
    def call(model: mjx.Model, data: mjx.Data) -> mjx.Data:
        # XLA may not drop this zero, since the acceleration might be NaN.
        nothing = 0.0 * data.qacc[:1].sum()
        return integrate(model, data.tree_replace({"_impl.M": data._impl.M + nothing}))

    return call
