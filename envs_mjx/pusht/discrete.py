"""PushT with discrete actions, `swm/PushT-Discrete-v1`.

Source: reference, envs/pusht/env_discrete.py.
"""

from dataclasses import dataclass

import gymnasium
from jaxtyping import Array, Int, Key

from envs_mjx.checks import UserError
from envs_mjx.pusht.env import PushT
from envs_mjx.pusht.quantizer import PolarQuantizer
from envs_mjx.state import State


@dataclass(frozen=True)
class PushTDiscrete(PushT):
    """PushT whose actions are the ring and the sector of a polar grid; each means the middle of its bin.

    Args:
        quantizer: Between discrete and continuous actions.

    Raises:
        UserError: `quantizer` is no `PolarQuantizer`; otherwise as `PushT`.
    """

    quantizer: PolarQuantizer = PolarQuantizer()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.quantizer, PolarQuantizer):
            raise UserError(f"quantizer must be a PolarQuantizer, got {self.quantizer!r}")

    @property
    def action_space(self) -> gymnasium.spaces.MultiDiscrete:  # type: ignore[override]
        """Ring and sector of the relative target."""
        return gymnasium.spaces.MultiDiscrete(list(self.quantizer.action_shape))

    def _advance(self, state: State, action: Int[Array, "2"]) -> State:
        return super()._advance(state, self.quantizer.dequantize(action))

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Int[Array, "2"]:
        """The bin of the continuous behaviour policy's action, see `envs_mjx.pusht.behaviour_action`."""
        return self.quantizer.quantize(super().behaviour_action(key, state))
