"""What environments look like, by the reference's names."""

from __future__ import annotations

import functools
from typing import Any, TypedDict

import gymnasium

import envs_mjx
from envs_mjx.checks import check_name


class SpaceInfo(TypedDict, total=False):
    """A space: its shape, the name of its class, and as far as it has them dtype, bounds, and number of values."""

    shape: tuple[int, ...]
    type: str
    dtype: str
    low: Any
    high: Any
    n: int


class VariationInfo(TypedDict):
    """Factors of variation: whether there are any, the name of the class of their space, and their names."""

    has_variation: bool
    type: str | None
    names: list[str] | None


class WorldInfo(TypedDict):
    """An environment; spaces of several parts are mappings, or lists, of theirs."""

    name: str
    observation_space: Any
    action_space: Any
    variation: VariationInfo
    config: dict[str, Any]


def list_worlds() -> list[str]:
    """Ids of all environments."""
    return sorted(envs_mjx.registered_ids())


@functools.lru_cache(maxsize=128)
def world_info(name: str, *, image_shape: tuple[int, int] = (224, 224), render_mode: str = "rgb_array") -> WorldInfo:
    """What an environment looks like.

    Args:
        name: Its id.
        image_shape: Height and width of its frames, px.
        render_mode: How it is rendered.

    Raises:
        UserError: There is no such environment.
        MissingExtraError: It needs a package that is not installed.
    """
    check_name("world", name, envs_mjx.registered_ids())
    env = envs_mjx.make(name)
    factors = env.variation_space
    names = list(factors.names())
    return {
        "name": name,
        "observation_space": _space_info(env.observation_space),
        "action_space": _space_info(env.action_space),
        "variation": {
            "has_variation": bool(names),
            "type": type(factors).__name__ if names else None,
            "names": names or None,
        },
        "config": {"image_shape": image_shape, "render_mode": render_mode},
    }


def _space_info(space: gymnasium.Space) -> SpaceInfo | dict[str, Any] | list[Any]:
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: _space_info(part) for name, part in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return [_space_info(part) for part in space.spaces]
    info = SpaceInfo(type=type(space).__name__)
    if space.shape is not None:
        info["shape"] = tuple(space.shape)
    if space.dtype is not None:
        info["dtype"] = str(space.dtype)
    for key in ("low", "high", "n"):
        if hasattr(space, key):
            info[key] = getattr(space, key)
    return info
