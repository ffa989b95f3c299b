"""Record TD-MPC2, the goal-conditioned baselines and ResNet: folders `tdmpc2_*`, `gcrl_*` and files `*_io.npz`.

`python tests/golden/make_tdmpc2_gcrl_goldens.py [--folder FOLDER] [--seed SEED] [NAME ...]`, with a Python that has
the released reference (stable-worldmodel 0.1.1, transformers 5). Weights are random float32 numbers, none of them
zero; inputs are float32 and outputs float64, computed in float64 from the same weights.
"""

import argparse
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import transformers
from omegaconf import OmegaConf
from stable_worldmodel.wm import probes
from stable_worldmodel.wm.gcrl import gcrl, module
from stable_worldmodel.wm.tdmpc2 import tdmpc2
from stable_worldmodel.wm.tdmpc2.module import RunningScale, gaussian_logprob, squash, two_hot, two_hot_inv

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("names", nargs="*")
ARGUMENTS.add_argument("--folder", type=Path, default=Path(__file__).parent)
ARGUMENTS.add_argument("--seed", type=int, default=0)
GIVEN = ARGUMENTS.parse_args()
FOLDER = GIVEN.folder


def randomise(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill every parameter and buffer with numbers that keep activations near 1 and are never zero."""
    rng = np.random.default_rng([seed, GIVEN.seed] if GIVEN.seed else seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point() or "ema_coefficient" in name:
            continue
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "running_var" or (leaf == "weight" and tensor.ndim == 1):
            values = rng.uniform(0.5, 1.5, tensor.shape)
        elif leaf == "weight":
            values = rng.normal(0, 1.2 / np.sqrt(tensor[0].numel()), tensor.shape)
        else:
            values = rng.uniform(0.1, 0.4, tensor.shape) * rng.choice([-1, 1], tensor.shape)
        tensor.copy_(torch.from_numpy(np.asarray(values)).float())
    return model.eval()


def double(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.asarray(value)).double() for key, value in arrays.items()}


def save(name: str, model: torch.nn.Module | None, config: dict | None, **arrays: dict[str, np.ndarray]) -> None:
    """Write the checkpoint folder, and inputs (float32) and outputs (float64) beside it."""
    files = [FOLDER / f"{name}_io.npz"]
    if model is not None:
        folder = FOLDER / name
        folder.mkdir(exist_ok=True)
        torch.save({key: value.clone() for key, value in model.state_dict().items()}, folder / "weights.pt")
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        files.append(folder / "weights.pt")
    flat = {key: value for group in arrays.values() for key, value in group.items()}
    np.savez_compressed(files[0], **flat)
    for file in files:
        assert file.stat().st_size < 300_000, f"{file}: {file.stat().st_size} bytes"
        print(file.relative_to(FOLDER), file.stat().st_size)


def numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().double().numpy()


# TD-MPC2


def tdmpc2_config(**encoding: int) -> dict:
    # The powers of this discount are float32 numbers: the reference multiplies by them in float32 even in float64.
    wm = {
        "horizon": 3, "mlp_dim": 24, "enc_dim": 12, "simnorm_dim": 4, "num_q": 3, "rho": 0.5, "tau": 0.05,
        "consistency_coef": 20.0, "reward_coef": 0.1, "value_coef": 0.1, "discount": 0.96875,
        "uncertainty_penalty": 0.5, "entropy_coef": 1e-4, "name": "tdmpc2", "num_bins": 11, "vmin": -6, "vmax": 2,
        "encoding": encoding,
    }  # fmt: skip
    return {
        "_target_": "stable_worldmodel.wm.tdmpc2.TDMPC2",
        "_recursive_": False,
        "cfg": {"image_size": 48, "wm": wm, "action_dim": 2, "extra_dims": {"action": 2, "state": 5, "proprio": 3}},
    }


def record_tdmpc2(name: str, encoding: dict[str, int], trajectories: int) -> None:
    config = tdmpc2_config(**encoding)
    config["cfg"]["num_pi_trajs"] = trajectories
    model = randomise(tdmpc2.TDMPC2(OmegaConf.create(config["cfg"])), 1)
    rng = np.random.default_rng(2)
    batch, count, horizon, context = 2, 3, 4, 2
    inputs = {"candidates": rng.uniform(-1, 1, (batch, count, horizon, 2)), "prefix": rng.uniform(-1, 1, (batch, 2, 2))}
    inputs["noise"] = rng.normal(size=(batch, trajectories, horizon, 2))
    shapes = {"pixels": (3, 48, 48), "state": (5,), "proprio": (3,)}
    for key in encoding:
        inputs[key] = rng.normal(size=(batch, context, *shapes[key]))
    inputs = {key: value.astype(np.float32) for key, value in inputs.items()}

    model.double()
    given = double(inputs)
    obs = {key: given[key] for key in encoding}
    current = {key: value[:, -1] for key, value in obs.items()}
    expanded = {key: value[:, None].repeat(1, count, *[1] * (value.ndim - 1)) for key, value in current.items()}
    z = model.encode(obs)
    out = {"z": z, "cost": model.get_cost(expanded, given["candidates"])}
    actions = given["candidates"][:, 0, 0]
    next_z, reward = model(z[:, -1], actions)
    both = torch.cat([z[:, -1], actions], -1)
    out |= {"next_z": next_z, "reward": two_hot_inv(reward, model.cfg)[..., 0]}
    for heads in ("qs", "target_qs"):
        out[heads] = torch.stack([two_hot_inv(q(both), model.cfg)[..., 0] for q in getattr(model, heads)])
    rolled = z[:, None, -1].repeat(1, count, 1)
    latents = []
    for step in range(horizon):
        rolled = model(rolled, given["candidates"][:, :, step])[0]
        latents.append(rolled)
    out["rollout"] = torch.stack(latents, 2)
    mean, spread = model.pi(z[:, -1]).chunk(2, -1)
    out |= {"mean_action": torch.tanh(mean), "log_std": tdmpc2.log_std(spread)}
    for key, prefix in (("policy", None), ("policy_prefix", given["prefix"])):
        draws = iter(torch.unbind(given["noise"].permute(1, 2, 0, 3).reshape(-1, batch, 2)))
        tdmpc2.torch.randn_like, original = lambda _, draws=draws: next(draws), torch.randn_like
        out[key] = model.get_action(current, horizon, prefix)
        tdmpc2.torch.randn_like = original
    save(name, model.float(), config, inputs=inputs, outputs={key: numpy(value) for key, value in out.items()})


def record_probes() -> None:
    """A model with two probes attached, and what they read; one of them in a file of its own as well."""
    config = tdmpc2_config(state=16)
    model = tdmpc2.TDMPC2(OmegaConf.create(config["cfg"]))
    probes.attach_probe(model, "position", torch.nn.Linear(16, 3))
    deep = torch.nn.Sequential(torch.nn.Linear(16, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    probes.attach_probe(model, "deep", deep)
    randomise(model, 9).double()
    state = np.random.default_rng(10).normal(size=(4, 5)).astype(np.float32)
    z = model.encode({"state": torch.from_numpy(state).double()})
    outputs = {key: numpy(probes.get_probe(model, key)(z)) for key in ("position", "deep")}
    save("tdmpc2_probes", model.float(), config, inputs={"state": state}, outputs=outputs)
    other = randomise(deepcopy(deep), 11)
    torch.save(other.state_dict(), FOLDER / "probe_deep.pt")
    np.savez_compressed(FOLDER / "probe_deep_io.npz", deep=numpy(other.double()(z)))


def record_two_hot() -> None:
    """The functions that have no weights, in float64."""
    cfg = OmegaConf.create(tdmpc2_config()["cfg"])
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=20) * 3, [-1e4, 1e4, 0.0, np.expm1(2.0), -np.expm1(6.0)]])
    logits, noise, spread = rng.normal(size=(6, 11)), rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    scale = RunningScale(0.05)  # float32 only: the reference's update casts
    scales = []
    for factor in (1.0, 0.0, 30.0):
        scale.update(torch.from_numpy(x * factor).float()[:, None])
        scales.append(scale.value.item())
    noise_t, spread_t = torch.from_numpy(noise), torch.from_numpy(spread)
    log_prob = gaussian_logprob(noise_t, spread_t)
    _, action, squashed = squash(noise_t, noise_t * 4, log_prob)
    outputs = {
        "two_hot": two_hot(torch.from_numpy(x), cfg),
        "inverse": two_hot_inv(torch.from_numpy(logits), cfg),
        "log_prob": log_prob,
        "action": action,
        "squashed": squashed,
        "log_std": tdmpc2.log_std(spread_t),
        "scales": torch.tensor(scales),
        "scaled": scale(torch.from_numpy(x)),
    }
    save(
        "two_hot",
        None,
        None,
        inputs={"x": x, "logits": logits, "noise": noise, "spread": spread},
        outputs={key: numpy(value) for key, value in outputs.items()},
    )


# Goal-conditioned baselines


def trunk(**sizes: object) -> dict:
    return {"num_patches": 4, "num_frames": 3, "dim": 16, "depth": 3, "heads": 2, "mlp_dim": 20, "dim_head": 6, **sizes}


class Frozen(torch.nn.Module):
    """stable-pretraining's EvalOnly, which is not part of the reference's package: a part at `backbone`."""

    def __init__(self, part: torch.nn.Module):
        super().__init__()
        self.backbone = part

    def forward(self, *arguments, **kwargs):
        return self.backbone(*arguments, **kwargs)


class TeacherStudent(torch.nn.Module):
    """stable-pretraining's TeacherStudentWrapper: names, and the teacher as the answer of a call."""

    def __init__(self, part: torch.nn.Module):
        super().__init__()
        self.student, self.teacher = part, deepcopy(part)
        for name, value in (("base_ema_coefficient", 0.995), ("final_ema_coefficient", 0.9), ("ema_coefficient", 0.99)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, *arguments):
        return self.teacher(*arguments)


def vit(image: int) -> tuple[torch.nn.Module, dict]:
    sizes = {
        "patch_size": 7, "image_size": image, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    node = {"_target_": "stable_pretraining.backbone.utils.vit_hf", "size": "tiny", "use_mask_token": False, **sizes}
    return transformers.ViTModel(transformers.ViTConfig(**sizes), add_pooling_layer=False), node


def resnet(layer_type: str) -> torch.nn.Module:
    """A small backbone as `create_backbone` returns it."""
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[8, 12], depths=[2, 2], layer_type=layer_type, num_labels=2
    )
    model = transformers.ResNetForImageClassification(config)
    model.classifier[1] = torch.nn.LayerNorm(config.hidden_sizes[-1])
    return model


def record_gcrl(name: str, phase: str, extra: bool, stored: int, value: dict | None, depth: int = 3) -> None:
    """One checkpoint: phase 'plain' (GCBC), 'value' or 'policy'; positions are resized where `stored` is not 14."""
    encoder, encoder_node = vit(stored)
    sizes = {"dim": 16 if extra else 12, "depth": depth}
    extra_encoders = torch.nn.ModuleDict({"proprio": module.Embedder(in_chans=5, emb_dim=4)}) if extra else None
    action = trunk(out_dim=2, **sizes)
    kind = {"ivl": module.Predictor, "iql": module.Predictor, "hilp": module.MetricValuePredictor}
    wrap = {"plain": lambda part: part, "value": TeacherStudent, "policy": Frozen}[phase]
    parts, path = {}, "stable_worldmodel.wm.gcrl"
    nodes = {"action_predictor": {"_target_": f"{path}.module.Predictor", **action, "dropout": 0.0, "emb_dropout": 0.0}}
    if value:
        options = {} if value["kind"] == "hilp" else {"out_dim": 1, "pool_type": value["pool"]}
        made = kind[value["kind"]](**trunk(**sizes, **options))
        nodes["value_predictor"] = {"_target_": f"{path}.module.{type(made).__name__}", **trunk(**sizes, **options)}
        parts["value_predictor"] = wrap(made)
        if value["kind"] == "iql" and phase != "policy":
            q = trunk(**sizes, action_dim=2, q_hidden_dim=10, pool_type=value["pool"])
            nodes["critic_predictor"] = {"_target_": f"{path}.module.QPredictor", **q}
            parts["critic_predictor"] = wrap(module.QPredictor(**q))
    model = gcrl.GCRL(
        encoder=encoder if phase == "plain" else Frozen(encoder),
        action_predictor=module.Predictor(**action),
        extra_encoders=extra_encoders,
        **parts,
    )
    randomise(model, 5)
    config = {
        "_target_": f"{path}.gcrl.GCRL",
        "history_size": 3,
        "encoder": encoder_node,
        **nodes,
    }
    if extra:
        embedder = {"_target_": f"{path}.module.Embedder", "in_chans": 5, "emb_dim": 4}
        config["extra_encoders"] = {"_target_": "torch.nn.ModuleDict", "modules": {"proprio": embedder}}

    rng = np.random.default_rng(6)
    inputs = {
        "pixels": rng.normal(size=(2, 3, 3, 14, 14)), "goal": rng.normal(size=(2, 1, 3, 14, 14)),
        "proprio": rng.normal(size=(2, 3, 5)), "goal_proprio": rng.normal(size=(2, 1, 5)),
        "actions": rng.normal(size=(2, 3, 2)),
    }  # fmt: skip
    inputs = {key: value.astype(np.float32) for key, value in inputs.items()}
    model.double()
    info = double(inputs)
    # The reference casts observations to float32, which these are; the cast itself does not go with float64 weights.
    torch.Tensor.float, original = torch.Tensor.double, torch.Tensor.float
    action_out = model.get_action(dict(info))
    model.encode(info, target="embed")
    model.encode(info, pixels_key="goal", prefix="goal_", target="goal_embed")
    torch.Tensor.float = original
    embed, goal = info["embed"], info["goal_embed"]
    out = {"embed": embed, "goal_embed": goal, "action": action_out}
    for context in (1, 2, 3):
        out[f"means_{context}"], out["stds"] = model.predict_actions(embed[:, :context], goal, temperature=0.7)
        if value:
            out[f"values_{context}"] = model.predict_values(embed[:, :context], goal)
    flat = (embed.flatten(1, 2), goal.flatten(1, 2))
    if phase == "value":
        out["student_values"] = model.value_predictor.student(*flat)
    if "critic_predictor" in parts:
        out["q"] = model.critic_predictor(flat[0], info["actions"], flat[1])
    save(name, model.float(), config, inputs=inputs, outputs={key: numpy(value) for key, value in out.items()})


def record_resnet(layer_type: str) -> None:
    """Weights beside inputs and outputs: evaluation, then two training steps' statistics."""
    model = randomise(resnet(layer_type), 7)
    weights = {f"weight:{key}": value.clone().float().numpy() for key, value in model.state_dict().items()}
    pixels = np.random.default_rng(8).normal(size=(3, 3, 40, 33)).astype(np.float32)
    model.double()
    given = torch.from_numpy(pixels).double()
    out = {"features": model(given).logits}
    model.train()
    for step in range(2):
        out[f"trained_{step}"] = model(given + step).logits
    statistics = {key: value for key, value in model.state_dict().items() if "running" in key}
    out |= {f"after:{key}": value for key, value in statistics.items()}
    save(
        f"resnet_{layer_type}", None, None, weights=weights, inputs={"pixels": pixels},
        outputs={key: numpy(value) for key, value in out.items()},
    )  # fmt: skip


RECORDS: dict[str, Callable[[], None]] = {
    "tdmpc2_state": lambda: record_tdmpc2("tdmpc2_state", {"state": 16}, 1),
    "tdmpc2_pixels": lambda: record_tdmpc2("tdmpc2_pixels", {"proprio": 4, "pixels": 12, "state": 8}, 3),
    "tdmpc2_probes": record_probes,
    "two_hot": record_two_hot,
    "gcrl_gcbc": lambda: record_gcrl("gcrl_gcbc", "plain", True, 21, None),
    "gcrl_gcbc_deep": lambda: record_gcrl("gcrl_gcbc_deep", "plain", False, 14, None, depth=4),
    "gcrl_iql_value": lambda: record_gcrl("gcrl_iql_value", "value", True, 14, {"kind": "iql", "pool": "mean"}),
    "gcrl_ivl_policy": lambda: record_gcrl("gcrl_ivl_policy", "policy", False, 14, {"kind": "ivl", "pool": "mean"}, 4),
    "gcrl_hilp_value": lambda: record_gcrl("gcrl_hilp_value", "value", False, 14, {"kind": "hilp"}),
    "resnet_basic": lambda: record_resnet("basic"),
    "resnet_bottleneck": lambda: record_resnet("bottleneck"),
}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)  # two_hot_inv makes its bins in the default dtype
    for name in GIVEN.names or RECORDS:
        RECORDS[name]()
