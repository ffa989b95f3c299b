"""TD-MPC2: rewards, values and a policy over latents."""

from swmjax.models.tdmpc2.tdmpc2 import TDMPC2, TDMPC2Config

__all__ = ["TDMPC2", "TDMPC2Config"]
