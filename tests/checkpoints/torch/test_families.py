"""Families of models: what each brings fits together, and one more needs its model, its file and a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium.spaces import Box
from models.recorded import drawn
from quick import quick_jit

from swmjax.checkpoints import (
    CheckpointError,
    Loaded,
    export_pretrained,
    import_checkpoint,
    load_checkpoint,
    load_pretrained,
    read_config,
    read_state_dict,
    save_pretrained,
    write_state_dict,
)
from swmjax.checkpoints.torch import backbones, families, verification
from swmjax.checkpoints.torch.family import CANDIDATES, HORIZON, Family, normal
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.node import Node
from swmjax.models import ModelInputs
from swmjax.models.blocks.layers import linear
from swmjax.models.rollouts import markov_rollout
from swmjax.planning import CEMSolver, GoalMSE, Objective, solve
from swmjax.policies import AutoCostModel

NAMES = [family.model.__name__ for family in families.FAMILIES]


def assert_same(found: nnx.Module, wanted: nnx.Module) -> None:
    assert found.config == wanted.config
    for ours, theirs in zip(*(jax.tree.leaves(model) for model in (found, wanted)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("family", families.FAMILIES, ids=NAMES)
def test_an_example_of_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: Family) -> None:
    config = family.example()
    assert families.family_of(config) is family
    if (encoder := family.backbone(config)) is not None:
        monkeypatch.setitem(backbones.DINOV2, "small/example", encoder)
    model = drawn(family.model, config)
    save_pretrained(model, tmp_path / "native")
    assert_same(load_pretrained(tmp_path / "native"), model)
    export_pretrained(model, tmp_path / "torch")
    loaded = load_checkpoint(tmp_path / "torch")
    assert_same(loaded.model, model)
    assert all(name.endswith(".num_batches_tracked") for name in loaded.unused)
    inputs = family.inputs(config, np.random.default_rng(0))
    for name, value in quick_jit(family.outputs)(model, inputs).items():
        assert name.split("_")[0] in family.reference
        assert bool(jnp.isfinite(value).all())


# A model of one's own: what would be `models/glider.py`.


@dataclass(frozen=True)
class GliderConfig:
    """Entries of an observation and of an action."""

    size: int
    action_size: int


class Glider(nnx.Module):
    """Latents that an action pushes."""

    objective: ClassVar[Objective] = GoalMSE()

    def __init__(self, config: GliderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.look = linear(config.size, config.size, rngs=rngs)
        self.push = linear(config.action_size, config.size, use_bias=False, rngs=rngs)

    @property
    def inputs(self) -> ModelInputs:
        return ModelInputs(self.config.action_size, None, vectors=(("state", self.config.size),))

    def encode(self, obs: Mapping[str, jax.Array]) -> jax.Array:
        return self.look(obs["state"])

    def predict(self, latents: jax.Array, actions: jax.Array) -> jax.Array:
        return latents + self.push(actions)

    def rollout(self, latents: jax.Array, action_history: jax.Array, actions: jax.Array) -> jax.Array:
        return markov_rollout(self.predict, latents, actions)


# What would be `checkpoints/torch/families/glider.py`.


def glider(node: Node) -> GliderConfig:
    return GliderConfig(node.size("size"), node.size("action_size"))


def inputs(config: GliderConfig, draw: np.random.Generator) -> dict[str, np.ndarray]:
    actions = normal(draw, 1, CANDIDATES, HORIZON, config.action_size)
    return {"state": normal(draw, 1, 1, config.size), "actions": actions}


def outputs(model: Glider, given: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    latents, actions = model.encode(given), given["actions"]
    return {"rollout": model.rollout(latents, actions[:, 0, :0], actions)[:, :, 1:]}


FAMILY = Family(
    model=Glider,
    config=GliderConfig,
    targets={"stable_worldmodel.wm.Glider": glider},
    rules=lambda _: KeyRules(),
    describe=lambda config: {"_target_": "stable_worldmodel.wm.Glider", **vars(config)},
    example=lambda: GliderConfig(3, 2),
    inputs=inputs,
    outputs=outputs,
    reference='out["rollout"] = predictions(model(given["state"], given["actions"]))',
)
# What the reference would save.
TENSORS = {
    "look.weight": np.eye(3, dtype=np.float32) * 2,
    "look.bias": np.array([0.5, 0, -0.5], np.float32),
    "push.weight": np.array([[1, 0], [0, 1], [1, 1]], np.float32),
}


def rolled_by_hand(state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    latents = state @ TENSORS["look.weight"].T + TENSORS["look.bias"]
    return latents[:, None] + np.cumsum(actions @ TENSORS["push.weight"].T, axis=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch checkpoint of a family that was registered."""
    # The one line in `families/__init__.py`.
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, FAMILY))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(FAMILY.describe(FAMILY.example())))
    write_state_dict(folder / "weights.pt", {f"model.{name}": array for name, array in TENSORS.items()})
    return folder


def test_a_new_family_is_unknown_before() -> None:
    assert families.family_of(FAMILY.example()) is None
    with pytest.raises(CheckpointError, match="'stable_worldmodel.wm.Glider' is not known; allowed are stable_world"):
        families.build_config(FAMILY.describe(FAMILY.example()))


def test_a_new_family_is_imported_and_exported(folder: Path) -> None:
    done = import_checkpoint(folder, folder.parent / "native")
    assert [row.becomes for row in done.rows] == ["look (Linear)", "push (Linear)"]
    done.save()
    loaded = load_checkpoint(folder.parent / "native")
    assert_same(loaded.model, load_pretrained(folder))
    out = export_pretrained(loaded, folder.parent / "out")
    assert read_config(out / "config.json") == read_config(folder / "config.json")
    found = read_state_dict(out / "weights.pt")
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_new_family_is_verified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a few lines of NumPy in the place of the reference's interpreter."""

    def run(python: str, program: str, *arguments: Path) -> str:
        if not arguments:
            return "5"
        assert FAMILY.reference in program
        exported, place = arguments
        assert read_state_dict(exported / "weights.pt").keys() == TENSORS.keys()
        assert json.loads((place / "request.json").read_text()) == {"backbone": None, "wanted": ["rollout"]}
        with np.load(place / "inputs.npz") as given:
            np.savez(place / "outputs.npz", rollout=rolled_by_hand(given["state"], given["actions"]) + offset)
        return ""

    monkeypatch.setattr(verification, "reference_python", lambda given: "python")
    monkeypatch.setattr(verification, "_run", run)
    offset = 0.0
    assert verification.verify(load_checkpoint(folder)).passed
    offset = 0.1
    assert not verification.verify(load_checkpoint(folder)).passed


def test_a_new_family_is_planned_with(folder: Path) -> None:
    auto = AutoCostModel(folder)
    assert (auto.action_size, auto.objective) == (2, GoalMSE())
    obs, goal = {"state": jnp.zeros((1, 3))}, {"state": jnp.array([[0.5, -0.25, 0.25]])}
    solver, space = CEMSolver(num_samples=64, n_steps=8, topk=8), Box(-1.0, 1.0, (2,))

    @quick_jit
    def plan(auto: Any, obs: Any, goal: Any, key: jax.Array) -> jax.Array:
        return solve(solver, auto.cost_fn(obs, goal), space, key, horizon=2).actions

    actions = plan(auto, obs, goal, jax.random.key(0))
    # The goal's latent is at (1, -0.5, 0.5) from the current one.
    np.testing.assert_allclose(actions.sum(0), [1.0, -0.5], atol=0.1)


def test_who_has_no_family_is_told_the_families() -> None:
    with pytest.raises(ValueError, match="a Glider cannot be verified; allowed are LeWM, PLDM, .*TDMPC2 and GCRL"):
        verification.verify(Loaded(Glider(GliderConfig(3, 2), rngs=nnx.Rngs(0))), "/bin/sh")
