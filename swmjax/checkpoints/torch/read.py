"""A torch checkpoint: resolved and read once, it hands out family, configuration and tensors, and makes the model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from envs_mjx.checks import UserError
from swmjax.checkpoints.abstract import Shardings, abstract_model, place
from swmjax.checkpoints.codec import override
from swmjax.checkpoints.errors import CheckpointError, shown, warn, within
from swmjax.checkpoints.finite import check_finite, count_nonfinite
from swmjax.checkpoints.names import CheckpointFiles, read_config
from swmjax.checkpoints.torch.archive import read_archive
from swmjax.checkpoints.torch.families import build_config, family_of, read_family
from swmjax.checkpoints.torch.family import Family
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import match_tensors, tensor_specs, version_in
from swmjax.checkpoints.torch.source import Loaded, Source

_MODEL = re.compile(r"(?:(?:module|_orig_mod)\.)*model\.")


@dataclass(frozen=True)
class TorchCheckpoint:
    """What the two files of a torch checkpoint say.

    Attributes:
        files: where they lie.
        raw: the content of `config.json`, with what was to be set in it.
        family: the family of the model.
        config: the model's configuration, as `config.json` and the tensors say together.
        tensors: the model's tensors by name, read-only views into the file.
        left_out: the other tensors of the file, by name.
        entry: the entry of the file that holds the state dict; '' for its top level.
        settings: what was set in `config.json`, by dotted key.
        note: told where the state dict was found if not at the top level, and of weights that are not finite.
    """

    files: CheckpointFiles
    raw: Mapping[str, Any]
    family: Family
    config: Any
    tensors: Mapping[str, np.ndarray]
    left_out: Mapping[str, np.ndarray]
    entry: str
    settings: Mapping[str, Any]
    note: Callable[[str], None]

    @classmethod
    def read(
        cls,
        files: CheckpointFiles,
        extra_args: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        note: Callable[[str], None] = warn,
    ) -> TorchCheckpoint:
        """Read both files.

        Args:
            files: the files.
            extra_args: values of `config.json` to replace, by dotted key; in front of one of the model's `model.` may
                stand, wherever the file has the model.
            key: the entry of the weights' file that holds the state dict; as for `read_state_dict`.
            note: told where the state dict was found if not at the top level, and of weights that are not finite.

        Raises:
            CheckpointError: one of them cannot be used; one line per problem, each begins with the file.
        """
        assert files.weights is not None
        raw = read_config(files.config)
        settings = dict(extra_args or {})
        with within(files.config):
            raw = _set(raw, settings)
            family, config = read_family(raw)
        found = read_archive(files.weights, key=key)
        if found.entry:
            note(f"{files.weights}: the state dict was found under {found.entry!r}")
        # A training module with losses and teachers has the model as `model`.
        tensors = {name: array for name, array in found.tensors.items() if _MODEL.match(name)} or found.tensors
        left_out = {name: array for name, array in found.tensors.items() if name not in tensors} | dict(found.others)
        return cls(files, raw, family, family.complete(config, tensors), tensors, left_out, found.entry, settings, note)

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
        allow_nonfinite: bool = False,
    ) -> Loaded:
        """The model, with what an export needs to write the checkpoint back as it was.

        Args:
            dtype: the dtype of every parameter.
            remat: gradients through rollouts recompute instead of store.
            probes: probes to attach before, by key.
            sharding: where arrays go.
            allow_nonfinite: take weights that are NaN or infinite.

        Raises:
            CheckpointError: the tensors are not those of this model, or not finite; one line per problem.
            UserError: the model has no `remat`.
        """
        if remat and not hasattr(self.config, "remat"):
            raise UserError(f"remat: {type(self.config).__name__} has no such option")
        config = replace(self.config, remat=True) if remat else self.config
        assert self.files.weights is not None
        with within(self.files.weights):
            model = build_model(
                config,
                self.tensors,
                dtype,
                probes,
                sharding,
                allow_nonfinite=allow_nonfinite,
                note=lambda text: self.note(f"{self.files.weights}: {text}"),
            )
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
        return Source(described if known else None, version, dtype, others, self.settings)

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
    *,
    allow_nonfinite: bool = False,
    note: Callable[[str], None] = warn,
) -> Any:
    """Build the model of a configuration and fill it with tensors.

    Args:
        config: the complete configuration of a family that has checkpoints.
        tensors: a torch state dict.
        dtype: the dtype of every parameter.
        probes: probes to attach before, by key.
        sharding: where arrays go.
        allow_nonfinite: take values that are NaN or infinite.
        note: told which ones, if they are taken.

    Raises:
        CheckpointError: the tensors are not those of this model, or not finite; one line per problem.
    """
    family = family_of(config)
    assert family is not None
    model = abstract_model(family.model, config, probes)
    return fill(model, tensors, family.rules(config), dtype, sharding, allow_nonfinite=allow_nonfinite, note=note)


def _set(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `config.json` with other values; a null that says no more than its absence is left out."""
    for name, value in settings.items():
        try:
            json.dumps(value)
        except TypeError:
            raise CheckpointError(f"{name}: is {shown(value)}; allowed is what JSON can hold") from None
        if "${" in json.dumps(value):
            raise CheckpointError(f"{name}: is {shown(value)}, an interpolation, which is never evaluated")
    nested = isinstance(raw.get("model"), dict)
    named = {name if nested else name.removeprefix("model."): value for name, value in settings.items()}
    result = override(raw, named)
    for name in named:
        if not _has(raw, name) and _reads_as(override(result, {name: None}, drop=True), result):
            raise CheckpointError(f"{name}: is no key that this model reads, so setting it changes nothing")
    for name in (name for name, value in named.items() if value is None):
        without = override(result, {name: None}, drop=True)
        if read_family(without) == read_family(result):
            result = without
    return result


def _has(raw: Mapping[str, Any], key: str) -> bool:
    """Whether a JSON object has a dotted key."""
    place: Any = raw
    for part in key.split("."):
        if not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return True


def _reads_as(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations describe the same model; not where the first one describes none."""
    try:
        return read_family(one) == read_family(other)
    except CheckpointError:
        return False


def fill(
    model: nnx.Module,
    tensors: Mapping[str, np.ndarray],
    rules: KeyRules,
    dtype: Any,
    sharding: Shardings = None,
    *,
    allow_nonfinite: bool = False,
    note: Callable[[str], None] = warn,
) -> Any:
    """A module with the values of a torch state dict.

    Args:
        model: the module; only its structure and shapes matter.
        tensors: a torch state dict.
        rules: how the file names its tensors.
        dtype: the dtype of every parameter.
        sharding: where arrays go.
        allow_nonfinite: take values that are NaN or infinite.
        note: told which ones, if they are taken.

    Raises:
        CheckpointError: the tensors are not those of this model, or not finite; one line per problem.
    """
    graph, state = nnx.split(model)
    variables = dict(nnx.to_flat_state(state))
    specs = tensor_specs(variables)
    arrays = match_tensors(tensors, specs, rules)
    copies = {path: np.array(array, dtype, order="C") for path, array in arrays.items()}
    version = version_in(tensors, rules)
    counts = (
        (rules.spelled(name, version), count_nonfinite(copies[spec.path]), copies[spec.path].size)
        for name, spec in specs.items()
    )
    check_finite(counts, allow_nonfinite, note)
    places = {path: place(sharding, ".".join(map(str, path)), array.shape) for path, array in copies.items()}
    values = jax.device_put(copies, places)
    filled = [(path, variable.replace(values[path])) for path, variable in variables.items()]
    return nnx.merge(graph, nnx.from_flat_state(filled))
