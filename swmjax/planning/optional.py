"""Packages that only some solvers need."""

import importlib
from typing import Any

from envs_mjx.checks import UserError


def needed(module: str, solver: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its full name.
        solver: Who needs it, for the message.

    Returns:
        The module.

    Raises:
        UserError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise UserError(f"{solver} needs {package}; install it with pip install 'swmjax[search]'") from error
