"""The rollout of DINO-WM's predictor with only the work that its result needs.

While the window grows, frames keep their places, so their keys and values are kept and every step adds one frame.
Once it slides, every frame has a new place, and with it other keys and values in every layer: the window is computed
afresh, but for the last layer, which needs queries of the newest frame only. Context frames before the current one are
the same for all candidates of a problem, and so are their keys and values: they have a candidate axis of 1.
"""

import os

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swmjax.models.prejepa.predictor import Cache, CausalPredictor


def rollout(
    predictor: CausalPredictor,
    window: int,
    past: Float[Array, "Th B 1 P D"],
    current: Float[Array, "B N P D"],
    actions: Float[Array, "H B N E"],
    slot: slice,
    remat: bool,
) -> Float[Array, "H B N P D"]:
    """Predicted tokens of every candidate.

    Args:
        predictor: The transformer over frames.
        window: Frames that a prediction sees at most.
        past: Tokens of the context frames before the current one.
        current: Tokens of the current frame with each candidate's first action.
        actions: Embeddings of the candidates' actions.
        slot: Where the action lies in a token.
        remat: Store only frames for the backward pass, and recompute what lies between them.

    Returns:
        The H predictions; their action slots hold what the rollout needed there.
    """
    context, horizon = past.shape[0], actions.shape[0]
    # By the place in the context where the window of a step begins; one that begins behind it needs none.
    firsts = {max(0, context + step + 1 - window) for step in range(min(horizon, window))}
    caches = {first: _context_cache(predictor, past[first:], remat) for first in firsts}

    def roll(current: Array, actions: Array) -> Array:
        return _roll(predictor, window, context, caches, current, actions, slot, remat)

    group = _candidates_at_once()
    if group is None or group >= current.shape[1]:
        return roll(current, actions)

    def one(candidate: tuple[Array, Array]) -> Array:
        return roll(candidate[0][:, None], candidate[1][:, :, None])[:, :, 0]

    if remat:
        one = jax.checkpoint(one)
    rolled = jax.lax.map(one, (jnp.moveaxis(current, 1, 0), jnp.moveaxis(actions, 2, 0)), batch_size=group)
    return jnp.moveaxis(rolled, 0, 2)


def _candidates_at_once() -> int | None:
    """How many candidates to roll out at a time; None for all.

    The tokens of a few fill the cores of a CPU, and what is between them stays in its caches: a third less time for
    32 candidates, and a 60th of the memory. Candidates that are shared among devices are not taken apart.
    """
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return None
    return max(1, (os.cpu_count() or 1) // 4)


def _context_cache(predictor: CausalPredictor, past: Float[Array, "Th B 1 P D"], remat: bool) -> Cache:
    if not past.shape[0]:
        return predictor.empty_cache()
    return predictor.extend(past, 0, predictor.empty_cache(), outputs=0, remat=remat)[1]


def _roll(
    predictor: CausalPredictor,
    window: int,
    context: int,
    caches: dict[int, Cache],
    current: Float[Array, "B n P D"],
    actions: Float[Array, "H B n E"],
    slot: slice,
    remat: bool,
) -> Float[Array, "H B n P D"]:
    """The rollout of some candidates; `context` frames are before the current one."""
    horizon = actions.shape[0]

    def forecast(frames: Array, first: int, cache: Cache) -> tuple[Array, Cache]:
        predicted, cache = predictor.extend(frames, first, cache, outputs=1, remat=remat)
        assert predicted is not None
        return predicted, cache

    def recomputed(frames: Array, known: int, cache: Cache) -> Array:
        """A prediction from a whole window: `known` frames of the context, then candidates' frames."""
        return forecast(frames, known, cache)[0]

    if remat:
        recomputed = jax.checkpoint(recomputed, static_argnums=(1,))

    def acted(predicted: Array, action: Array) -> Array:
        tiled = jnp.broadcast_to(action[None, :, :, None], (*predicted.shape[:-1], action.shape[-1]))
        return predicted.at[..., slot].set(tiled)

    # A prediction is followed by the next action; what follows the last one is never looked at.
    following = jnp.concatenate([actions[1:], actions[-1:]])
    frames, cache = current[None], caches[max(0, context + 1 - window)]
    # Until the window holds predictions only, its length or its share of context changes from step to step.
    varying = min(horizon, window)
    for step in range(varying):
        first = max(0, context + step + 1 - window)
        if first > 0:
            predicted = recomputed(frames[max(0, first - context) :], max(0, context - first), caches[first])
        else:
            predicted, cache = forecast(frames[-1:], context + step, cache)
        frames = jnp.concatenate([frames, acted(predicted, following[step])])
    if horizon == varying:
        return frames[1:]

    def slide(frames: Array, action: Array) -> tuple[Array, Array]:
        predicted = acted(recomputed(frames, 0, predictor.empty_cache()), action)
        return jnp.concatenate([frames[1:], predicted]), predicted[0]

    _, rest = jax.lax.scan(slide, frames[-window:], following[varying:])
    return jnp.concatenate([frames[1:], rest])
