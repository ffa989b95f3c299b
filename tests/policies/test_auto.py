"""From a name to costs and actions, as recorded from the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import unchecked_types
from gymnasium.spaces import Box
from models.recorded import CONFIGS, Recorded, difference
from quick import quick_jit

from envs_mjx.checks import UserError
from swmjax.checkpoints import CheckpointError, save_pretrained
from swmjax.planning import CEMSolver, solve, solve_batch
from swmjax.policies import AutoActionableModel, AutoCostModel, CostModel

GOLDEN = Path(__file__).parents[1] / "golden"


def recorded(name: str) -> dict[str, jax.Array]:
    with np.load(GOLDEN / f"{name}_io.npz") as file:
        return {key: jnp.asarray(value, jnp.float32) for key, value in file.items()}


def costs(auto: CostModel, candidates: jax.Array, *given: Any) -> jax.Array:
    """Costs of the candidates of a batch of problems, in one program that compiles fast."""

    def program(auto: CostModel, candidates: jax.Array, *given: Any) -> jax.Array:
        return jax.vmap(auto.cost)(auto.problems(*given), candidates)

    return quick_jit(program)(auto, candidates, *given)


def test_costs_of_lewm() -> None:
    auto, io = AutoCostModel("lewm_mini_hf5", root=GOLDEN), recorded("lewm_mini_hf5")
    found = costs(auto, io["candidates"], io["pixels"], io["pixels"][:, :1], io["action_history"])
    last, wanted = io["rollout_context3"][:, :, -1], io["emb"][:, 0]
    assert difference(found, jnp.square(last - wanted[:, None]).sum(-1)) < 1e-4
    assert auto.action_size == io["candidates"].shape[-1]


@pytest.mark.parametrize("name", ["prejepa", "prejepa_noprop"])
def test_costs_of_dino_wm(tmp_path: Path, name: str) -> None:
    data = Recorded(name)
    save_pretrained(data.model, tmp_path / "run")
    auto = AutoCostModel(tmp_path / "run")
    assert auto.model.config == CONFIGS[name]
    found = costs(auto, data["candidates"], data.group("obs/"), data.group("goal/"), data["action_history"])
    assert difference(found, data["cost_context3"]) < 1e-4
    assert auto.action_size == 5


def test_costs_of_tdmpc2() -> None:
    auto, io = AutoCostModel(GOLDEN / "tdmpc2_state"), recorded("tdmpc2_state")
    assert difference(costs(auto, io["candidates"], {"state": io["state"]}), io["cost"]) < 1e-4

    def one(state: jax.Array, candidates: jax.Array) -> jax.Array:
        return auto.cost_fn({"state": state})(candidates)

    found = quick_jit(one)(io["state"][0, -1], io["candidates"][0])
    assert difference(found, io["cost"][0]) < 1e-4
    assert auto.action_size == 2


def test_a_solver_plans_with_it() -> None:
    auto, io = AutoCostModel(GOLDEN / "tdmpc2_state"), recorded("tdmpc2_state")
    space, solver = Box(-1.0, 1.0, (2,)), CEMSolver(num_samples=16, n_steps=2, topk=4)

    @quick_jit
    def plan(auto: CostModel, problems: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(0), problems.shape[0])
        return solve_batch(solver, auto.cost, problems, space, keys, 3).actions

    problems = auto.problems({"state": io["state"]})
    actions = plan(auto, problems)
    assert actions.shape == (2, 3, 2)
    # Weights are arguments: what the program has as constants is smaller than any layer.
    lowered = plan.lower(auto, problems)
    assert len(jax.tree.leaves(lowered.in_avals)) == len(jax.tree.leaves(auto)) + 1
    assert max(map(len, re.findall(r"constant dense<(.*?)>", lowered.as_text()))) < 100

    @quick_jit
    def single(auto: CostModel, state: jax.Array) -> jax.Array:
        return solve(solver, auto.cost_fn({"state": state}), space, jax.random.key(0), 3).cost

    assert bool(jnp.isfinite(single(auto, io["state"][0, -1])))


def test_actions_of_policies() -> None:
    io = recorded("gcrl_gcbc")
    action = quick_jit(AutoActionableModel(GOLDEN / "gcrl_gcbc").get_action)(io)
    assert difference(action, io["action"]) < 1e-4
    auto, io = AutoActionableModel("tdmpc2_state", root=GOLDEN), recorded("tdmpc2_state")
    given = {"state": io["state"]}
    act = quick_jit(lambda auto, given, key: (auto.get_action(given), auto.get_action(given, key)))
    results = [act(auto, given, jax.random.key(seed)) for seed in (0, 0, 1)]
    action, drawn = results[0][0], [sample for _, sample in results]
    assert difference(action, io["mean_action"]) < 1e-4
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].shape == action.shape
    assert not np.array_equal(drawn[0], drawn[2])
    with unchecked_types(), pytest.raises(UserError, match="get_action takes a random key .*, got 0"):
        auto.get_action(given, 0)


def test_the_old_import_path_works_and_says_where_to_go() -> None:
    with pytest.warns(DeprecationWarning, match="AutoCostModel has moved; import it from swmjax.policies"):
        from swmjax.checkpoints import AutoCostModel as moved
    assert moved is AutoCostModel
    with pytest.raises(ImportError, match="cannot import name 'Auto'"):
        from swmjax.checkpoints import Auto  # noqa: F401


def test_what_a_model_cannot_do() -> None:
    with pytest.raises(CheckpointError, match="a GCRL predicts no costs; load it with AutoActionableModel"):
        AutoCostModel(GOLDEN / "gcrl_gcbc")
    with pytest.raises(CheckpointError, match="a LeWM has no policy; plan with AutoCostModel"):
        AutoActionableModel(GOLDEN / "lewm_mini_hf5")
    lewm = AutoCostModel(GOLDEN / "lewm_mini_hf5")
    assert isinstance(lewm, CostModel)
    with pytest.raises(ValueError, match="goal: is missing; a LeWM plans towards a goal observation"):
        lewm.problems(jnp.zeros((1, 1, 3, 56, 56)))
    with pytest.raises(CheckpointError, match="no such folder"):
        AutoCostModel("./nowhere")
