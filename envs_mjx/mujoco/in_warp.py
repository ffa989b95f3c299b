"""NVIDIA Warp's steps as an implementation of the physics; MJX's JAX code computes the rest."""

import importlib.util

import jax

from envs_mjx.checks import MissingExtraError, UserError
from envs_mjx.mujoco import engine
from envs_mjx.mujoco.implementation import Nominal
from envs_mjx.mujoco.in_jax import JaxImplementation


class WarpImplementation(JaxImplementation):
    """Steps of MuJoCo Warp, for CUDA GPUs and, slowly, for CPUs."""

    def __init__(self, nominal: Nominal) -> None:
        super().__init__(nominal)
        self.stepping = engine.put(nominal.host, "warp")
        self.blank = engine.blank_warp(nominal.host, self.plain, nominal.warp_contacts)

    @classmethod
    def check(cls) -> None:
        """Warp must be installed, and JAX in single precision."""
        if importlib.util.find_spec("warp") is None:
            raise MissingExtraError('impl="warp" needs NVIDIA Warp: pip install "swmjax[warp]", or use impl="jax"')
        if jax.config.read("jax_enable_x64"):
            raise UserError('impl="warp" computes in single precision; switch jax_enable_x64 off, or use impl="jax"')
