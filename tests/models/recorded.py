"""The reference's models on random weights, from `tests/golden/make_model_goldens.py`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from swmjax.checkpoints.abstract import abstract_model
from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import match_tensors, tensor_specs
from swmjax.checkpoints.torch.read import build_model
from swmjax.models import PLDMConfig, PreJEPAConfig
from swmjax.models.blocks import DINOv2, DINOv2Config, EmbedderConfig, LinearEmbedderConfig, MLPConfig, ViT, ViTConfig
from swmjax.models.lewm import PredictorConfig
from swmjax.models.prejepa import CausalPredictorConfig

GOLDEN = Path(__file__).parents[1] / "golden"
RULES = KeyRules(vits=("encoder",), dinos=("backbone",))
VIT = ViTConfig(16, 4, 24, 2, 2, 40)


def dinov2(**changes):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    return DINOv2Config(**{**sizes, "patch_size": 4, "image_size": 20, **changes})


def prejepa(*sources, registers=0, history_size=3):
    embedders = tuple((name, LinearEmbedderConfig(size, 4 + i)) for i, (name, size) in enumerate(sources))
    width = 24 + sum(embedder.emb_dim for _, embedder in embedders)
    predictor = CausalPredictorConfig(4 + registers, 3, width, depth=2, heads=2, mlp_dim=32, dim_head=8)
    return PreJEPAConfig(dinov2(num_register_tokens=registers), predictor, embedders, history_size)


CONFIGS = {
    "vit": VIT,
    "dinov2": dinov2(),
    "dinov2_registers": dinov2(num_register_tokens=4),
    "dinov2_swiglu": dinov2(use_swiglu_ffn=True),
    "pldm": PLDMConfig(
        VIT,
        PredictorConfig(3, 24, 20, 24, 2, 2, 32, 10),
        EmbedderConfig(4, 24),
        MLPConfig(24, 32, 24, "batch"),
        MLPConfig(24, 32, 24, "batch"),
    ),
    "prejepa": prejepa(("proprio", 3), ("action", 5)),
    "prejepa_noprop": prejepa(("action", 5), history_size=2),
    "prejepa_registers": prejepa(("action", 5), ("proprio", 3), registers=2),
}
ENCODERS = ("vit", "dinov2", "dinov2_registers", "dinov2_swiglu")
PREJEPAS = ("prejepa", "prejepa_noprop", "prejepa_registers")


class Recorded:
    """One file: the model, and values by name in the dtype of its parameters."""

    def __init__(self, name, dtype=jnp.float32, folder=GOLDEN, spelling=5):
        self.name, self.dtype = name, dtype
        with np.load(Path(folder) / f"model_{name}.npz") as file:
            self.values = dict(file)
        place = "" if name not in ENCODERS else "encoder." if name == "vit" else "backbone."
        weights = {place + k.removeprefix("weights/"): v for k, v in self.values.items() if k.startswith("weights/")}
        self.model = (encoder if name in ENCODERS else build_model)(CONFIGS[name], respelled(weights, spelling), dtype)

    def __getitem__(self, key):
        return jnp.asarray(self.values[key], self.dtype)

    def group(self, prefix):
        return {key.removeprefix(prefix): self[key] for key in self.values if key.startswith(prefix)}


def respelled(weights, transformers):
    """The tensors under the names of a version of transformers; the files have those of version 5."""
    if transformers == 5:
        return weights
    weights = {RULES.spelled(RULES.canonical(name), 4): value for name, value in weights.items()}
    for name in [name for name in weights if ".gate_proj." in name]:
        halves = [weights.pop(name), weights.pop(name.replace("gate_proj", "up_proj"))]
        weights[name.replace("gate_proj", "weights_in")] = np.concatenate(halves)
    return weights


def encoder(config, weights, dtype):
    """A bare encoder, in the place that the names of its tensors begin with."""
    vit = isinstance(config, ViTConfig)
    place = "encoder" if vit else "backbone"
    model = nnx.eval_shape(lambda: (ViT if vit else DINOv2)(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    variables = {(place, *path): value for path, value in nnx.to_flat_state(state)}
    arrays = match_tensors(weights, tensor_specs(variables), RULES)
    filled = [(path[1:], variable.replace(jnp.asarray(arrays[path], dtype))) for path, variable in variables.items()]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def drawn(model, config):
    """A model without training whose weights are away from zero, drawn by NumPy: nothing is compiled for it."""
    made, rng = abstract_model(model, config), np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.5, 0.6, leaf.shape), leaf.dtype), nnx.state(made))
    for path, leaf in nnx.to_flat_state(weights):
        if path[-1] in ("var", "scale"):
            leaf.set_value(np.abs(leaf.get_value()) + 0.3)
    nnx.update(made, weights)
    return made


def difference(actual, expected):
    """Largest error relative to the largest entry."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))
