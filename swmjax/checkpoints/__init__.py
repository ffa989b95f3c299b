"""Checkpoints: names, torch archives without torch, and models filled from them."""

from swmjax.checkpoints.errors import CheckpointError
from swmjax.checkpoints.export import export_pretrained
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

__all__ = [
    "CheckpointError",
    "CheckpointFiles",
    "CheckpointRow",
    "Loaded",
    "Saving",
    "Source",
    "build_config",
    "checkpoints_root",
    "export_pretrained",
    "list_checkpoints",
    "load_checkpoint",
    "load_pretrained",
    "load_probe",
    "read_config",
    "read_state_dict",
    "resolve_checkpoint",
    "save_pretrained",
]
