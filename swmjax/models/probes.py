"""Probes: small modules that read something from a model's latents, kept with the model under `_probes`."""

from typing import TypeVar

from flax import nnx
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.models.blocks.layers import Relu, linear

M = TypeVar("M", bound=nnx.Module)


def attach_probe(model: M, key: str, probe: nnx.Module) -> M:
    """A model with a probe more; the given one stays as it is.

    Args:
        model: Any model; its arrays are shared with the new one.
        key: Name of the probe; one of the same name is replaced. Its tensors are `_probes.<key>.*`.
        probe: The probe; its arrays are shared too.

    Returns:
        The new model.

    Raises:
        UserError: The key is empty or has a dot.

    Source: reference, `wm/probes.py`.
    """
    if not key or "." in key:
        raise UserError(f"the key of a probe must not be empty nor have a dot, got {key!r}")
    new, copied = nnx.clone(model), nnx.clone(probe)
    new._probes = nnx.Dict({**_probes_of(new), key: copied})  # type: ignore[attr-defined]
    return new


def get_probe(model: nnx.Module, key: str) -> nnx.Module | None:
    """The probe of that name, or None."""
    return _probes_of(model).get(key)


def _probes_of(model: nnx.Module) -> dict[str, nnx.Module]:
    probes = getattr(model, "_probes", None)
    return {} if probes is None else {key: probes[key] for key in vars(probes) if not key.startswith("_")}


class MLPProbe(nnx.List):
    """Linear, ReLU, Linear: numbered as a torch Sequential of the three.

    Args:
        in_dim: Features of a latent.
        hidden: Features between.
        out_dim: Numbers to read.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int, *, rngs: nnx.Rngs):
        super().__init__([linear(in_dim, hidden, rngs=rngs), Relu(), linear(hidden, out_dim, rngs=rngs)])

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch O"]:
        for layer in self:
            x = layer(x)
        return x
