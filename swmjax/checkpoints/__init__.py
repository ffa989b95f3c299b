"""Checkpoints: names, torch archives without torch, and models filled from them."""

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.load import load_pretrained, load_probe
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

__all__ = [
    "CheckpointError",
    "CheckpointFiles",
    "CheckpointRow",
    "build_config",
    "checkpoints_root",
    "list_checkpoints",
    "load_pretrained",
    "load_probe",
    "read_config",
    "read_state_dict",
    "resolve_checkpoint",
]
