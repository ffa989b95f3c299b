"""Compare a loaded model with the reference: the same inputs through both, in two interpreters."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from envs_mjx.checks import UserError
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.checkpoints.torch import families
from swmjax.checkpoints.torch.backbones import stand_in
from swmjax.checkpoints.torch.export import torch_checkpoint, write_torch_checkpoint
from swmjax.checkpoints.torch.reference_program import LAYOUT, forward
from swmjax.checkpoints.torch.source import Loaded

TOLERANCE = 1e-4
"""Largest relative difference that passes, in float32."""
VARIABLE = "SWMJAX_REFERENCE_PYTHON"


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
    model = loaded.model
    family = families.family_of(getattr(model, "config", None))
    if family is None:
        allowed = families.named(families.FAMILIES)
        raise UserError(f"a {type(model).__name__} cannot be verified; allowed are {allowed}")
    layout = _run(interpreter, LAYOUT).split()[-1]
    inputs = family.inputs(model.config, np.random.default_rng(0))
    found = family.outputs(model, {name: jnp.asarray(value) for name, value in inputs.items()})
    request = {"backbone": stand_in(family.backbone(model.config)), "wanted": list(found)}
    with tempfile.TemporaryDirectory(prefix="swmjax-verify-") as name:
        place = Path(name)
        folder = place / "exported"
        folder.mkdir()
        write_torch_checkpoint(folder, *torch_checkpoint(loaded, 4 if layout == "4" else 5))
        (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
        np.savez(place / "inputs.npz", allow_pickle=False, **inputs)
        _run(interpreter, forward(family.reference), folder, place)
        with np.load(place / "outputs.npz") as file:
            return Verification({name: _difference(found[name], expected) for name, expected in file.items()})


def _run(python: str, program: str, *arguments: str | Path) -> str:
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        errors = [line for line in lines if not line.startswith(" ")]
        raise CheckpointError(f"{python}: the reference failed: {shown((errors or lines)[-1], 300)[1:-1]}")
    return done.stdout


def _difference(found: Any, expected: np.ndarray) -> float:
    ours = np.asarray(found, np.float64)
    if ours.shape != expected.shape:
        raise CheckpointError(f"the reference gives shape {expected.shape}, and swmjax {ours.shape}")
    scale = float(np.max(np.abs(expected))) or 1.0
    return float(np.max(np.abs(ours - expected))) / scale
