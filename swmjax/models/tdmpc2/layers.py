"""Building blocks of TD-MPC2: SimNorm, normed linear layers, the frame encoder and the running scale."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from swmjax.models.blocks.layers import layer_norm, mish


def sim_norm(x: Float[Array, "*batch D"], size: int) -> Float[Array, "*batch D"]:
    """Softmax within consecutive groups of `size` features.

    Source: Lavoie et al. 2023; reference, `wm/tdmpc2/module.py`.
    """
    return jax.nn.softmax(x.reshape(*x.shape[:-1], -1, size), axis=-1).reshape(x.shape)


def plain_linear(in_features: int, out_features: int, *, rngs: nnx.Rngs, zero: bool = False) -> nnx.Linear:
    """A dense layer with TD-MPC2's initial weights: normal of 0.02, or zero for the last layer of a value."""
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.normal(0.02)
    return nnx.Linear(in_features, out_features, kernel_init=init, rngs=rngs)


class NormedLinear(nnx.Linear):
    """A dense layer, then layer norm, then Mish, or SimNorm in groups of `groups`."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, groups: int | None = None):
        super().__init__(in_features, out_features, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.ln = layer_norm(out_features, rngs=rngs)
        self.groups = groups

    def __call__(  # type: ignore[override]
        self, x: Float[Array, "*batch I"]
    ) -> Float[Array, "*batch O"]:
        x = self.ln(super().__call__(x))
        return sim_norm(x, self.groups) if self.groups else mish(x)


class MLP(nnx.List):
    """Two normed layers and a third.

    Args:
        in_dim: Input features.
        hidden: Features between.
        out_dim: Output features.
        groups: Size of SimNorm's groups in a normed last layer; None for a plain dense one.
        zero_last: Whether a plain last layer starts with zero weights.
    """

    def __init__(
        self,
        in_dim: int,
        hidden: int,
        out_dim: int,
        *,
        rngs: nnx.Rngs,
        groups: int | None = None,
        zero_last: bool = False,
    ):
        last = (
            NormedLinear(hidden, out_dim, groups=groups, rngs=rngs)
            if groups
            else plain_linear(hidden, out_dim, zero=zero_last, rngs=rngs)
        )
        super().__init__([NormedLinear(in_dim, hidden, rngs=rngs), NormedLinear(hidden, hidden, rngs=rngs), last])

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch O"]:
        for layer in self:
            x = layer(x)
        return x


class RunningScale(nnx.Module):
    """Running spread (5 % to 95 %) of the values that the policy is trained on.

    Source: reference, `wm/tdmpc2/module.py`.
    """

    def __init__(self, tau: float):
        self.tau = tau
        self.value = nnx.BatchStat(jnp.full(1, 10.0))

    def update(self, x: Float[Array, "*batch"]) -> None:
        """Move the scale towards the spread of a batch, by the fraction `tau`."""
        low, high = jnp.quantile(jax.lax.stop_gradient(x), jnp.array([0.05, 0.95], x.dtype))
        old = self.value[...]
        self.value[...] = old + self.tau * (jnp.maximum(high - low, 1e-4) - old)

    def __call__(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        return x / self.value[0]
