"""Our side of models.py: one model in a process of its own, so that its peak of memory is its own.

Reads `settings.json`, `inputs.npz` and, where the reference was there first, `weights.pt` and `outputs.npz` in the
folder that is its argument; writes `result.json` there.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import time_calls
from flax import nnx
from flops import count_flops, matmul_peak
from model_sizes import ACTION, CLOCKS, PROPRIO, STATE, WINDOW, Sizes, restored

from swmjax import models
from swmjax.checkpoints import read_state_dict
from swmjax.checkpoints.torch.read import build_model
from swmjax.models import blocks, cast_model
from swmjax.models.blocks.two_hot import Bins
from swmjax.models.gcrl.predictors import GoalPredictorConfig
from swmjax.models.lewm import PredictorConfig
from swmjax.models.prejepa import CausalPredictorConfig
from swmjax.planning import GoalMSE, LatentProblem, model_cost


def config(name: str, sizes: Sizes) -> Any:
    """The configuration of a model."""
    width, dino = sizes.vit[0], blocks.DINOv2Config(**sizes.encoder(sizes.dino), use_mask_token=True)
    if name in ("lewm", "pldm"):
        projector = blocks.MLPConfig(width, sizes.mlp, width, "batch")
        kind = models.LeWMConfig if name == "lewm" else models.PLDMConfig
        return kind(
            blocks.ViTConfig(**sizes.encoder(sizes.vit), intermediate_size=4 * width),
            PredictorConfig(**sizes.frames(width)),
            blocks.EmbedderConfig(ACTION, width),
            projector,
            projector,
        )
    if name == "prejepa":
        sources = {"proprio": PROPRIO, "action": ACTION}
        embedders = tuple((n, blocks.LinearEmbedderConfig(size, sizes.embedding)) for n, size in sources.items())
        trunk = sizes.trunk(dino.hidden_size + len(sources) * sizes.embedding)
        return models.PreJEPAConfig(dino, CausalPredictorConfig(**trunk), embedders, WINDOW)
    if name == "tdmpc2":
        return models.TDMPC2Config(
            ACTION,
            (("state", sizes.tdmpc2_latent),),
            (("state", STATE),),
            mlp_dim=sizes.tdmpc2_mlp,
            bins=Bins(sizes.bins, -6.0, 2.0),
        )
    return models.GCRLConfig(dino, GoalPredictorConfig(**sizes.trunk(dino.hidden_size), out_dim=2))


def stages(name: str, model: Any, given: dict[str, jax.Array]) -> dict[str, tuple[Callable, tuple]]:
    """Functions of the model and their other arguments by stage; latents are made by the first."""

    def run(function: Any, *arguments: Any) -> Any:
        # Under another name, so that what is compiled here is not found again when compilation is timed.
        return jax.jit(lambda *given: function(*given))(model, *arguments)

    if name == "gcbc":
        frames = {key: given[key] for key in ("pixels", "goal")}

        def embed(model: Any, obs: Any) -> Any:
            return model.encode(obs), model.encode_goal(obs)

        def policy(model: Any, latents: Any, goal: Any) -> Any:
            return model.predict_actions(latents, goal)[0]

        return {"encode": (embed, (frames,)), "policy": (policy, run(embed, frames))}

    def encode(model: Any, obs: Any) -> Any:
        return model.encode(obs)

    def rollout(model: Any, latents: Any, actions: Any) -> Any:
        return model.rollout(latents, history, actions)

    def returns(model: Any, latents: Any, actions: Any) -> Any:
        return model.plan_cost(latents[:, -1], actions)

    def distance(model: Any, latents: Any, actions: Any, goal: Any) -> Any:
        first = jax.tree.map(lambda leaf: leaf[0], (latents, goal))
        problem = LatentProblem(latents=first[0], action_history=history[0], goal=first[1])
        objective = GoalMSE("mean" if name == "prejepa" else "sum")
        return model_cost(model, objective)(problem, actions[0])[None]

    obs, goal, actions, history = given.get("pixels"), given.get("goal"), given["candidates"], jnp.zeros((1, 0, ACTION))
    if name == "tdmpc2":
        obs = {"state": given["state"]}
    if name == "prejepa":
        obs = {"pixels": obs, "proprio": given["proprio"]}
        goal = {"pixels": goal, "proprio": given["goal_proprio"]}
    latents = run(encode, obs)
    cost = (returns, (latents, actions)) if name == "tdmpc2" else (distance, (latents, actions, run(encode, goal)))
    return {
        "encode": (encode, (obs,)),
        "rollout": (rollout, (latents, actions)),
        "cost": cost,
    }


def gradient_memory(sizes: Sizes, candidates: int, dtype: Any) -> dict[str, int]:
    """Bytes that the gradient of DINO-WM's cost needs beside arguments and results; compiled, never run."""
    needed = {}
    for remat in (False, True):
        fields = config("prejepa", sizes).__dict__ | {"remat": remat}
        model = nnx.eval_shape(lambda fields=fields: models.PreJEPA(models.PreJEPAConfig(**fields), rngs=nnx.Rngs(0)))
        model = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), model)
        tokens = (1, sizes.patches, sizes.dino[0])
        latents = {"pixels": jnp.zeros(tokens), "proprio": jnp.zeros((1, sizes.embedding))}

        def cost(actions: Any, model: Any, latents: Any = latents) -> Any:
            problem = LatentProblem(latents=latents, action_history=jnp.zeros((0, ACTION)), goal=latents)
            return jnp.sum(model_cost(model, GoalMSE("mean"))(problem, actions))

        actions = jax.ShapeDtypeStruct((candidates, 5, ACTION), jnp.float32)
        analysis = jax.jit(jax.grad(cost)).lower(actions, model).compile().memory_analysis()
        needed["with" if remat else "without"] = int(analysis.temp_size_in_bytes)
    return needed


def leading(output: Any) -> np.ndarray:
    """What is compared with the reference."""
    output = output[0] if isinstance(output, tuple) else output
    return np.asarray(output["pixels"] if isinstance(output, dict) else output, np.float64)


def main(folder: Path) -> None:
    """Build, compile, time and compare one model."""
    settings = json.loads((folder / "settings.json").read_text())
    # Compile times are figures here, so programs must not come from a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    name, sizes, dtype = settings["model"], restored(settings["sizes"]), jnp.dtype(settings["dtype"])
    if settings["gradients"]:
        memory = gradient_memory(sizes, settings["gradients"], dtype)
        (folder / "result.json").write_text(json.dumps(memory))
        return
    if (folder / "weights.pt").exists():
        model = build_model(config(name, sizes), read_state_dict(folder / "weights.pt"), dtype)
    else:
        kind = {"lewm": models.LeWM, "pldm": models.PLDM, "prejepa": models.PreJEPA, "tdmpc2": models.TDMPC2}
        model = cast_model(kind.get(name, models.GCRL)(config(name, sizes), rngs=nnx.Rngs(0)), dtype)
    theirs = dict(np.load(folder / "outputs.npz")) if (folder / "outputs.npz").exists() else {}
    given = {key: jnp.asarray(value) for key, value in np.load(folder / "inputs.npz").items()}

    rows = {}
    for stage, (function, arguments) in stages(name, model, given).items():
        start = time.perf_counter()
        program = jax.jit(function).lower(model, *arguments).compile()
        row = {"compile": time.perf_counter() - start, "flops": count_flops(function, model, *arguments)}
        output = leading(jax.block_until_ready(program(model, *arguments)))

        def call(program: Any = program, arguments: Any = arguments) -> None:
            jax.block_until_ready(program(model, *arguments))

        rows[stage] = row | {"seconds": time_calls(call, settings["repeats"], CLOCKS[settings["clock"]]).seconds}
        if stage in theirs:
            assert output.shape == theirs[stage].shape, f"{stage}: {output.shape}, reference {theirs[stage].shape}"
            rows[stage]["difference"] = float(np.abs(output - theirs[stage]).max() / np.abs(theirs[stage]).max())
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak, source = matmul_peak(settings["dtype"], CLOCKS[settings["clock"]])
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model))
    result = {"stages": rows, "memory": peak_memory, "peak": peak, "source": source, "parameters": parameters}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
