"""Planning with world models in JAX: models, solvers and environments compiled end to end.

`import swmjax as swm` is quick: a name below is imported, and JAX with it, when it is first used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from swmjax.checkpoints import delete_model as delete_model
    from swmjax.checkpoints import list_models as list_models
    from swmjax.checkpoints import load_pretrained as load_pretrained
    from swmjax.checkpoints import save_pretrained as save_pretrained
    from swmjax.data import ConcatDataset as ConcatDataset
    from swmjax.data import GoalDataset as GoalDataset
    from swmjax.data import MergeDataset as MergeDataset
    from swmjax.data import ReplayBuffer as ReplayBuffer
    from swmjax.data import column_normalizer as column_normalizer
    from swmjax.data import convert as convert
    from swmjax.data import delete_dataset as delete_dataset
    from swmjax.data import list_datasets as list_datasets
    from swmjax.data import load_dataset as load_dataset
    from swmjax.data import merge as merge
    from swmjax.data import split_episodes as split_episodes
    from swmjax.planning import PlanConfig as PlanConfig
    from swmjax.planning import make_solver as make_solver
    from swmjax.planning import solve as solve
    from swmjax.planning.solvers import *  # noqa: F403
    from swmjax.policies import AutoActionableModel as AutoActionableModel
    from swmjax.policies import AutoCostModel as AutoCostModel
    from swmjax.policies import ExpertPolicy as ExpertPolicy
    from swmjax.policies import PhysicsPolicy as PhysicsPolicy
    from swmjax.policies import RandomPolicy as RandomPolicy
    from swmjax.policies import WorldModelPolicy as WorldModelPolicy
    from swmjax.policies import load_expert as load_expert
    from swmjax.runs.compilation_cache import enable_compilation_cache as enable_compilation_cache
    from swmjax.world import evaluate as evaluate
    from swmjax.world import mean_interval as mean_interval
    from swmjax.world import paired_interval as paired_interval
    from swmjax.world import wilson_interval as wilson_interval
else:
    import functools
    import importlib
    import re
    from pathlib import Path

    _HOMES = {
        "checkpoints": ("delete_model", "list_models", "load_pretrained", "save_pretrained"),
        "data": (
            "ConcatDataset",
            "GoalDataset",
            "MergeDataset",
            "ReplayBuffer",
            "column_normalizer",
            "convert",
            "delete_dataset",
            "list_datasets",
            "load_dataset",
            "merge",
            "split_episodes",
        ),
        "planning": ("PlanConfig", "make_solver", "solve"),
        "policies": (
            "AutoActionableModel",
            "AutoCostModel",
            "ExpertPolicy",
            "PhysicsPolicy",
            "RandomPolicy",
            "WorldModelPolicy",
            "load_expert",
        ),
        "runs.compilation_cache": ("enable_compilation_cache",),
        "world": ("evaluate", "mean_interval", "paired_interval", "wilson_interval"),
    }

    @functools.cache
    def _names():
        """Where each name is. The solvers stand in their registry, which is read as text: importing it imports JAX."""
        registry = Path(__file__).with_name("planning") / "solvers" / "__init__.py"
        solvers = re.findall(r"import (\w+Solver) as", registry.read_text(encoding="utf-8"))
        homes = _HOMES | {"planning.solvers": tuple(solvers)}
        return {name: f"{__name__}.{home}" for home, names in homes.items() for name in names}

    def __getattr__(name):
        if name.startswith("_") or name not in _names():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_names()[name]), name)

    def __dir__():
        return ["__version__", *sorted(_names())]
