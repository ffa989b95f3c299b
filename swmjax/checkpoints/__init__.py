"""Checkpoints: names, torch archives without torch, and models filled from them."""

import importlib
import warnings
from typing import Any

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.kept import delete_model, list_models
from swmjax.checkpoints.load import load_checkpoint, load_pretrained, load_probe
from swmjax.checkpoints.names import checkpoints_root, list_checkpoints, read_config, resolve_checkpoint
from swmjax.checkpoints.native import save_pretrained
from swmjax.checkpoints.own_models import register_model
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.export import export_pretrained
from swmjax.checkpoints.torch.families import build_config
from swmjax.checkpoints.torch.importing import import_checkpoint
from swmjax.checkpoints.torch.source import Loaded
from swmjax.checkpoints.torch.verification import verify
from swmjax.checkpoints.torch.writer import write_state_dict

__all__ = [
    "CheckpointError",
    "Loaded",
    "build_config",
    "checkpoints_root",
    "delete_model",
    "export_pretrained",
    "import_checkpoint",
    "list_checkpoints",
    "list_models",
    "load_checkpoint",
    "load_pretrained",
    "load_probe",
    "read_config",
    "read_state_dict",
    "register_model",
    "resolve_checkpoint",
    "save_pretrained",
    "verify",
    "write_state_dict",
]

_MOVED = ("ActionModel", "AutoActionableModel", "AutoCostModel", "CostModel", "planning_objective")


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name} has moved; import it from swmjax.policies", DeprecationWarning, stacklevel=2)
    # By name, since policies build upon checkpoints.
    return getattr(importlib.import_module("swmjax.policies.auto"), name)
