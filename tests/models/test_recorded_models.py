"""Every model on the recorded inputs of the reference: float32 within 1e-4, float64 within 1e-8."""

import json
import math
import subprocess

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from models.recorded import CONFIGS, ENCODERS, GOLDEN, PREJEPAS, RULES, Recorded, difference
from quick import quick_jit
from reference import reference_python

from swmjax.checkpoints.torch import backbones
from swmjax.checkpoints.torch.matching import tensor_specs
from swmjax.checkpoints.torch.node import Node, build
from swmjax.models import cast_model
from swmjax.models.blocks import DINOv2, ViT

TOLERANCES = {"float32": 1e-4, "float64": 1e-8}


def close(actual, expected, tolerance, what):
    error = difference(actual, expected)
    assert error < tolerance, f"{what}: relative error {error:.2e}, allowed {tolerance:.0e}"
    return error


def check_encoder(recorded, tolerance):
    sizes = recorded.group("pixels_")
    run = quick_jit(lambda model, frames: {size: model(pixels) for size, pixels in frames.items()})
    hidden = run(recorded.model, sizes)
    return max(close(hidden[size], recorded.values[f"hidden_{size}"], tolerance, size) for size in sizes)


def check_pldm(recorded, tolerance):
    def run(model, pixels, goal, history, candidates):
        emb, goal_emb = model.encode(pixels), model.encode(goal)
        out = {"emb": emb}
        for n in (1, 2, 3):
            out[f"predict_{n}"] = model.predict(emb[:, :n], candidates[:, 0, :n])
            out[f"rollout_context{n}"] = rolled = model.rollout(emb[:, 3 - n :], history[:, 3 - n :], candidates)
            out[f"cost_context{n}"] = jnp.sum(jnp.square(rolled[:, :, -1] - goal_emb[:, -1:]), axis=-1)
        model.train()
        out["train_emb"] = model.encode(pixels)
        out["train_predict"] = model.predict(out["train_emb"], candidates[:, 0, :3])
        for part in ("projector", "pred_proj"):
            norm = getattr(model, part).net[1]
            out |= {
                f"train/{part}.net.1.running_mean": norm.mean[...],
                f"train/{part}.net.1.running_var": norm.var[...],
            }
        return out

    names = ("pixels", "goal", "action_history", "candidates")
    out = quick_jit(run)(recorded.model, *(recorded[name] for name in names))
    assert {"weights", *names} | set(out) == {k if "weights/" not in k else "weights" for k in recorded.values}
    return max(close(value, recorded.values[name], tolerance, name) for name, value in out.items())


def check_prejepa(recorded, tolerance):
    def run(model, obs, goal, history, candidates):
        latents, goals = model.encode(obs), model.encode(goal)
        out = {f"emb/{k}": v for k, v in latents.items()} | {f"goal_emb/{k}": v for k, v in goals.items()}
        for n in (1, 2, 3):
            predicted = model.predict({k: v[:, :n] for k, v in latents.items()}, candidates[:, 0, :n])
            out |= {f"predict_{n}/{k}": v for k, v in predicted.items()}
            context = {k: v[:, 3 - n :] for k, v in latents.items()}
            rolled = model.rollout(context, history[:, 3 - n :], candidates)
            out |= {f"rollout_context{n}/{k}": v for k, v in rolled.items()}
            cost = [(v[:, :, -1] - goals[k][:, None, -1]) ** 2 for k, v in rolled.items()]
            out[f"cost_context{n}"] = sum(jnp.mean(c, axis=tuple(range(2, c.ndim))) for c in cost)
        return out

    goal = recorded.group("goal/")
    out = quick_jit(run)(
        recorded.model, recorded.group("obs/"), goal, recorded["action_history"], recorded["candidates"]
    )
    errors = []
    for name, value in out.items():
        if name.startswith("predict_"):
            name, source = name.split("/")
            expected = recorded.values[name][..., recorded.model.config.slot(source)]
        else:
            expected = recorded.values[name]
        errors.append(close(value, expected, tolerance, name))
    return max(errors)


def check(recorded, tolerance):
    kind = check_encoder if recorded.name in ENCODERS else check_prejepa if recorded.name in PREJEPAS else check_pldm
    return kind(recorded, tolerance)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_outputs_are_those_of_the_reference(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        check(Recorded(name, dtype), TOLERANCES[dtype])


@pytest.mark.parametrize("name", CONFIGS)
def test_files_of_transformers_4_give_the_same_model(name):
    ours, theirs = (jax.tree.leaves(nnx.state(Recorded(name, spelling=version).model)) for version in (5, 4))
    assert len(ours) == len(theirs) > 20
    assert all(jnp.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["pldm", "prejepa"])
def test_bfloat16_computes_in_bfloat16_and_returns_float32(name):
    recorded = Recorded(name)
    model = cast_model(recorded.model, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype(jnp.bfloat16)}
    obs = recorded["pixels"] if name == "pldm" else recorded.group("obs/")

    def run(model, obs, history, candidates):
        return model.rollout(model.encode(obs), history, candidates[:, :, :2])

    rolled = quick_jit(run)(model, obs, recorded["action_history"], recorded["candidates"])
    for source, value in {"": rolled}.items() if name == "pldm" else rolled.items():
        expected = recorded.values["rollout_context3" + (f"/{source}" if source else "")][:, :, :5]
        assert value.dtype == jnp.float32
        assert 1e-4 < difference(value, expected) < 0.1


@pytest.mark.reference
@pytest.mark.parametrize("seed", [1, 2])
def test_outputs_on_fresh_weights_are_those_of_the_installed_reference(seed, tmp_path):
    script = GOLDEN / "make_model_goldens.py"
    subprocess.run([reference_python(), script, tmp_path, str(seed)], check=True, capture_output=True)
    for dtype, tolerance in TOLERANCES.items():
        with jax.enable_x64(dtype == "float64"):
            for name in CONFIGS:
                error = check(Recorded(name, dtype, tmp_path), tolerance)
                print(f"{name} {dtype} seed {seed}: {error:.1e}")


SHAPES = """
import json, sys, torch
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel
from transformers import ViTConfig, ViTModel
shapes = {}
with torch.device("meta"):
    for name, sizes in json.load(sys.stdin).items():
        if name.startswith("vit"):
            model = ViTModel(ViTConfig(**sizes), add_pooling_layer=False, use_mask_token=True)
        elif "num_register_tokens" in sizes:
            model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes))
        else:
            model = Dinov2Model(Dinov2Config(**sizes))
        shapes[name] = {k: list(v.shape) for k, v in model.state_dict().items()}
print(json.dumps(shapes))
"""


@pytest.mark.reference
def test_encoders_of_every_size_have_the_tensors_of_transformers():
    python, configs, sizes = reference_python(), {}, {}
    for size in ("tiny", "small", "base", "large", "huge"):
        target = {"_target_": "stable_pretraining.backbone.utils.vit_hf", "size": size, "patch_size": 14}
        config = configs[f"vit_{size}"] = build(Node(target, ""), backbones.VIT)
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size")
        sizes[f"vit_{size}"] = {name: getattr(config, name) for name in names}
    for name, config in backbones.DINOV2.items():
        configs[name] = config
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
        names += ("use_swiglu_ffn",)
        names += ("num_register_tokens",) if config.num_register_tokens else ()
        sizes[name] = {name: getattr(config, name) for name in names}
    done = subprocess.run([python, "-c", SHAPES], input=json.dumps(sizes), check=True, capture_output=True, text=True)
    for name, theirs in json.loads(done.stdout).items():
        kind, place = (ViT, "encoder") if name.startswith("vit") else (DINOv2, "backbone")
        model = nnx.eval_shape(lambda kind=kind, name=name: kind(configs[name], rngs=nnx.Rngs(0)))
        specs = tensor_specs({(place, *path): value for path, value in nnx.to_flat_state(nnx.state(model))})
        expected = {RULES.canonical(f"{place}.{key}"): tuple(shape) for key, shape in theirs.items()}
        assert {key: spec.shape for key, spec in specs.items()} == expected, name
        print(f"{name}: {len(expected)} tensors, {sum(map(math.prod, expected.values()))} parameters")
