"""Trained actors as files: one NPZ with the arrays and a JSON header; nothing in it is executed."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import swmjax
from swmjax.checkpoints.errors import CheckpointError, shown
from swmjax.models.actor import ACTIVATIONS, Actor
from swmjax.runs.files import replacing

FORMAT = 1
"""Version of the layout; a release reads this one and all before it."""
ACTOR_FILE = "expert.npz"
"""Name of the actor in a run folder of `swmjax train-expert`."""
_HEADER = "header"
_MAX_LAYERS = 64


def write_actor(path: Path, actor: Actor, facts: dict[str, Any]) -> None:
    """Write an actor; a file that is there already is replaced at once.

    Args:
        path: the file, ending in `.npz`.
        actor: the actor.
        facts: what else the file should say, as JSON takes it: the environment, for instance.
    """
    header = {
        "swmjax": {"format": FORMAT, "version": swmjax.__version__},
        "observations": list(actor.observations),
        "activation": actor.activation,
        "layers": len(actor.kernels),
        "facts": facts,
    }
    arrays = {name: np.asarray(getattr(actor, name)) for name in ("mean", "std", "low", "high")}
    for i, (kernel, bias) in enumerate(zip(actor.kernels, actor.biases, strict=True)):
        arrays |= {f"kernel_{i}": np.asarray(kernel), f"bias_{i}": np.asarray(bias)}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(buffer, **{_HEADER: text}, **arrays)  # type: ignore[arg-type]
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_actor(path: Path) -> tuple[Actor, dict[str, Any]]:
    """The actor of a file, and its facts.

    Raises:
        CheckpointError: there is no such file, or it is not one that `write_actor` wrote; names the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected an actor that swmjax train-expert wrote")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        return _actor(header, arrays), dict(header["facts"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: is damaged, or no actor of swmjax: {shown(str(error), 200)}") from error


def _actor(header: Any, arrays: dict[str, np.ndarray]) -> Actor:
    version = header["swmjax"]["format"]
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(f"format {shown(version)}; this release reads 1 to {FORMAT}, a newer one may help")
    layers, activation = header["layers"], header["activation"]
    if type(layers) is not int or not 1 <= layers <= _MAX_LAYERS:
        raise CheckpointError(f"layers: is {shown(layers)}; allowed are 1 to {_MAX_LAYERS}")
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"activation: is {shown(activation)}; allowed are {', '.join(ACTIVATIONS)}")
    vectors = {name: arrays[name] for name in ("mean", "std", "low", "high")}
    kernels = [arrays[f"kernel_{i}"] for i in range(layers)]
    biases = [arrays[f"bias_{i}"] for i in range(layers)]
    widths = [*vectors["mean"].shape, *(bias.shape[-1] for bias in biases)]
    expected = {"std": vectors["mean"].shape, "low": (widths[-1] // 2,), "high": (widths[-1] // 2,)}
    expected |= {f"kernel_{i}": (widths[i], widths[i + 1]) for i in range(layers)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise CheckpointError(f"{name}: expected shape {shape}, found {arrays[name].shape}")
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise CheckpointError(f"{name}: expected finite float32 numbers, found {array.dtype}")
    return Actor(
        **{name: jnp.asarray(array) for name, array in vectors.items()},
        kernels=tuple(map(jnp.asarray, kernels)),
        biases=tuple(map(jnp.asarray, biases)),
        observations=tuple(map(str, header["observations"])),
        activation=activation,
    )
