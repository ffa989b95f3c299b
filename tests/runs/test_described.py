"""Descriptions: the same in every process, and others for what is another."""

import functools
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from envs_mjx.pusht.env import PushT
from swmjax.planning import PlanConfig
from swmjax.planning.solvers import CEMSolver
from swmjax.runs.described import facts, structure


def test_structures_leave_out_numbers_in_arrays_and_refuse_what_is_of_others():
    assert structure((1, 1.0, "1", None, True)) == [1, 1.0, "1", None, True]
    assert structure({"a": [CEMSolver().init]}) == {"a": [{"method": "init", "of": structure(CEMSolver())}]}
    two, three = (structure(PlanConfig(horizon=n, receding_horizon=1)) for n in (2, 3))
    assert two != three
    assert structure(np.ones(2)) == structure(np.zeros(3)) == structure(jax.random.key(0)) == "array"
    for foreign in (nnx.Linear(1, 1, rngs=nnx.Rngs(0)), lambda: None, object()):
        with pytest.raises(TypeError, match="is not a class of this project"):
            structure(foreign)


def test_facts_tell_arrays_and_settings_apart():
    for one, other in (
        (np.ones(2), np.zeros(2)),
        (np.ones(2), np.ones(2, np.float32)),
        (jax.random.key(0), jax.random.key(1)),
        (PushT(), PushT(resolution=64)),
        (CEMSolver(), CEMSolver(num_samples=70)),
    ):
        assert facts(one) != facts(other)
        assert json.loads(json.dumps(facts(one))) == facts(one)


def scaled(factor, offset=0.0):
    return lambda x: x * factor + offset


def recursive():
    def down(n):
        return 0 if n == 0 else down(n - 1)

    return down


def test_functions_are_their_code_and_what_they_enclose():
    assert facts(scaled(2.0)) == facts(scaled(2.0))
    assert facts(scaled(2.0)) != facts(scaled(3.0))
    assert facts(scaled(2.0)) != facts(scaled(2.0, 1.0))
    assert facts(lambda x: x + 1) != facts(lambda x: x + 2)
    assert facts(functools.partial(scaled, 2)) != facts(functools.partial(scaled, 3))
    assert facts(jax.jit(scaled(2.0)))["function"] == facts(scaled(2.0))["function"]
    assert facts(PushT)["type"] == "envs_mjx.pusht.env.PushT"
    assert " at 0x" not in json.dumps(facts([recursive(), object(), scaled(object())]))


_PROGRAM = """
import json, numpy as np
from swmjax.runs.described import facts
print(json.dumps(facts({"a": [lambda x: x * np.pi, object(), np.arange(3)]})))
"""


def test_facts_are_the_same_in_every_process():
    said = {
        subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in "ab"
    }
    assert len(said) == 1
    assert "code" in said.pop()
