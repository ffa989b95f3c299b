"""The rollout of DINO-WM's predictor with only the work that its result needs.

While the window grows, frames keep their places, so their keys and values are kept and every step adds one frame.
Once it slides, every frame has a new place, and with it other keys and values in every layer: the window is computed
afresh, but for the last layer, which needs queries of the newest frame only. Context frames before the current one are
the same for all candidates of a problem, and so are their keys and values: they have a candidate axis of 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swmjax.models.causal_predictor import Cache, CausalPredictor


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

    def forecast(frames: Array, first: int, cache: Cache) -> tuple[Array, Cache]:
        predicted, cache = predictor.extend(frames, first, cache, outputs=1, remat=remat)
        assert predicted is not None
        return predicted, cache

    def recomputed(frames: Array, past: Array) -> Array:
        """A prediction from a whole window: its part of the context, then candidates' frames."""
        cache = predictor.empty_cache()
        if past.shape[0]:
            _, cache = predictor.extend(past, 0, cache, outputs=0, remat=remat)
        return forecast(frames, past.shape[0], cache)[0]

    if remat:
        recomputed = jax.checkpoint(recomputed)

    def acted(predicted: Array, action: Array) -> Array:
        tiled = jnp.broadcast_to(action[None, :, :, None], (*predicted.shape[:-1], action.shape[-1]))
        return predicted.at[..., slot].set(tiled)

    # A prediction is followed by the next action; what follows the last one is never looked at.
    following = jnp.concatenate([actions[1:], actions[-1:]])
    frames, cache = current[None], predictor.empty_cache()
    # Until the window holds predictions only, its length or its share of context changes from step to step.
    varying = min(horizon, window)
    for step in range(varying):
        first = max(0, context + step + 1 - window)
        if first > 0:
            predicted = recomputed(frames[max(0, first - context) :], past[first:])
        else:
            if step == 0 and context:
                _, cache = predictor.extend(past, 0, cache, outputs=0, remat=remat)
            predicted, cache = forecast(frames[-1:], context + step, cache)
        frames = jnp.concatenate([frames, acted(predicted, following[step])])
    if horizon == varying:
        return frames[1:]

    def slide(frames: Array, action: Array) -> tuple[Array, Array]:
        predicted = acted(recomputed(frames, past[:0]), action)
        return jnp.concatenate([frames[1:], predicted]), predicted[0]

    _, rest = jax.lax.scan(slide, frames[-window:], following[varying:])
    return jnp.concatenate([frames[1:], rest])
