"""Programs that are kept between runs: found again by everything that could change them, and by nothing less."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from envs_mjx.mujoco.portable import portable
from swmjax.planning import CEMSolver, PlanConfig
from swmjax.runs import exported as module
from swmjax.runs.exported import described, exported

pytestmark = pytest.mark.optimised


@pytest.fixture
def kept(tmp_path):
    """Programs that are kept in a cache of their own."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield lambda: sorted((tmp_path / "exported").glob("*")) if (tmp_path / "exported").exists() else []
    jax.config.update("jax_compilation_cache_dir", before)


MADE_OF = (1, CEMSolver())


class Counted:
    """A program that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, key, x):
        self.traces += 1
        return {"drawn": jax.random.normal(key, x.shape) + x, "nothing": None}

    def run(self, made_of=MADE_OF, x=(1.0, 2.0)):
        args = jax.random.key(3), jnp.asarray(x)
        program = exported(self, made_of, *args)
        return jax.device_get(program.lower(*args).compile()(*args))


def test_a_second_run_traces_nothing_and_gives_the_same(kept):
    first, second = Counted(), Counted()
    expected = first.run()
    assert (first.traces, len(kept())) == (1, 1)
    found = second.run()
    assert second.traces == 0
    assert found["nothing"] is None
    np.testing.assert_array_equal(found["drawn"], expected["drawn"])
    drawn = jax.random.normal(jax.random.key(3), (2,)) + jnp.asarray([1.0, 2.0])
    np.testing.assert_allclose(found["drawn"], drawn, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"made_of": (2, CEMSolver())},
        {"made_of": (1, CEMSolver(topk=7))},
        {"x": (1.0, 2.0, 3.0)},
        {"x": (1, 2)},
        {"_sources": lambda: "other sources"},
        {"_versions": lambda: "other packages"},
        {"jax_default_matmul_precision": "highest"},
    ],
    ids=lambda change: " ".join(change),
)
def test_a_stale_program_is_never_used(kept, monkeypatch, change):
    Counted().run()
    arguments = {name: value for name, value in change.items() if name in ("made_of", "x")}
    for name, value in change.items():
        if name.startswith("_"):
            monkeypatch.setattr(module, name, value)
        elif name.startswith("jax_"):
            jax.config.update(name, value)
    again = Counted()
    try:
        again.run(**arguments)
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert (again.traces, len(kept())) == (1, 2)


def test_every_source_file_counts(monkeypatch, tmp_path):
    package = tmp_path / "envs_mjx"
    package.mkdir()
    (package / "__init__.py").write_text("")
    fake = type(module)("envs_mjx")
    fake.__file__ = str(package / "__init__.py")
    monkeypatch.setitem(module.sys.modules, "envs_mjx", fake)
    seen = set()
    for name, text in (("__init__.py", ""), ("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2")):
        (package / name).write_text(text)
        seen.add(module._sources.__wrapped__())
    assert len(seen) == 4


def test_a_damaged_program_is_made_again(kept):
    Counted().run()
    (path,) = kept()
    for content in (b"", path.read_bytes()[:100], b"\xff" * 1000):
        path.write_bytes(content)
        again = Counted()
        again.run()
        assert again.traces == 1
        assert path.read_bytes() != content


def test_what_cannot_be_kept_runs_all_the_same(kept):
    @dataclass(frozen=True)
    class Foreign:
        pass

    for made_of in (Foreign(), lambda: 1, (1, {"a": Foreign()})):
        again = Counted()
        again.run(made_of)
        assert (again.traces, kept()) == (1, [])

    def calls_back(x):
        return {"y": jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)}

    x = jnp.ones(2)
    np.testing.assert_allclose(exported(calls_back, 1, x)(x)["y"], np.sin(np.ones(2)), rtol=1e-6)

    def steps(x):
        def several(x):
            return jnp.sin(jax.lax.scan(moved, x, None, 2)[0])

        return {"y": jax.lax.cond(x[0] > 0, several, jnp.cos, x)}

    def moved(x, _):
        (x,) = portable(lambda x: (np.asarray(x) + 1,), lambda x: (x - 1,), (jax.ShapeDtypeStruct((2,), x.dtype),), x)
        return x, None

    # It would do something else if it were kept.
    np.testing.assert_allclose(exported(steps, 1, x)(x)["y"], np.sin(np.full(2, 3.0)), rtol=1e-6)
    assert kept() == []


def test_old_programs_go(kept, monkeypatch):
    monkeypatch.setattr(module, "_MOST_KEPT", 2)
    for number in range(4):
        Counted().run((number,))
    assert len(kept()) == 2


def test_without_a_cache_nothing_is_kept(kept):
    jax.config.update("jax_compilation_cache_dir", None)
    assert Counted().run()["nothing"] is None
    assert kept() == []


def test_descriptions():
    assert described((1, 1.0, "1", None, True)) == "(1, 1.0, '1', None, True)"
    assert described({"a": [CEMSolver().init]}) == f"{{'a': ({described(CEMSolver())}.init)}}"
    two, three = (described(PlanConfig(horizon=n, receding_horizon=1)) for n in (2, 3))
    assert two != three
    assert described(np.ones(2)) == described(np.zeros(3)) == "array"
    with pytest.raises(TypeError, match="Linear"):
        described(nnx.Linear(1, 1, rngs=nnx.Rngs(0)))
