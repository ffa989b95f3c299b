"""Checkpoints: names, torch archives without torch, and models filled from them."""

from swmjax.checkpoints.auto import ActionModel, AutoActionableModel, AutoCostModel, CostModel, planning_objective
from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.export import export_pretrained
from swmjax.checkpoints.importing import Import, import_checkpoint
from swmjax.checkpoints.load import load_checkpoint, load_pretrained, load_probe
from swmjax.checkpoints.native import Saving, save_pretrained
from swmjax.checkpoints.source import Loaded, Source
from swmjax.checkpoints.store import (
    CheckpointFiles,
    CheckpointRow,
    checkpoints_root,
    list_checkpoints,
    read_config,
    resolve_checkpoint,
)
from swmjax.checkpoints.targets import build_config
from swmjax.checkpoints.torch_archive import read_state_dict
from swmjax.checkpoints.torch_writer import write_state_dict
from swmjax.checkpoints.verification import Verification, verify

__all__ = [
    "ActionModel",
    "AutoActionableModel",
    "AutoCostModel",
    "CheckpointError",
    "CheckpointFiles",
    "CheckpointRow",
    "CostModel",
    "Import",
    "Loaded",
    "Saving",
    "Source",
    "Verification",
    "build_config",
    "checkpoints_root",
    "export_pretrained",
    "import_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "load_pretrained",
    "load_probe",
    "planning_objective",
    "read_config",
    "read_state_dict",
    "resolve_checkpoint",
    "save_pretrained",
    "verify",
    "write_state_dict",
]
