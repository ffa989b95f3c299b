"""Compare a loaded model with the reference: the same inputs through both, in two interpreters."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch.export import torch_checkpoint, write_torch_checkpoint
from swmjax.checkpoints.torch.reference_program import FORWARD, LAYOUT
from swmjax.checkpoints.torch.source import Loaded
from swmjax.models.blocks.dinov2 import DINOv2Config
from swmjax.models.blocks.resnet import ResNetConfig
from swmjax.models.blocks.vit import ViTConfig
from swmjax.models.gcrl.gcrl import GCRL
from swmjax.models.lewm.lewm import LeWM
from swmjax.models.prejepa.prejepa import PreJEPA
from swmjax.models.tdmpc2.tdmpc2 import TDMPC2

TOLERANCE = 1e-4
"""Largest relative difference that passes, in float32."""
VARIABLE = "SWMJAX_REFERENCE_PYTHON"
_CANDIDATES, _HORIZON = 2, 3


@dataclass(frozen=True)
class Verification:
    """How far both sides are apart.

    Attributes:
        differences: by output, the largest difference relative to the reference's largest entry.
    """

    differences: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest of all."""
        return max(self.differences.values())

    @property
    def passed(self) -> bool:
        """Whether all are within `TOLERANCE`."""
        return self.worst <= TOLERANCE


def reference_python(given: str | Path | None = None) -> str:
    """The interpreter that has the reference.

    Args:
        given: its path; None for `$SWMJAX_REFERENCE_PYTHON`, or this interpreter if the reference is installed here.

    Raises:
        UserError: there is none.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        if not Path(named).exists():
            raise UserError(f"{named}: no such interpreter; allowed is a Python that has stable_worldmodel")
        return str(named)
    if importlib.util.find_spec("stable_worldmodel") is not None:
        return sys.executable
    raise UserError(
        f"to verify, name a Python that has stable_worldmodel with --reference-python or {VARIABLE}; "
        "it is not installed in this one"
    )


def verify(loaded: Loaded, python: str | Path | None = None) -> Verification:
    """Run random inputs through a model here and in the reference, in float32.

    Args:
        loaded: a model in float32.
        python: as for `reference_python`.

    Returns:
        How far they are apart.

    Raises:
        UserError: there is no reference, or the model has no torch form.
        CheckpointError: the reference cannot load or run the model.
    """
    interpreter = reference_python(python)
    layout = _run(interpreter, LAYOUT).split()[-1]
    model = loaded.model
    request, inputs = _request(model)
    with tempfile.TemporaryDirectory(prefix="swmjax-verify-") as name:
        place = Path(name)
        folder = place / "exported"
        folder.mkdir()
        write_torch_checkpoint(folder, *torch_checkpoint(loaded, 4 if layout == "4" else 5))
        (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
        np.savez(place / "inputs.npz", allow_pickle=False, **inputs)
        _run(interpreter, FORWARD, folder, place)
        with np.load(place / "outputs.npz") as file:
            expected = dict(file)
    found = _outputs(model, request, inputs)
    return Verification({name: _difference(found[name], expected[name]) for name in expected})


def _run(python: str, program: str, *arguments: str | Path) -> str:
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        errors = [line for line in lines if not line.startswith(" ")]
        raise CheckpointError(f"{python}: the reference failed: {shown((errors or lines)[-1], 300)[1:-1]}")
    return done.stdout


def _request(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the reference is asked, and the inputs of both sides."""
    config, rng = model.config, np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def frame(side: int) -> np.ndarray:
        return normal(1, 1, getattr(getattr(config, "encoder", None), "num_channels", 3), side, side)

    if isinstance(model, LeWM):
        pixels = frame(config.encoder.image_size)
        actions = normal(1, _CANDIDATES, _HORIZON, config.action_encoder.input_dim)
        return {"kind": "latent", "backbone": None}, {"pixels": pixels, "actions": actions}
    if isinstance(model, PreJEPA):
        lengths = {name: embedder.in_chans for name, embedder in config.extra_encoders}
        actions = normal(1, _CANDIDATES, _HORIZON, lengths.pop("action"))
        inputs = {"pixels": frame(_side(config.encoder, config.predictor.num_patches)), "actions": actions}
        inputs |= {name: normal(1, 1, length) for name, length in lengths.items()}
        return {"kind": "patches", "vectors": list(lengths), "backbone": _backbone(config.encoder)}, inputs
    if isinstance(model, TDMPC2):
        sides = {"pixels": (3, config.image_size, config.image_size)}
        lengths = dict(config.extra_dims)
        inputs = {name: normal(1, *sides.get(name, (lengths.get(name, 0),))) for name, _ in config.encoding}
        actions = rng.uniform(-1, 1, (1, _CANDIDATES, _HORIZON, config.action_dim)).astype(np.float32)
        return {"kind": "rewards", "vectors": list(inputs), "backbone": None}, {**inputs, "actions": actions}
    if isinstance(model, GCRL):
        side = _side(config.encoder, config.action_predictor.num_patches)
        inputs = {"pixels": frame(side), "goal": frame(side)}
        for name, embedder in config.extra_encoders:
            inputs |= {name: normal(1, 1, embedder.in_chans), f"goal_{name}": normal(1, 1, embedder.in_chans)}
        return {"kind": "policy", "value": config.value is not None, "backbone": _backbone(config.encoder)}, inputs
    raise UserError(f"a {type(model).__name__} cannot be verified; allowed are LeWM, PLDM, PreJEPA, TDMPC2 and GCRL")


def _side(encoder: Any, patches: int) -> int:
    """Side of frames that have this many patches, px."""
    if isinstance(encoder, ResNetConfig):
        return 64
    return math.isqrt(patches - getattr(encoder, "num_register_tokens", 0)) * encoder.patch_size


def _backbone(encoder: Any) -> dict[str, Any] | None:
    """What `from_pretrained` is to build instead of asking the hub."""
    if isinstance(encoder, ViTConfig):
        return None
    sizes = dict(vars(encoder))
    if isinstance(encoder, ResNetConfig):
        return {"model": "ResNetForImageClassification", "config": "ResNetConfig", "sizes": sizes}
    assert isinstance(encoder, DINOv2Config)
    registers = sizes.pop("num_register_tokens")
    if registers:
        names = {"model": "Dinov2WithRegistersModel", "config": "Dinov2WithRegistersConfig"}
        return names | {"sizes": sizes | {"num_register_tokens": registers}}
    return {"model": "Dinov2Model", "config": "Dinov2Config", "sizes": sizes}


def _outputs(model: Any, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    given = {name: jnp.asarray(value) for name, value in inputs.items()}
    if isinstance(model, TDMPC2):
        latents = model.encode(given)
        return {"latents": latents, "cost": model.plan_cost(latents, given["actions"])}
    if isinstance(model, GCRL):
        out = {"action": model.get_action(given)}
        if request["value"]:
            out["value"] = model.predict_values(model.encode(given), model.encode_goal(given))
        return out
    actions = given["actions"]
    none = jnp.zeros((1, 0, actions.shape[-1]))
    if isinstance(model, PreJEPA):
        rolled = model.rollout(model.encode(given), none, actions)
        return {f"rollout_{name}": value[:, :, -_HORIZON:] for name, value in rolled.items()}
    latents = model.encode(given["pixels"])
    return {"latents": latents, "rollout": model.rollout(latents, none, actions)[:, :, -_HORIZON:]}


def _difference(found: Any, expected: np.ndarray) -> float:
    ours = np.asarray(found, np.float64)
    if ours.shape != expected.shape:
        raise CheckpointError(f"the reference gives shape {expected.shape}, and swmjax {ours.shape}")
    scale = float(np.max(np.abs(expected))) or 1.0
    return float(np.max(np.abs(ours - expected))) / scale
