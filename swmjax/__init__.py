"""Planning with world models in JAX: models, solvers and environments compiled end to end."""

__all__ = ["__version__"]

__version__ = "0.1.0"
