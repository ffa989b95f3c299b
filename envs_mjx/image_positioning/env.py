"""The ImagePositioning environment, `swm/ImagePositioning-v1`: pictures are moved and turned into their target layout.

Source: reference: envs/image_positioning.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError, check_whole
from envs_mjx.core import Env
from envs_mjx.image_positioning.pictures import MAX_PICTURES, Picture, default_pictures, framed
from envs_mjx.image_positioning.render import colored_noise, render_frame
from envs_mjx.state import State
from envs_mjx.state_bounds import StateBounds

_MAX_DELTA = 0.1
_MAX_PLACE = 0.9
_SUCCESS_DISTANCE = 1e-2
_PARTS = ("background", "locations", "rotations")


@dataclass(frozen=True)
class ImagePositioning(Env):
    """Move a background and `n` pictures, and turn the pictures, until they lie as in the target layout.

    A layout is `background` [2, 1] (first row and column of the noise that is seen), `locations` [n, 2] (x, y of the
    upper left corners) and `rotations` [n, 1] (whole turns counterclockwise); places are fractions of the frame's side.
    The observation holds the parts as `current_...` and `target_...`. State and goal vectors are the three parts,
    flattened and joined, [2 + 3 n]. An action holds a change of each part, `delta_...`, clipped to [-0.1, 0.1]; places
    stay in [0, 0.9] and turns in [0, 1]. The episode terminates, with the reward 1, when all three parts are closer to
    the target than 0.01 in the matrix 1-norm (largest column sum); other steps give 0. Nothing truncates, and there are
    no factors of variation.

    Where the reference's code only hurts, this differs. There, initial turns came in a second, unused column that
    counted in the distance; targets could lie beyond 0.9, out of reach; the noise came from a global generator;
    `step` changed the caller's action; and pictures that are not square failed. Here `render` makes the noise
    anew from the state's key, which stays for an episode. `render(set_state(state, state.goal))` draws the target.

    Within its bounds the layout is smooth in the actions; pixels have no gradient.

    Args:
        resolution: side of the frame in px, at least 8.
        images: 1 to 10 pictures, which get frames of 5 px; `default_pictures()` when None.
        background_power_decay: power of the frequency with which the noise's amplitudes fall.

    Raises:
        UserError: an argument of another kind or value.
    """

    option_names = ("state", "goal_state")

    resolution: int = 224
    images: tuple[Picture, ...] | None = None
    background_power_decay: float = 1.0

    def __post_init__(self) -> None:
        check_whole("resolution", self.resolution, 8, unit="px")
        images = default_pictures() if self.images is None else self.images
        if not isinstance(images, tuple) or not all(isinstance(image, Picture) for image in images):
            raise UserError(f"images must be a tuple of Picture.of(pixels), got {type(images).__name__}")
        if not 1 <= len(images) <= MAX_PICTURES:
            raise UserError(f"images must be 1 to {MAX_PICTURES} pictures, got {len(images)}")
        if not math.isfinite(self.background_power_decay):
            raise UserError(f"background_power_decay must be finite, got {self.background_power_decay!r}")

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures, without their frames."""
        return default_pictures() if self.images is None else self.images

    @property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        count = len(self.pictures)
        return {"background": (2, 1), "locations": (count, 2), "rotations": (count, 1)}

    @property
    def action_space(self) -> gymnasium.spaces.Dict:
        """Change of each part of the layout."""
        return gymnasium.spaces.Dict(
            {
                f"delta_{part}": gymnasium.spaces.Box(-_MAX_DELTA, _MAX_DELTA, shape, np.float32)
                for part, shape in self._shapes.items()
            }
        )

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """Current and target layout."""
        highs = {"background": _MAX_PLACE, "locations": _MAX_PLACE, "rotations": 1.0}
        boxes: dict[str, gymnasium.Space] = {
            f"{time}_{part}": gymnasium.spaces.Box(0.0, highs[part], shape, np.float64)
            for time in ("current", "target")
            for part, shape in self._shapes.items()
        }
        return gymnasium.spaces.Dict(
            boxes | {"target_background": gymnasium.spaces.Box(0.0, 1.0, self._shapes["background"], np.float64)}
        )

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Empty, as in the reference."""
        return spaces.Dict({})

    @property
    def default_variation(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def _highest(self) -> np.ndarray:
        """Largest entries of a state vector."""
        count = len(self.pictures)
        return np.concatenate([np.full(2 + 2 * count, _MAX_PLACE), np.ones(count)])

    def state_bounds(self, size: int) -> StateBounds:
        """The frame and one turn; the reference's targets lie anywhere in the frame."""
        return StateBounds.of(0.0, 1.0, size) if size == self._highest.size else super().state_bounds(size)

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        """`options` may hold `state` and `goal_state` vectors; both are clipped to what can be reached."""
        current_key, target_key, key = jax.random.split(key, 3)
        highest = jnp.asarray(self._highest, jnp.result_type(float))
        current, target = (
            highest * jax.random.uniform(one, highest.shape, highest.dtype) for one in (current_key, target_key)
        )
        current = self._vector(options["state"], "state") if "state" in options else current
        target = self._vector(options["goal_state"], "goal_state") if "goal_state" in options else target
        return self._first_state(current, target, factors, key, current.dtype)

    def _advance(self, state: State, action: Any) -> State:
        """Add the clipped changes."""
        delta = jnp.concatenate([action[f"delta_{part}"].reshape(-1) for part in _PARTS]).astype(state.physics.dtype)
        moved = self._clipped(state.physics + jnp.clip(delta, -_MAX_DELTA, _MAX_DELTA))
        after = self._observed(state.replace(physics=moved, step=state.step + 1))
        return after.replace(reward=after.success.astype(after.reward.dtype))

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """Frame of the current layout."""
        side = 2 * self.resolution
        white = jax.random.normal(state.key, (side, side), state.physics.dtype)
        parts = self._parts(state.physics)
        return render_frame(
            colored_noise(white, self.background_power_decay),
            parts["background"][:, 0],
            parts["locations"],
            parts["rotations"][:, 0],
            framed(self.pictures),
        )

    def _set_physics(self, state: State, value: Array) -> State:
        """The layout, clipped to its bounds."""
        return state.replace(physics=self._vector(value, "state"))

    def _set_goal(self, state: State, goal: Array) -> State:
        """Replace the target layout, clipped to what can be reached."""
        return self._observed(state.replace(goal=self._vector(goal, "goal_state")))

    def goal_from(self, state: State) -> Float[Array, " entries"]:
        """The goal that a state reaches: its own layout."""
        return state.physics

    def distance(self, state: State) -> Float[Array, ""]:
        """Largest of the three parts' distances, the test of success (1 is a frame's side or a turn)."""
        return jnp.stack(list(self._distances(state.physics, state.goal).values())).max()

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """Squared differences of all entries, added up; smooth."""
        return ((state.physics - state.goal) ** 2).sum()

    def behaviour_action(self, key: Key[Array, ""], state: State) -> Any:
        """A uniformly random action, a dict of arrays."""
        delta = jax.random.uniform(key, state.physics.shape, state.physics.dtype, -_MAX_DELTA, _MAX_DELTA)
        return {f"delta_{part}": values for part, values in self._parts(delta).items()}

    def _parts(self, vector: Float[Array, " entries"]) -> dict[str, Array]:
        """The parts of a layout, in their shapes."""
        cuts = np.cumsum([math.prod(shape) for shape in self._shapes.values()])[:-1]
        pieces = jnp.split(vector, cuts)
        return {part: piece.reshape(shape) for (part, shape), piece in zip(self._shapes.items(), pieces, strict=True)}

    def _distances(self, current: Float[Array, " entries"], target: Float[Array, " entries"]) -> dict[str, Array]:
        """Matrix 1-norm of each part's difference."""
        return {part: jnp.abs(values).sum(0).max() for part, values in self._parts(current - target).items()}

    def _vector(self, value: Any, name: str) -> Float[Array, " entries"]:
        value = jnp.asarray(value, jnp.result_type(float))
        if value.shape != self._highest.shape:
            count = len(self.pictures)
            raise UserError(
                f"{name} must have {2 + 3 * count} entries (background 2, locations {2 * count}, rotations {count}), "
                f"got the shape {value.shape}"
            )
        return self._clipped(value)

    def _clipped(self, vector: Float[Array, " entries"]) -> Float[Array, " entries"]:
        return jnp.clip(vector, 0.0, jnp.asarray(self._highest, vector.dtype))

    def _observed(self, state: State) -> State:
        current, target = state.physics, state.goal
        distances = self._distances(current, target)
        reached = jnp.stack(list(distances.values())).max() < _SUCCESS_DISTANCE
        layouts = {"current": self._parts(current), "target": self._parts(target)}
        info = {
            "location_distance": distances["locations"],
            "rotation_distance": distances["rotations"],
            "background_distance": distances["background"],
            "state": current,
            "goal_state": target,
        }
        return state.replace(
            obs={f"{time}_{part}": value for time, parts in layouts.items() for part, value in parts.items()},
            success=reached,
            terminated=reached,
            truncated=jnp.asarray(False),
            info=state.info | info,
        )


def optimal_action(env: ImagePositioning, state: State) -> dict[str, Array]:
    """The expert: straight to the target, as far as one step reaches.

    Args:
        env: the environment.
        state: one of its states.

    Source: reference: envs/image_positioning.py (`_get_optimal_action`), which does not clip.
    """
    delta = jnp.clip(state.goal - state.physics, -_MAX_DELTA, _MAX_DELTA)
    return {f"delta_{part}": values for part, values in env._parts(delta).items()}
