"""ResNet on the recorded outputs of transformers: evaluation, and the statistics of training steps."""

import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import difference
from quick import quick_jit
from reference import reference_python

from swmjax.checkpoints.torch.key_rules import KeyRules
from swmjax.checkpoints.torch.matching import tensor_specs
from swmjax.checkpoints.torch.read import fill
from swmjax.models.blocks.resnet import ResNet, ResNetConfig

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["resnet_basic", "resnet_bottleneck"]
TOLERANCES = {False: 1e-4, True: 1e-8}


def compare(folder, name, x64):
    """Errors of all outputs and statistics on recorded weights."""
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        golden = dict(np.load(folder / f"{name}_io.npz"))
        tensors = {key.removeprefix("weight:"): value for key, value in golden.items() if key.startswith("weight:")}
        config = ResNetConfig(
            hidden_sizes=(8, 12), depths=(2, 2), layer_type=name.removeprefix("resnet_"), embedding_size=4
        )
        abstract = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))

        @quick_jit
        def run(model, pixels):
            training = nnx.clone(model)
            training.train()
            first, second = training(pixels), training(pixels + 1)
            return {"features": model(pixels), "trained_0": first, "trained_1": second}, nnx.state(training)

        model = fill(abstract, tensors, KeyRules(), dtype)
        found, after = run(model, jnp.asarray(golden["pixels"], dtype))
        assert {value.dtype for value in found.values()} == {jnp.dtype(dtype)}
        after = dict(nnx.to_flat_state(after))
        for key, spec in tensor_specs(after).items():
            if "running" in key:
                found[f"after:{key}"] = after[spec.path][...]
        assert set(found) == {key for key, value in golden.items() if value.dtype == np.float64}
        return {key: difference(value, golden[key]) for key, value in found.items()}


@pytest.mark.parametrize("x64", TOLERANCES)
@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, x64):
    errors = compare(GOLDEN, name, x64)
    assert max(errors.values()) < TOLERANCES[x64], max(errors.items(), key=lambda item: item[1])


@pytest.mark.reference
@pytest.mark.parametrize("seed", [1, 2])
def test_outputs_on_fresh_weights_are_those_of_the_installed_reference(seed, tmp_path):
    python = reference_python()
    script = GOLDEN / "make_tdmpc2_gcrl_goldens.py"
    command = [python, script, "--folder", tmp_path, "--seed", str(seed), *NAMES]
    subprocess.run(command, check=True, capture_output=True)
    for x64, tolerance in TOLERANCES.items():
        for name in NAMES:
            errors = compare(tmp_path, name, x64)
            print(f"{name} seed {seed} {'float64' if x64 else 'float32'}: {max(errors.values()):.1e}")
            assert max(errors.values()) < tolerance, (name, errors)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # torchvision's counts without the last linear layer, and a layer norm in its place.
        (ResNetConfig(), 23_508_032 + 2 * 2048),
        (ResNetConfig(depths=(3, 4, 23, 3)), 42_500_160 + 2 * 2048),
        (
            ResNetConfig(hidden_sizes=(64, 128, 256, 512), depths=(2, 2, 2, 2), layer_type="basic"),
            11_176_512 + 2 * 512,
        ),
    ],
)
def test_parameter_counts(config, expected):
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depths": (3, 4)}, "needs one depth for each of hidden_sizes"),
        ({"depths": (3, 4, 0, 3)}, r"ResNetConfig.depths\[2\] must be an integer of at least 1, got 0"),
        ({"embedding_size": 0}, "ResNetConfig.embedding_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_configurations(sizes, message):
    with pytest.raises(ValueError, match=message):
        ResNetConfig(**sizes)
