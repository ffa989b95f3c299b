"""Every family of models in bfloat16: finite float32 results, off by what a mantissa of 8 bits costs and no more."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from models.recorded import difference
from quick import quick_jit

from swmjax.checkpoints import load_pretrained

pytestmark = pytest.mark.optimised

GOLDEN = Path(__file__).parents[1] / "golden"


def lewm(model, given):
    latents = model.encode(given["pixels"])
    rolled = model.rollout(latents, given["action_history"], given["candidates"])
    return {"latents": latents, "rollout": rolled, "embedded": model.embed_actions(given["candidates"])}


def tdmpc2(model, given):
    latents = model.encode({name: given[name] for name, _ in model.config.encoding})
    candidates = given["candidates"]
    return {
        "latents": latents,
        "rollout": model.rollout(latents, candidates[:, 0, :1], candidates),
        "cost": model.plan_cost(latents[:, -1], candidates),
        "values": model.values(latents[:, -1], candidates[:, 0, 0]),
        "action": model.mean_action(latents[:, -1]),
    }


def gcrl(model, given):
    embedding, goal = model.encode(given), model.encode_goal(given)
    means, stds = model.predict_actions(embedding, goal)
    found = {"embedding": embedding, "means": means, "stds": stds}
    if model.config.value:
        found["values"] = model.predict_values(embedding, goal)
    if model.config.critic:
        found["critic"] = model.predict_action_values(embedding, given["actions"], goal)
    return found


def products(jaxpr):
    """The types of the operands of every matrix product, those with a vector left out."""
    for equation in jaxpr.eqns:
        operands = [variable.aval for variable in equation.invars]
        if equation.primitive.name == "dot_general" and min(operand.ndim for operand in operands) > 1:
            yield from (operand.dtype for operand in operands)
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.parametrize(
    ("name", "run"), [("lewm_mini_hf5", lewm), ("tdmpc2_pixels", tdmpc2), ("gcrl_iql_value", gcrl)]
)
def test_bfloat16_computes_in_bfloat16_and_returns_float32(name, run):
    given = {key: jnp.asarray(value) for key, value in np.load(GOLDEN / f"{name}_io.npz").items()}

    def traced(dtype):
        model = load_pretrained(GOLDEN / name, dtype=dtype)
        return quick_jit(run).trace(model, given), model

    (narrow, few), (wide, many) = traced(jnp.bfloat16), traced(jnp.float32)
    assert set(products(narrow.jaxpr.jaxpr)) == {jnp.dtype(jnp.bfloat16)}
    found, expected = narrow.lower().compile()(few, given), wide.lower().compile()(many, given)
    assert {value.dtype for value in found.values()} == {jnp.dtype(jnp.float32)}
    assert all(jnp.isfinite(value).all() for value in found.values())
    errors = {what: difference(value, expected[what]) for what, value in found.items()}
    assert all(error < 0.1 for error in errors.values()), errors
    assert max(errors.values()) > 1e-4
