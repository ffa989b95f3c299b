"""What models.py measures: sizes and inputs that both sides build from; imports neither JAX nor PyTorch."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MODELS = ("lewm", "pldm", "prejepa", "tdmpc2", "gcbc")
STAGES = {
    "lewm": ("encode", "rollout", "cost"),
    "pldm": ("encode", "rollout", "cost"),
    "prejepa": ("encode", "rollout", "cost"),
    "tdmpc2": ("encode", "rollout", "cost"),
    "gcbc": ("encode", "policy"),
}
ACTION, PROPRIO, STATE = 10, 4, 39
WINDOW, HORIZON = 3, 5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Sizes:
    """Of the models, as published, and of the work: candidates a call."""

    image: int = 224
    patch: int = 14
    vit: tuple[int, int, int] = (192, 12, 3)
    dino: tuple[int, int, int] = (384, 12, 6)
    depth: int = 6
    heads: int = 16
    dim_head: int = 64
    mlp: int = 2048
    embedding: int = 10
    tdmpc2_latent: int = 128
    tdmpc2_mlp: int = 384
    bins: int = 101
    candidates: int = 300
    prejepa_candidates: int = 8

    @property
    def patches(self) -> int:
        """Patches of a frame."""
        return (self.image // self.patch) ** 2

    def trunk(self, width: int) -> dict[str, int]:
        """A transformer over all patches of the window."""
        names = {"num_patches": self.patches, "num_frames": WINDOW, "dim": width, "depth": self.depth}
        return names | {"heads": self.heads, "mlp_dim": self.mlp, "dim_head": self.dim_head}

    def frames(self, width: int) -> dict[str, int]:
        """LeWM's transformer over frames."""
        names = {"num_frames": WINDOW, "input_dim": width, "hidden_dim": width, "output_dim": width}
        return names | {"depth": self.depth, "heads": self.heads, "mlp_dim": self.mlp, "dim_head": self.dim_head}

    def encoder(self, of: tuple[int, int, int]) -> dict[str, int]:
        """Sizes of a frame encoder, as transformers names them."""
        width, layers, heads = of
        names = {"image_size": self.image, "patch_size": self.patch, "hidden_size": width}
        return names | {"num_hidden_layers": layers, "num_attention_heads": heads}

    def settings(self) -> dict[str, Any]:
        """For a worker; `Sizes(**settings)` gives them back."""
        return asdict(self)


FULL = Sizes()
QUICK = Sizes(28, 14, (16, 1, 2), (16, 1, 2), 1, 2, 8, 16, 4, 16, 16, 11, 4, 2)


def restored(settings: dict[str, Any]) -> Sizes:
    """Sizes that went through JSON."""
    return Sizes(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})


def inputs(model: str, sizes: Sizes) -> dict[str, np.ndarray]:
    """Observations, goal and candidates of one problem: float32."""
    rng = np.random.default_rng(0)
    count = sizes.prejepa_candidates if model == "prejepa" else sizes.candidates
    shapes: dict[str, tuple[int, ...]] = {"candidates": (1, count, HORIZON, ACTION)}
    if model == "tdmpc2":
        shapes["state"] = (1, 1, STATE)
    else:
        context = WINDOW if model == "gcbc" else 1
        shapes["pixels"] = (1, context, 3, sizes.image, sizes.image)
        shapes["goal"] = (1, 1, 3, sizes.image, sizes.image)
    if model == "prejepa":
        shapes |= {"proprio": (1, 1, PROPRIO), "goal_proprio": (1, 1, PROPRIO)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["candidates"] = np.tanh(arrays["candidates"])
    return arrays
