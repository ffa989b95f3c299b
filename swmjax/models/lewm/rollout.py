"""The predictor's rollout with only the work that its result needs.

While the window of history grows, positions stay what they were, so keys and values are kept and every step adds one
token. Once the window slides, positions are re-indexed and the window is computed afresh. Frames before the current
one are the same for all candidates of a problem, and so are their keys and values: they have a candidate axis of 1.
Time leads every shape here, so that a step is a contiguous slice and steps, problems and candidates merge into the
rows of one matrix product.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swmjax.models.blocks.layers import standardise
from swmjax.models.blocks.transformer import Attention
from swmjax.models.lewm.predictor import MODULATION_EPS, Predictor, Transformer

KeysValues = list[tuple[Array, Array]]
"""Per earlier token its keys and values, [B, n, heads * dim_head] with n = N, or 1 for a frame of the context."""


def rollout(
    predictor: Predictor,
    pred_proj: Callable[[Array], Array],
    latents: Float[Array, "Tc B 1 D"],
    past_conditions: Float[Array, "Th B 1 D"],
    conditions: Float[Array, "H B N D"],
    remat: bool,
) -> Float[Array, "H B N D"]:
    """Predicted latents of every candidate.

    Args:
        predictor: The transformer over frames.
        pred_proj: Maps its output back to a latent.
        latents: Context latents; the last is the current frame.
        past_conditions: Embeddings of the Tc - 1 actions between the context frames.
        conditions: Embeddings of the candidates' actions.
        remat: Recompute each step in the backward pass instead of storing its activations.

    Returns:
        The H predictions.
    """
    transformer, window = predictor.transformer, predictor.config.num_frames
    positions = predictor.pos_embedding[0][:, None, None]
    past = _modulations(transformer, past_conditions)
    coming = _modulations(transformer, conditions)
    current = latents.shape[0] - 1
    horizon = conditions.shape[0]

    def forecast(
        tokens: Array, first_position: int, modulations: list[Array], cache: list[KeysValues]
    ) -> tuple[Array, list[KeysValues]]:
        tokens = tokens + positions[first_position : first_position + tokens.shape[0]]
        output, cache = _extend(transformer, tokens, modulations, cache, want_output=True)
        assert output is not None
        return pred_proj(output), cache

    if remat:
        forecast = jax.checkpoint(forecast, static_argnums=(1,))

    def context_cache(first: int) -> list[KeysValues]:
        cache: list[KeysValues] = [[] for _ in transformer.layers]
        if first >= current:
            return cache
        tokens = latents[first:current] + positions[: current - first]
        return _extend(transformer, tokens, [m[first:] for m in past], cache, want_output=False)[1]

    shape = (1, *conditions.shape[1:3], latents.shape[-1])
    frames = jnp.broadcast_to(latents[current:], shape)
    cache: list[KeysValues] = []
    # Until the window holds predictions only, its length or its share of context changes from step to step.
    varying = min(horizon, window)
    for step in range(varying):
        first = max(0, current + step + 1 - window)
        if step > 0 and first == 0:
            tokens, new = frames[-1:], slice(step, step + 1)
        else:
            cache = context_cache(first)
            new = slice(max(0, first - current), step + 1)
            tokens = frames[new]
        predicted, cache = forecast(tokens, current + new.start - first, [m[new] for m in coming], cache)
        frames = jnp.concatenate([frames, predicted])
    if horizon == varying:
        return frames[1:]

    def slide(frames: Array, step: Array) -> tuple[Array, Array]:
        modulations = [jax.lax.dynamic_slice_in_dim(m, step + 1 - window, window) for m in coming]
        predicted, _ = forecast(frames, 0, modulations, [[] for _ in transformer.layers])
        return jnp.concatenate([frames[1:], predicted]), predicted[0]

    steps = jnp.arange(varying, horizon)
    _, rest = jax.lax.scan(slide, frames[-window:], steps, unroll=min(steps.size, 2))
    return jnp.concatenate([frames[1:], rest])


def _modulations(transformer: Transformer, conditions: Float[Array, "T B n D"]) -> list[Float[Array, "T B n E"]]:
    conditions = jax.nn.silu(transformer.cond_proj(conditions))
    return [layer.adaLN_modulation[1](conditions) for layer in transformer.layers]


def _extend(
    transformer: Transformer,
    x: Float[Array, "S B n D"],
    modulations: list[Float[Array, "S B n E"]],
    cache: list[KeysValues],
    want_output: bool,
) -> tuple[Float[Array, "1 B n O"] | None, list[KeysValues]]:
    """Put S more tokens behind those in the cache; the output is that of the last one."""
    x = transformer.input_proj(x)
    extended: list[KeysValues] = []
    for layer, modulation, earlier in zip(transformer.layers, modulations, cache, strict=True):
        last = len(extended) == len(transformer.layers) - 1
        keep = x.shape[0] if not last else int(want_output)
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation, 6, axis=-1)
        h = standardise(x, MODULATION_EPS) * (1 + scale1) + shift1
        attended, keys_values = _attend(layer.attn, h, earlier, keep)
        extended.append(keys_values)
        if attended is None:
            return None, extended
        x = x[-keep:] + gate1[-keep:] * attended
        h = standardise(x, MODULATION_EPS) * (1 + scale2[-keep:]) + shift2[-keep:]
        x = x + gate2[-keep:] * layer.mlp(h)
    return transformer.output_proj(transformer.norm(x)), extended


def _attend(
    attention: Attention, h: Float[Array, "S B n D"], earlier: KeysValues, keep: int
) -> tuple[Float[Array, "K B n D"] | None, KeysValues]:
    """Causal attention of the last `keep` of S tokens to all earlier ones, as sums over the few keys."""
    count = h.shape[0]
    kernel = attention.to_qkv.kernel[...]
    inner = kernel.shape[1] // 3
    h = attention.norm(h)
    # A token that sees only itself has weight 1 there, whatever its query.
    asking = min(keep, count if earlier else count - 1)
    if asking == count:
        qkv = h @ kernel
        queries, kv = qkv[..., :inner], qkv[..., inner:]
    else:
        queries = h[count - asking :] @ kernel[:, :inner]
        kv = h @ kernel[:, inner:]

    keys_values = earlier + [(one[..., :inner], one[..., inner:]) for one in kv]
    if keep == 0:
        return None, keys_values
    heads, dim_head = attention.heads, inner // attention.heads
    # Products of queries and keys are summed head by head as a matrix product, which is far faster on CPU than
    # reductions over a short axis.
    head_sum = jnp.repeat(jnp.eye(heads, dtype=h.dtype) * dim_head**-0.5, dim_head, axis=0)
    mixed = []
    for token in range(count - keep, count):
        seen = keys_values[: len(earlier) + token + 1]
        if len(seen) == 1:
            mixed.append(seen[0][1])
            continue
        query = queries[token - count]
        scores = jnp.stack([query * key for key, _ in seen]) @ head_sum
        weights = jax.nn.softmax(scores, axis=0)[..., None]
        values = [value.reshape(*value.shape[:-1], heads, dim_head) for _, value in seen]
        mixed.append(sum(weight * value for weight, value in zip(weights, values, strict=True)).reshape(query.shape))
    return attention.to_out[0](jnp.stack(mixed)), keys_values
