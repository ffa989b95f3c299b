"""A torch checkpoint: resolved and read once, it hands out family, configuration and tensors, and makes the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints.abstract import Shardings, abstract_model, place
from swmjax.checkpoints.codec import override
from swmjax.checkpoints.errors import within
from swmjax.checkpoints.names import CheckpointFiles, read_config
from swmjax.checkpoints.torch.archive import read_state_dict
from swmjax.checkpoints.torch.families import build_config, family_of, read_family
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import match_tensors, tensor_specs
from swmjax.checkpoints.torch.source import Loaded, Source

_MODEL = re.compile(r"(?:(?:module|_orig_mod)\.)*model\.")


@dataclass(frozen=True)
class TorchCheckpoint:
    """What the two files of a torch checkpoint say.

    Attributes:
        files: where they lie.
        raw: the content of `config.json`.
        family: the family of the model.
        config: the model's configuration, as `config.json` and the tensors say together.
        tensors: the model's tensors by name, read-only views into the file.
    """

    files: CheckpointFiles
    raw: Mapping[str, Any]
    family: Family
    config: Any
    tensors: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, files: CheckpointFiles, extra_args: Mapping[str, Any] | None = None) -> TorchCheckpoint:
        """Read both files.

        Args:
            files: the files.
            extra_args: values of `config.json` to replace, by dotted key.

        Raises:
            CheckpointError: one of them cannot be used; one line per problem, each begins with the file.
        """
        assert files.weights is not None
        raw = read_config(files.config)
        with within(files.config):
            raw = override(raw, extra_args)
            family, config = read_family(raw)
        tensors = read_state_dict(files.weights)
        # A training module with losses and teachers has the model as `model`.
        tensors = {name: array for name, array in tensors.items() if _MODEL.match(name)} or tensors
        return cls(files, raw, family, family.complete(config, tensors), tensors)

    @property
    def rules(self) -> KeyRules:
        """How the file names its tensors."""
        return self.family.rules(self.config)

    def load(
        self,
        dtype: Any = jnp.float32,
        *,
        remat: bool = False,
        probes: Mapping[str, nnx.Module] | None = None,
        sharding: Shardings = None,
    ) -> Loaded:
        """The model, with what an export needs to write the checkpoint back as it was.

        Args:
            dtype: the dtype of every parameter.
            remat: gradients through rollouts recompute instead of store.
            probes: probes to attach before, by key.
            sharding: where arrays go.

        Raises:
            CheckpointError: the tensors are not those of this model; one line per problem.
            UserError: the model has no `remat`.
        """
        if remat and not hasattr(self.config, "remat"):
            raise UserError(f"remat: {type(self.config).__name__} has no such option")
        config = replace(self.config, remat=True) if remat else self.config
        assert self.files.weights is not None
        with within(self.files.weights):
            model = build_model(config, self.tensors, dtype, probes, sharding)
        return Loaded(model, self._source(), self._unused())

    def _source(self) -> Source:
        described = self.raw if "_target_" in self.raw else self.raw.get("model")
        # Settings of training scripts and classes of other repositories are not what the reference loads.
        known = isinstance(described, dict) and str(described.get("_target_")).startswith("stable_worldmodel.")
        if known and build_config(self.raw) != self.config:
            known = False
        rules = self.rules
        versions = {rules.version_of(name) for name in self.tensors} - {None}
        version: Literal[4, 5] | None = 4 if 4 in versions else 5 if 5 in versions else None
        used = {rules.bare(name): array.dtype.name for name, array in self.tensors.items() if rules.canonical(name)}
        dtype = Counter(used.values()).most_common(1)[0][0]
        others = {name: kind for name, kind in used.items() if kind != dtype}
        return Source(described if known else None, version, dtype, others)

    def _unused(self) -> dict[str, np.ndarray]:
        """Copies of the tensors that inference does not use, without those that follow from the configuration."""
        rules, buffers, kept = self.rules, self.family.buffers(self.config), {}
        for name, array in self.tensors.items():
            bare = rules.bare(name)
            same = bare in buffers and buffers[bare].dtype == array.dtype and np.array_equal(buffers[bare], array)
            if rules.canonical(name) is None and not same:
                kept[bare] = np.array(array)
        return kept


def build_model(
    config: Any,
    tensors: Mapping[str, np.ndarray],
    dtype: Any,
    probes: Mapping[str, nnx.Module] | None = None,
    sharding: Shardings = None,
) -> Any:
    """Build the model of a configuration and fill it with tensors.

    Args:
        config: the complete configuration of a family that has checkpoints.
        tensors: a torch state dict.
        dtype: the dtype of every parameter.
        probes: probes to attach before, by key.
        sharding: where arrays go.

    Raises:
        CheckpointError: the tensors are not those of this model; one line per problem.
    """
    family = family_of(config)
    assert family is not None
    return fill(abstract_model(family.model, config, probes), tensors, family.rules(config), dtype, sharding)


def fill(
    model: nnx.Module,
    tensors: Mapping[str, np.ndarray],
    rules: KeyRules,
    dtype: Any,
    sharding: Shardings = None,
) -> Any:
    """A module with the values of a torch state dict.

    Args:
        model: the module; only its structure and shapes matter.
        tensors: a torch state dict.
        rules: how the file names its tensors.
        dtype: the dtype of every parameter.
        sharding: where arrays go.

    Raises:
        CheckpointError: the tensors are not those of this model; one line per problem.
    """
    graph, state = nnx.split(model)
    variables = dict(nnx.to_flat_state(state))
    arrays = match_tensors(tensors, tensor_specs(variables), rules)
    copies = {path: np.array(array, dtype, order="C") for path, array in arrays.items()}
    places = {path: place(sharding, ".".join(map(str, path)), array.shape) for path, array in copies.items()}
    values = jax.device_put(copies, places)
    filled = [(path, variable.replace(values[path])) for path, variable in variables.items()]
    return nnx.merge(graph, nnx.from_flat_state(filled))
