"""What planners and policies ask of a world model."""

from typing import Any, Protocol, runtime_checkable

Latent = Any
"""An array [B, T, D], or a pytree of arrays that begin with those axes."""


@runtime_checkable
class WorldModel(Protocol):
    """Three pure functions over latents; a Flax, Equinox or hand-written object with these methods will do.

    It may also say what its plans are judged by: an `objective` over latents, or `plan_cost` where it predicts rewards
    (see `swmjax.planning.model_cost`).

    In a jitted path split a Flax module with `nnx.split` outside and `nnx.merge` inside, so that its weights are
    arguments of the compiled program.
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
