"""Probes: attached, found, read, and their tensors in and out of checkpoints."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.recorded import difference
from quick import quick_jit

from swmjax.checkpoints import CheckpointError, load_pretrained, load_probe
from swmjax.checkpoints.torch.matching import tensor_specs
from swmjax.models.probes import MLPProbe, attach_probe, get_probe

GOLDEN = Path(__file__).parents[1] / "golden"


def empty_probes():
    return {"position": nnx.Linear(16, 3, rngs=nnx.Rngs(0)), "deep": MLPProbe(16, 6, 2, rngs=nnx.Rngs(0))}


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-4), (True, 1e-8)])
def test_recorded_outputs(x64, tolerance):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        model = load_pretrained(GOLDEN / "tdmpc2_probes", dtype=dtype, probes=empty_probes())
        golden = dict(np.load(GOLDEN / "tdmpc2_probes_io.npz"))
        other = load_probe(model, "deep", GOLDEN / "probe_deep.pt")

        @quick_jit
        def run(models, obs):
            latents = models[0].encode(obs)
            return [{key: get_probe(model, key)(latents) for key in ("position", "deep")} for model in models]

        given = {"state": jnp.asarray(golden["state"], dtype)}
        wanted = golden, golden | {"deep": np.load(GOLDEN / "probe_deep_io.npz")["deep"]}
        for found, expected in zip(run((model, other), given), wanted, strict=True):
            assert all(difference(value, expected[key]) < tolerance for key, value in found.items())


def test_names_are_those_of_the_reference():
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    for key, probe in empty_probes().items():
        model = attach_probe(model, key, probe)
    specs = tensor_specs(dict(nnx.to_flat_state(nnx.state(model))))
    assert {name: spec.shape for name, spec in specs.items() if name.startswith("_probes.")} == {
        "_probes.position.weight": (3, 16),
        "_probes.position.bias": (3,),
        "_probes.deep.0.weight": (6, 16),
        "_probes.deep.0.bias": (6,),
        "_probes.deep.2.weight": (2, 6),
        "_probes.deep.2.bias": (2,),
    }


def test_attaching_makes_a_new_model():
    model, probe = nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Linear(2, 1, rngs=nnx.Rngs(1))
    first = attach_probe(model, "items", probe)
    second = attach_probe(first, "items", nnx.Linear(2, 3, rngs=nnx.Rngs(2)))
    assert get_probe(model, "items") is None
    assert get_probe(first, "other") is None
    assert get_probe(first, "items").out_features == 1
    assert get_probe(second, "items").out_features == 3
    np.testing.assert_array_equal(get_probe(first, "items").kernel[...], probe.kernel[...])
    np.testing.assert_array_equal(second.kernel[...], model.kernel[...])
    second.kernel[...] = jnp.zeros((2, 2))
    get_probe(first, "items").kernel[...] = jnp.zeros((2, 1))
    assert jnp.all(model.kernel[...] != 0)
    assert jnp.all(probe.kernel[...] != 0)


@pytest.mark.parametrize("key", ["", "a.b"])
def test_bad_keys(key):
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=f"must not be empty nor have a dot, got '{key}'"):
        attach_probe(model, key, model)


def test_probes_are_loaded_strictly():
    with pytest.raises(CheckpointError, match=r"_probes.position.weight: is not a tensor of this model"):
        load_pretrained(GOLDEN / "tdmpc2_probes")
    probes = {**empty_probes(), "position": nnx.Linear(16, 4, rngs=nnx.Rngs(0))}
    with pytest.raises(CheckpointError, match=r"_probes.position.weight: expected shape \(4, 16\), found \(3, 16\)"):
        load_pretrained(GOLDEN / "tdmpc2_probes", probes=probes)
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="the model has no probe 'deep'; attach one with attach_probe"):
        load_probe(model, "deep", GOLDEN / "probe_deep.pt")
    with pytest.raises(CheckpointError, match=r"probe_deep.pt: 0.weight: is not a tensor of this model"):
        load_probe(attach_probe(model, "deep", nnx.Linear(16, 3, rngs=nnx.Rngs(0))), "deep", GOLDEN / "probe_deep.pt")
