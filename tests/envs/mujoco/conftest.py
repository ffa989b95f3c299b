"""All tests here need the extra `mujoco`."""

import importlib.util

import pytest


def pytest_collection_modifyitems(items):
    missing = [name for name in ("mujoco", "dm_control") if importlib.util.find_spec(name) is None]
    if missing:
        for item in items:
            if "envs/mujoco" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=f"the extra mujoco is not installed ({', '.join(missing)})"))
