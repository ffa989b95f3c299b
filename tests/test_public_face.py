"""`import swmjax as swm`: the names that users look for, quick to import and seen by type checkers."""

import ast
import inspect
import subprocess
import sys

import pytest

import swmjax as swm
from swmjax.planning import SOLVERS

LOOKED_FOR = [
    "load_pretrained",
    "save_pretrained",
    "PlanConfig",
    "AutoCostModel",
    "CEMSolver",
    "MPPISolver",
    "RandomPolicy",
]


@pytest.mark.parametrize("name", sorted({*LOOKED_FOR, *dir(swm)}))
def test_names_are_there(name):
    assert name in dir(swm)
    assert getattr(swm, name) is not None


def test_every_solver_is_offered_by_class():
    for solver in SOLVERS.values():
        assert solver.__name__ in dir(swm)
        assert getattr(swm, solver.__name__) is solver


def test_type_checkers_see_the_same_names():
    """The names of the block that only type checkers read are those that `dir` lists."""
    (block,) = [node for node in ast.parse(inspect.getsource(swm)).body if isinstance(node, ast.If)]
    imports = [
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    stars = {solver.__name__ for solver in SOLVERS.values()}
    assert ("swmjax.planning.solvers", "*") in imports
    assert {name for _, name in imports if name != "*"} | stars | {"__version__"} == set(dir(swm))
    for module, name in imports:
        if name != "*":
            assert getattr(sys.modules[module], name) is getattr(swm, name)


def test_nothing_is_imported_before_it_is_used():
    code = "import sys, swmjax; dir(swmjax); hasattr(swmjax, 'nothing'); assert not {'jax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'swmjax' has no attribute 'CEMSolvr'"):
        swm.CEMSolvr
