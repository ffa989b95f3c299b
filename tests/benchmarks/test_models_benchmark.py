"""The benchmark of models counts arithmetic right, and prints what it promises; figures of tiny runs mean nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from reference import reference_python

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# For these imports alone: the folder has modules of the same names as folders of tests.
sys.path.insert(0, str(BENCHMARKS))
try:
    from flops import count_flops
    from model_sizes import MODELS, QUICK, STAGES, inputs, restored
finally:
    sys.path.remove(str(BENCHMARKS))


def test_arithmetic_is_counted_through_loops_and_calls():
    x, w = jnp.ones((3, 4, 5)), jnp.ones((5, 7))
    product = 2 * 3 * 4 * 5 * 7
    assert count_flops(lambda x, w: jnp.tanh(x @ w), x, w) == product
    assert count_flops(lambda x, w: jax.lax.map(jax.jit(lambda row: row @ w), x), x, w) == product
    looped = jax.checkpoint(lambda x: jax.lax.scan(lambda c, _: (c @ w @ w.T, None), x, length=6)[0])
    assert count_flops(looped, x) == 6 * 2 * product
    assert count_flops(jnp.linalg.norm, x) == 0


def test_a_convolution_counts_as_the_products_of_its_patches():
    image, kernel = jnp.ones((2, 3, 8, 8)), jnp.ones((5, 3, 4, 4))
    flops = count_flops(lambda x, k: jax.lax.conv(x, k, (4, 4), "VALID"), image, kernel)
    assert flops == 2 * (2 * 2 * 2) * (3 * 4 * 4) * 5


def test_sizes_survive_json_and_inputs_are_the_same_for_both_sides():
    assert restored(QUICK.settings() | {"vit": list(QUICK.vit)}) == QUICK
    for name in MODELS:
        first, second = inputs(name, QUICK), inputs(name, QUICK)
        assert all((first[key] == second[key]).all() for key in first)


def run(*arguments):
    command = [sys.executable, str(BENCHMARKS / "models.py"), "--quick", "--repeats", "2", *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_unknown_models_are_refused():
    done = run("--models", "lewm,dreamer")
    assert done.returncode == 2
    assert "models are lewm, pldm, prejepa, tdmpc2, gcbc, got dreamer" in done.stderr


@pytest.mark.slow
def test_every_model_alone(tmp_path):
    output = tmp_path / "models.txt"
    done = run("--output", str(output), "--dtype", "bfloat16")
    assert done.returncode == 0, done.stderr[-2000:]
    number = r"[\d,.]+ \([\d,.]+\.\.[\d,.]+\)"
    rows = {name: done.stdout[done.stdout.index(f"{name}, ") :].split("┗")[0].split("└")[0] for name in MODELS}
    for name, stages in STAGES.items():
        for stage in stages:
            assert re.search(rf"{stage} +│ +[\d.]+ │ +{number} │ +- │ +- │ +[\d.]+ │ +[\d.]+% │ +- │", rows[name])
        assert re.search(r"peak memory +│ +- │ +[\d.]+ GiB │ +- │", rows[name])
    assert re.search(r"Gradient of the cost of 2 candidates: XLA needs [\d.]+ GiB", done.stdout)
    assert "Reference skipped: --reference-python is not given" in done.stdout
    assert output.read_text() == done.stdout[: done.stdout.index("Written to")]


@pytest.mark.slow
@pytest.mark.reference
def test_results_are_those_of_the_reference():
    python = reference_python()
    done = run("--reference-python", python)
    assert done.returncode == 0, done.stderr[-2000:]
    differences = re.findall(r"│ +[\d.]+% │ +(\d\.\de[+-]\d\d) │", done.stdout)
    assert len(differences) == sum(map(len, STAGES.values()))
    assert all(float(difference) < 1e-5 for difference in differences)
