"""Warm time of one CEM plan with a full-size LeWM, here and in the reference, on the same machine in one run.

python benchmarks/planning.py --reference-python DIR/bin/python
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import NOT_MEASURED, Report, Timing, exchange_folder, machine, progress, run_reference, threads, time_calls
from flax import nnx
from gymnasium.spaces import Box

from swmjax.checkpoints import build_config, load_pretrained
from swmjax.models import LeWM
from swmjax.planning import CEMSolver, GoalMSE, Plan, encode_problems, model_cost, solve, solve_batch

ACTION_SIZE, ACTION_BLOCK, HORIZON = 10, 5, 5
TOLERANCE = 1e-4
"""Largest difference in any planned action that counts as rounding; actions are of order 1."""
ROWS = {"plan": "plan, frames to actions", "encode": "of that: encoding frame and goal"}


@dataclass(frozen=True)
class Sizes:
    """The model and the search."""

    image: int = 224
    hidden: int = 192
    encoder_layers: int = 12
    encoder_heads: int = 3
    depth: int = 6
    heads: int = 16
    dim_head: int = 64
    mlp: int = 2048
    solver: CEMSolver = CEMSolver(num_samples=300, n_steps=30, topk=30)

    def config(self) -> dict[str, Any]:
        """The content of config.json, as released checkpoints have it."""
        module, width = "stable_worldmodel.wm.lewm.module", self.hidden
        norm = {"_target_": "torch.nn.BatchNorm1d", "_partial_": True}
        projector = {"_target_": f"{module}.MLP", "input_dim": width, "output_dim": width, "hidden_dim": self.mlp}
        return {
            "_target_": "stable_worldmodel.wm.lewm.LeWM",
            "encoder": {
                "_target_": "stable_pretraining.backbone.utils.vit_hf",
                "size": "tiny",
                "patch_size": 14,
                "image_size": self.image,
                "hidden_size": width,
                "num_hidden_layers": self.encoder_layers,
                "num_attention_heads": self.encoder_heads,
                "intermediate_size": 4 * width,
                "pretrained": False,
                "use_mask_token": False,
            },
            "predictor": {
                "_target_": f"{module}.Predictor",
                "num_frames": 3,
                "input_dim": width,
                "hidden_dim": width,
                "output_dim": width,
                "depth": self.depth,
                "heads": self.heads,
                "dim_head": self.dim_head,
                "mlp_dim": self.mlp,
                "dropout": 0.1,
            },
            "action_encoder": {"_target_": f"{module}.Embedder", "input_dim": ACTION_SIZE, "emb_dim": width},
            "projector": projector | {"norm_fn": norm},
            "pred_proj": projector | {"norm_fn": norm},
        }


FULL = Sizes()
QUICK = Sizes(28, 32, 2, 2, 1, 2, 8, 32, CEMSolver(num_samples=32, n_steps=3, topk=8))


@dataclass(frozen=True, eq=False)
class RecordedCEM(CEMSolver):
    """CEM that takes its noise [n_steps, N, H, A] from an array."""

    noise: jax.Array | None = None

    def sample_noise(self, key, step, shape, dtype):
        assert self.noise is not None
        return self.noise[step].astype(dtype)


def main() -> None:
    """Run the reference, then swmjax, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, help="interpreter of the reference's virtual environment")
    parser.add_argument("--repeats", type=int, default=5, help="warm calls that are timed (default 5)")
    parser.add_argument("--quick", action="store_true", help="a small model and 3 iterations: shows that it works")
    parser.add_argument("--output", type=Path, help="also write what is printed to this file")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    # Compile times are figures here, so programs must not come from a cache.
    jax.config.update("jax_enable_compilation_cache", False)

    sizes, report = QUICK if arguments.quick else FULL, Report(arguments.output)
    with exchange_folder() as name:
        folder = Path(name)
        inputs = write_inputs(folder, sizes)
        hyperparameters = {field: getattr(sizes.solver, field) for field in ("num_samples", "n_steps", "topk")}
        settings = {
            "threads": threads(),
            "repeats": arguments.repeats,
            "action_block": ACTION_BLOCK,
            "horizon": HORIZON,
            "solver": hyperparameters | {"var_scale": sizes.solver.var_scale},
        }
        reference = run_reference(arguments.reference_python, "reference_planning.py", settings, folder)
        model = load_pretrained(folder.resolve()) if reference else random_model(sizes)
        theirs = dict(np.load(folder / "plan.npz")) if reference else None
    compiled, timings, plan = measure(model, sizes.solver, inputs, arguments.repeats)
    show(report, sizes, compiled, timings, reference)
    if reference and theirs:
        compare(report, plan, theirs)
    else:
        report.without_reference(arguments.reference_python)
    facts = machine() | {"timed calls": f"{arguments.repeats} warm ones each, the two sides one after the other"}
    report.facts("How it was measured", facts | ({"reference": reference["versions"]} if reference else {}))
    report.close()


def write_inputs(folder: Path, sizes: Sizes) -> dict[str, np.ndarray]:
    """Frames and noise that both sides use."""
    rng, solver = np.random.default_rng(0), sizes.solver
    frame, noise = (1, 1, 3, sizes.image, sizes.image), (solver.n_steps, solver.num_samples, HORIZON, ACTION_SIZE)
    inputs = {"pixels": rng.normal(size=frame), "goal": rng.normal(size=frame), "noise": rng.normal(size=noise)}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    np.savez(folder / "inputs.npz", **inputs)
    (folder / "config.json").write_text(json.dumps(sizes.config()))
    return inputs


def random_model(sizes: Sizes) -> LeWM:
    """The model without the reference's weights; no gate at zero."""
    leaves, tree = jax.tree.flatten(LeWM(build_config(sizes.config()), rngs=nnx.Rngs(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.05 * jnp.abs(jax.random.normal(key, leaf.shape)) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def measure(
    model: LeWM, solver: CEMSolver, inputs: dict[str, np.ndarray], repeats: int
) -> tuple[dict[str, float], dict[str, Timing], Plan]:
    """Compile and time the plan, and its encoding alone; the plan with the shared noise comes last.

    Returns:
        Seconds of tracing and compilation, warm timings, and the plan with the shared noise.
    """
    space, key = Box(-1.0, 1.0, (ACTION_SIZE,), np.float32), jax.random.key(0)
    pixels, goal, noise = (jax.device_put(inputs[name]) for name in ("pixels", "goal", "noise"))

    def encode(model, pixels, goal):
        return encode_problems(model, pixels, goal, jnp.zeros((1, 0, ACTION_SIZE)))

    def plan(model, pixels, goal, key):
        cost = model_cost(model, GoalMSE())
        return solve_batch(solver, cost, encode(model, pixels, goal), space, key, HORIZON)

    @jax.jit
    def recorded(model, pixels, goal, noise):
        problem = jax.tree.map(lambda leaf: leaf[0], encode(model, pixels, goal))
        cost = model_cost(model, GoalMSE())
        replay = RecordedCEM(**dataclasses.asdict(solver), noise=noise)
        return solve(replay, lambda actions: cost(problem, actions), space, key, HORIZON)

    compiled, timings = {}, {}

    def timed(name: str, function: Callable[..., Any], *arguments: Any) -> None:
        progress(f"swmjax: {ROWS[name]}")
        start = time.perf_counter()
        program = jax.jit(function).lower(*arguments).compile()
        compiled[name] = time.perf_counter() - start
        jax.block_until_ready(program(*arguments))
        timings[name] = time_calls(lambda: jax.block_until_ready(program(*arguments)), repeats)

    timed("plan", plan, model, pixels, goal, key)
    timed("encode", encode, model, pixels, goal)
    return compiled, timings, jax.block_until_ready(recorded(model, pixels, goal, noise))


def show(
    report: Report,
    sizes: Sizes,
    compiled: dict[str, float],
    timings: dict[str, Timing],
    reference: dict[str, Any] | None,
) -> None:
    """The table of times."""
    rows = []
    for name, label in ROWS.items():
        row = [label, f"{compiled[name]:.1f}", timings[name].shown()]
        if reference:
            theirs = Timing(tuple(reference["seconds"][name]))
            row += [theirs.shown(), f"{theirs.median / timings[name].median:.2f}x"]
        else:
            row += [NOT_MEASURED, NOT_MEASURED]
        rows.append(row)
    solver, encoder = sizes.solver, f"ViT of {sizes.encoder_layers} layers, patch 14, {sizes.image} px"
    title = (
        f"One LeWM CEM plan: {solver.num_samples} candidates, {solver.n_steps} iterations, {solver.topk} elites, "
        f"horizon {HORIZON}, {ACTION_SIZE} action entries, context 1, one problem\n{encoder}; predictor depth "
        f"{sizes.depth}, {sizes.heads} heads of {sizes.dim_head}, mlp {sizes.mlp}; warm ms: median (least..most)"
    )
    report.table(title, ["", "compile s", "swmjax ms", "reference ms", "reference / swmjax"], rows)
    scored = solver.num_samples * solver.n_steps
    report.line(f"Candidates scored per second here: {timings['plan'].rates(scored)}")


def compare(report: Report, plan: Plan, theirs: dict[str, np.ndarray]) -> None:
    """Say how far the two plans with the same weights, frames and noise are apart."""
    actions = np.asarray(plan.actions)
    difference = float(np.abs(actions - theirs["actions"]).max())
    cost = float(plan.cost) / float(theirs["cost"]) - 1
    verdict = "equal within float32 tolerance" if difference <= TOLERANCE else "NOT equal"
    report.line(
        f"Same weights, frames and noise: actions differ by at most {difference:.1e} (largest |action| "
        f"{np.abs(actions).max():.2f}, tolerance {TOLERANCE:.0e}), elite costs by {abs(cost):.1e} relative: {verdict}"
    )


if __name__ == "__main__":
    main()
