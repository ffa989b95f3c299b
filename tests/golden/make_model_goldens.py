"""Record outputs of the reference's models on random weights.

`python tests/golden/make_model_goldens.py [FOLDER [SEED]]`, with stable-worldmodel 0.1.1, torch and transformers 5.
Every file of FOLDER (default: beside this one) is `model_<name>.npz`: the state dict under `weights/`, inputs, and
outputs computed in float64 from the float32 weights. No weight is zero. The reference casts to float32 in some
places, which is switched off while recording.
"""

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTModel,
)

warnings.simplefilter("ignore")
from stable_worldmodel.wm.pldm import module as pldm_parts  # noqa: E402
from stable_worldmodel.wm.pldm.pldm import PLDM  # noqa: E402
from stable_worldmodel.wm.prejepa import module as prejepa_parts  # noqa: E402
from stable_worldmodel.wm.prejepa.prejepa import PreJEPA  # noqa: E402

HERE = Path(__file__).parent
ENCODER_SIZES = [(16, 16), (24, 24), (28, 28), (12, 20), (16, 20), (8, 32), (18, 17)]


@contextmanager
def in_float64():
    """Casts to float32 inside the reference leave float64 alone."""
    with (
        mock.patch.object(torch.Tensor, "float", lambda self: self),
        mock.patch.object(torch, "float32", torch.float64),
    ):
        yield


def randomised(model, rng):
    """Weights of a spread that keeps activations alive, none of them zero; then float64 and evaluation mode."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("num_batches_tracked", ".0.bias")) and not value.requires_grad:
                continue
            draw = rng.normal(size=value.shape).astype(np.float32)
            if name.endswith("running_var"):
                draw = np.abs(draw) + 0.5
            elif value.ndim == 1:
                draw = 0.3 * draw + (1.0 if name.endswith(("weight", "lambda1")) else 0.0)
            elif value.ndim > 1 and "position" not in name and "token" not in name:
                draw *= 1.2 / np.sqrt(np.prod(value.shape[1:]))
            value.copy_(torch.from_numpy(draw.reshape(value.shape)))
    return model.double().eval()


def recorded(model, **values):
    state = {f"weights/{k}": v.float().numpy() for k, v in model.state_dict().items() if not is_buffer(k, model)}
    return state | {k: v.detach().numpy() if torch.is_tensor(v) else v for k, v in values.items()}


def is_buffer(name, model):
    """Buffers that say nothing: counters and attention masks."""
    return name.endswith("num_batches_tracked") or (name in dict(model.named_buffers()) and name.endswith(".bias"))


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32)).double()


def copies(x):
    """Three candidates of every problem."""
    return x[:, None].expand(-1, 3, *x.shape[1:])


def encoder(model, rng):
    randomised(model, rng)
    values = {}
    for height, width in ENCODER_SIZES:
        pixels = normal(rng, 2, 3, height, width)
        kwargs = {"interpolate_pos_encoding": True} if isinstance(model, ViTModel) else {}
        values[f"pixels_{height}x{width}"] = pixels.float()
        with in_float64():
            values[f"hidden_{height}x{width}"] = model(pixels, **kwargs).last_hidden_state
    return recorded(model, **values)


def small_vit(**changes):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = ViTConfig(**{**sizes, "patch_size": 4, "image_size": 16, **changes})
    return ViTModel(config, add_pooling_layer=False, use_mask_token=False)


def small_dinov2(registers=0, **changes):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    sizes |= {"patch_size": 4, "image_size": 20, **changes}
    if registers:
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(num_register_tokens=registers, **sizes))
    return Dinov2Model(Dinov2Config(**sizes))


def pldm(rng):
    def mlp():
        return pldm_parts.MLP(24, 32, 24, norm_fn=torch.nn.BatchNorm1d)

    model = PLDM(
        encoder=small_vit(),
        predictor=pldm_parts.Predictor(
            num_frames=3, depth=2, heads=2, mlp_dim=32, input_dim=24, hidden_dim=20, output_dim=24, dim_head=10
        ),
        action_encoder=pldm_parts.Embedder(input_dim=4, emb_dim=24),
        projector=mlp(),
        pred_proj=mlp(),
    )
    randomised(model, rng)
    pixels, goal = normal(rng, 2, 3, 3, 20, 20), normal(rng, 2, 1, 3, 20, 20)
    history, candidates = normal(rng, 2, 2, 4), normal(rng, 2, 3, 5, 4)
    values = {"pixels": pixels.float(), "goal": goal.float(), "action_history": history.float()}
    values |= {"candidates": candidates.float()}
    with in_float64(), torch.no_grad():
        for context in (1, 2, 3):
            actions = torch.cat([copies(history[:, 3 - context :]), candidates], dim=2)
            costs, rollouts = [], []
            # The reference's cost takes one problem at a time.
            for one in (slice(0, 1), slice(1, 2)):
                info = {"pixels": copies(pixels[one, -context:]), "goal": copies(goal[one]), "action": actions[one]}
                costs.append(model.get_cost(info, actions[one]))
                rollouts.append(info["predicted_emb"])
            values[f"cost_context{context}"] = torch.cat(costs)
            values[f"rollout_context{context}"] = torch.cat(rollouts)
        values["emb"] = model.encode({"pixels": pixels})["emb"]
        for length in (1, 2, 3):
            act_emb = model.action_encoder(candidates[:, 0, :length])
            values[f"predict_{length}"] = model.predict(values["emb"][:, :length], act_emb)
    weights = recorded(model)
    with in_float64(), torch.no_grad():
        model.train()
        values["train_emb"] = model.encode({"pixels": pixels})["emb"]
        act_emb = model.action_encoder(candidates[:, 0, :3])
        values["train_predict"] = model.predict(values["train_emb"], act_emb)
        for name, value in model.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                values[f"train/{name}"] = value.clone()
    return weights | recorded(torch.nn.Identity(), **values)


def prejepa(rng, sources, registers=0, history_size=3):
    patches = 4 + registers
    embedders = {name: prejepa_parts.Embedder(in_chans=size, emb_dim=4 + i) for i, (name, size) in enumerate(sources)}
    width = 24 + sum(e.emb_dim for e in embedders.values())
    predictor = prejepa_parts.CausalPredictor(
        num_patches=patches, num_frames=3, dim=width, depth=2, heads=2, mlp_dim=32, dim_head=8, dropout=0.1
    )
    model = PreJEPA(
        encoder=small_dinov2(registers),
        predictor=predictor,
        extra_encoders=torch.nn.ModuleDict(embedders),
        history_size=history_size,
    )
    randomised(model, rng)
    observed = [name for name, _ in sources if name != "action"]
    obs = {"pixels": normal(rng, 2, 3, 3, 8, 8)} | {n: normal(rng, 2, 3, s) for n, s in sources if n != "action"}
    goal = {k: normal(rng, *v[:, :1].shape) for k, v in obs.items()}
    history, candidates = normal(rng, 2, 2, dict(sources)["action"]), normal(rng, 2, 3, 5, dict(sources)["action"])
    values = {f"obs/{k}": v.float() for k, v in obs.items()} | {f"goal/{k}": v.float() for k, v in goal.items()}
    values |= {"action_history": history.float(), "candidates": candidates.float()}

    with in_float64(), torch.no_grad():
        for context in (1, 2, 3):
            actions = torch.cat([copies(history[:, 3 - context :]), candidates], dim=2)
            info = {k: copies(v[:, -context:]) for k, v in obs.items()}
            info |= {"goal" if k == "pixels" else f"goal_{k}": copies(v) for k, v in goal.items()}
            info |= {"id": torch.full((2, 3, 1), context), "step_idx": torch.zeros(2, 3, 1), "action": actions}
            values[f"cost_context{context}"] = model.get_cost(info, actions)
            for name in ("pixels", *observed):
                values[f"rollout_context{context}/{name}"] = info[f"predicted_{name}_emb"]
                values[f"goal_emb/{name}"] = info[f"{name}_goal_emb"][:, 0]
        emb = model.encode({**obs, "action": candidates[:, 0, :3]})
        for name in ("pixels", *observed):
            values[f"emb/{name}"] = emb[f"{name}_emb"]
        for length in (1, 2, 3):
            values[f"predict_{length}"] = model.predict(emb["emb"][:, :length])
    return recorded(model, **values)


MODELS = {
    "vit": lambda rng: encoder(small_vit(), rng),
    "dinov2": lambda rng: encoder(small_dinov2(), rng),
    "dinov2_registers": lambda rng: encoder(small_dinov2(4), rng),
    "dinov2_swiglu": lambda rng: encoder(small_dinov2(use_swiglu_ffn=True), rng),
    "pldm": pldm,
    "prejepa": lambda rng: prejepa(rng, [("proprio", 3), ("action", 5)]),
    "prejepa_noprop": lambda rng: prejepa(rng, [("action", 5)], history_size=2),
    "prejepa_registers": lambda rng: prejepa(rng, [("action", 5), ("proprio", 3)], registers=2),
}


def main(folder=HERE, seed=0):
    for index, (name, make) in enumerate(MODELS.items()):
        values = make(np.random.default_rng([int(seed), index]))
        file = Path(folder) / f"model_{name}.npz"
        np.savez_compressed(file, **values)
        print(f"{file.name}: {len(values)} arrays, {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
