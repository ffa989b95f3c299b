"""World models of one's own: plain functions, an Equinox module or a Flax Linen module become one to plan with.

All that is asked for is a function from one latent and the planner action that leaves it to the latent one step
later, and one from an observation to its latent. Batches, time and candidates are added here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import numpy as np
from flax import linen
from jaxtyping import Array, Float

from envs_mjx.checks import UserError
from swmjax.models.rollouts import markov_rollout
from swmjax.planning import GoalMSE, Objective

Latent = Any
"""One latent: an array [*D], or a pytree of arrays."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FunctionModel:
    """A world model made of two functions. Markov in the latent: of a context only the last frame matters.

    It is a pytree of its parameters, so that it can be an argument of a compiled program.

    Attributes:
        params: pytree of arrays, the first argument of both functions.
        step_fn: parameters, one latent and one planner action [A] to the latent one step later.
        encode_fn: parameters and one observation to its latent.
    """

    objective: ClassVar[Objective] = GoalMSE()

    params: Any
    step_fn: Callable[[Any, Latent, Array], Latent] = field(metadata={"static": True})
    encode_fn: Callable[[Any, Any], Latent] = field(metadata={"static": True})

    def encode(self, obs: Any) -> Any:
        """Latents [B, T, *D] of observations [B, T, ...], an array or a pytree of arrays."""
        return jax.vmap(jax.vmap(lambda one: self.encode_fn(self.params, one)))(obs)

    def predict(self, latents: Any, actions: Float[Array, "*batch A"]) -> Any:
        """The latent one step later, for each latent [*batch, *D] and the action that leaves it."""
        step = self._step
        for _ in actions.shape[:-1]:
            step = jax.vmap(step)
        return step(latents, actions)

    def rollout(self, latents: Any, action_history: Float[Array, "B Th A"], actions: Float[Array, "B N H A"]) -> Any:
        """Roll candidate action sequences forward from a context that they share.

        Args:
            latents: latents [B, Tc, *D] of the Tc context frames; only the last matters.
            action_history: actions between them, unused.
            actions: N candidate sequences of H planner actions for each problem.

        Returns:
            Latents [B, N, Tc + H, *D]: the context, then H predictions.

        Raises:
            UserError: a step changes the shape or dtype of a latent.
        """

        one = jax.tree.map(lambda leaf: leaf[0, -1], latents)
        _check_step(jax.eval_shape(self._step, one, actions[0, 0, 0]), one)
        return markov_rollout(self.predict, latents, actions)

    def _step(self, latent: Latent, action: Array) -> Latent:
        return self.step_fn(self.params, latent, action)


def from_function(
    step: Callable[[Latent, Array], Latent], encode: Callable[[Any], Latent] | None = None
) -> FunctionModel:
    """A world model of plain functions.

    Args:
        step: one latent and one planner action [A] to the latent one step later.
        encode: one observation to its latent; None if observations are latents.
    """
    return FunctionModel(
        params=None,
        step_fn=lambda _, latent, action: step(latent, action),
        encode_fn=lambda _, obs: obs if encode is None else encode(obs),
    )


def from_equinox(module: Any, step: str = "step", encode: str | None = "encode") -> FunctionModel:
    """A world model of an Equinox module.

    Args:
        module: the module; its arrays become the parameters.
        step: name of the method from one latent and one planner action [A] to the next latent; '__call__' for the
            module itself.
        encode: name of the method from one observation to its latent; None if observations are latents.

    Raises:
        UserError: the module has no such method.
    """
    _check_methods(module, step, encode)
    leaves, structure = jax.tree.flatten(module)
    # Modules hold activation functions and the like among their leaves, which are no arguments of a program.
    arrays = [leaf if isinstance(leaf, jax.Array | np.ndarray) else None for leaf in leaves]
    others = [leaf if array is None else None for leaf, array in zip(leaves, arrays, strict=True)]

    def whole(params: list[Any]) -> Any:
        both = zip(params, others, strict=True)
        return jax.tree.unflatten(structure, [other if array is None else array for array, other in both])

    return FunctionModel(
        params=arrays,
        step_fn=lambda params, latent, action: getattr(whole(params), step)(latent, action),
        encode_fn=lambda params, obs: obs if encode is None else getattr(whole(params), encode)(obs),
    )


def from_linen(
    module: linen.Module, variables: Any, step: str = "step", encode: str | None = "encode"
) -> FunctionModel:
    """A world model of a Flax Linen module.

    Args:
        module: the module.
        variables: what `init` of the module returned, or training made of it; they become the parameters.
        step: name of the method from one latent and one planner action [A] to the next latent; '__call__' for the
            module itself.
        encode: name of the method from one observation to its latent; None if observations are latents.

    Raises:
        UserError: the module has no such method.
    """
    _check_methods(module, step, encode)
    return FunctionModel(
        params=variables,
        step_fn=lambda params, latent, action: module.apply(params, latent, action, method=step),
        encode_fn=lambda params, obs: obs if encode is None else module.apply(params, obs, method=encode),
    )


def _check_methods(module: Any, step: str, encode: str | None) -> None:
    for name, method in (("step", step), ("encode", encode)):
        if method is not None and not callable(getattr(module, method, None)):
            raise UserError(f"{name}: {type(module).__name__} has no method {method!r}; name the one to call")


def _check_step(found: Any, latent: Any) -> None:
    def told(tree: Any) -> str:
        return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree))

    if told(found) != told(latent):
        raise UserError(f"a step must keep the shape and dtype of a latent, {told(latent)}, but it gives {told(found)}")
