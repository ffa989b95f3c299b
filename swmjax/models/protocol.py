"""What planners and policies ask of a world model."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

from swmjax.models.inputs import ModelInputs
from swmjax.planning import Objective

Latent = Any
"""An array [B, T, D], or a pytree of arrays that begin with those axes."""


@runtime_checkable
class WorldModel(Protocol):
    """Three pure functions over latents; a Flax, Equinox or hand-written object with these methods will do.

    Models of `swmjax.models` are pytrees: give them to `jax.jit` as arguments, so that their weights are arguments of
    the compiled program and not constants in it.
    """

    def encode(self, pixels: Any) -> Latent:
        """Observations [B, T, ...] to latents [B, T, D]."""
        ...

    def predict(self, latents: Latent, actions: Any) -> Latent:
        """Latents [..., T, D] and the actions [..., T, A] that leave them to the latents one step later [..., T, D]."""
        ...

    def rollout(self, latents: Latent, action_history: Any, actions: Any) -> Latent:
        """Context [B, Tc, D], actions between it [B, Tc - 1, A], candidates [B, N, H, A] to [B, N, Tc + H, D]."""
        ...


@runtime_checkable
class PlannableModel(WorldModel, Protocol):
    """A world model that says what it looks at and what its plans are judged by."""

    @property
    def inputs(self) -> ModelInputs:
        """Sizes of its actions, frames and vectors."""
        ...

    @property
    def objective(self) -> Objective | None:
        """Cost of rolled-out latents against those of a goal; None for a model with rewards and a `plan_cost`."""
        ...


@runtime_checkable
class ActingModel(Protocol):
    """A model that knows what to do without a search."""

    def act(self, obs: Any, key: PRNGKeyArray | None = None) -> Float[Array, "B A"]:
        """The action for the last of the observations [B, T, ...]; a sample with a key, the mean without."""
        ...
