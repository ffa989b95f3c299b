"""Craftax and Craftax-Classic, `swm/Craftax...-v1`: open-ended survival, observed as a picture or as numbers.

Source: reference: envs/craftax/craftax.py, around the library of the same name.
"""

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import craftax as _craftax  # noqa: F401
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from envs_mjx import spaces
from envs_mjx.checks import UserError
from envs_mjx.core import Env
from envs_mjx.processes import check_process
from envs_mjx.state import State, outline
from envs_mjx.third_party import leniently, like, quietly, settled

_OWN_STREAM = 2**31 - 1
"""What is folded into a key that the library uses too; it splits keys into far fewer."""
_NEVER = np.iinfo(np.int32).max
_AWAY = 10_000
"""Cells from the player to where what is written into an observation is dropped."""
_MOBS = {
    False: ("zombies", "cows", "skeletons", "arrows"),
    True: ("melee_mobs", "passive_mobs", "ranged_mobs", "mob_projectiles", "player_projectiles"),
}
"""The mobs of the classic and of the full game."""


@dataclass(frozen=True)
class Craftax(Env):
    """A game of Craftax with the library's default parameters.

    Actions, observations and rewards are the library's: 1 per new achievement (in the full game, what the achievement
    is worth) and a tenth of the change of health. The episode terminates with the player's death, in lava, or when the
    boss is beaten; after the library's number of steps it is truncated (in the reference, it terminates then too).

    `info` holds `Achievements/<name>`, 100 for an unlocked one in the last step of an episode and 0 before,
    `discount`, 0 in the last step, the classic game's `score`, and `return`, the reward of the episode so far, which
    stands still once it has ended. Unlike in the reference, all are there after a reset too.

    A seed gives the reference's world. What happens by chance in a step follows from `state.key` and `state.step`.

    In the library's numbers, a mob that is dead or out of sight can erase another one from the observation: it writes
    its 0 where it died, or, beyond the first row or column, at the other end of the view. Here it writes nothing.

    There are no goals and no factors of variation. `planning_cost` is the negative return. `set_state` takes a
    state of the library, such as another state's `physics`. All four environments draw themselves, with the picture
    that the pixel ones observe; the reference draws these alone.

    Raises:
        UserError: 64-bit numbers are on, which the library's own code mixes with 32-bit ones.
    """

    full: ClassVar[bool]
    """Whether this is the full game, with levels, and not the classic one."""
    pixels: ClassVar[bool]
    """Whether the observation is the picture."""

    def __post_init__(self) -> None:
        if jnp.result_type(int) != jnp.int32:
            raise UserError("Craftax runs in 32 bits only: turn jax_enable_x64 off")

    @property
    def has_success(self) -> bool:
        """No: the library counts achievements."""
        return False

    @property
    def library(self) -> Any:
        """The library's environment, which does not start new episodes by itself."""
        return _made(self.full, self.pixels)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """The library's actions."""
        return gymnasium.spaces.Discrete(43 if self.full else 17)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        """The library's observation under `observation`."""
        shapes = {
            (False, False): (1345,),
            (False, True): (63, 63, 3),
            (True, False): (8268,),
            (True, True): (130, 110, 3),
        }
        shape = shapes[self.full, self.pixels]
        return gymnasium.spaces.Dict({"observation": gymnasium.spaces.Box(0.0, 1.0, shape, np.float32)})

    @cached_property
    def variation_space(self) -> spaces.Dict:  # type: ignore[override]
        """Empty, as in the reference."""
        return spaces.Dict({})

    @property
    def default_variation(self) -> tuple[str, ...]:
        """None."""
        return ()

    def _start(self, key: Key[Array, ""], factors: dict[str, Array], options: Mapping[str, Any]) -> State:
        library = self.library
        _, game = leniently(library.reset_env)(key, library.default_params)
        dtype = jnp.result_type(float)
        nothing, no_goal = jnp.zeros((), dtype), jnp.zeros((0,), dtype)
        key = jax.random.fold_in(key, _OWN_STREAM)
        return self._first_state(settled(game), no_goal, factors, key, dtype, {"return": nothing})

    def _advance(self, state: State, action: Int[Array, ""]) -> State:
        library = self.library
        params = library.default_params
        key = jax.random.fold_in(state.key, state.step)
        step = leniently(library.step_env)
        _, game, reward, _, info = step(key, state.physics, action.astype(jnp.int32), params)
        reward = reward.astype(state.reward.dtype)
        over = state.terminated | state.truncated
        info = {**info, "return": state.info["return"] + jnp.where(over, 0.0, reward)}
        return state.replace(
            physics=like(game, state.physics),
            obs=self._seen(game),
            reward=reward,
            terminated=state.terminated | self._ended(game),
            truncated=game.timestep >= params.max_timesteps,
            step=state.step + 1,
            info=like(info, {name: state.info[name] for name in info}),
        )

    def _render(self, state: State) -> UInt8[Array, "height width 3"]:
        """The picture that the pixel environments observe."""
        observed = state.obs["observation"]
        picture = observed if self.pixels else leniently(_renderer(self.full))(state.physics) / 255.0
        return (jnp.clip(picture, 0.0, 1.0) * 255.0).astype(jnp.uint8)

    def _set_physics(self, state: State, value: Any) -> State:
        """A state of the library's game."""
        wanted, given = (
            (jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)])
            for tree in (state.physics, value)
        )
        if wanted != given:
            raise UserError(f"set_state takes the physics of a state of {type(self).__name__}, not {outline(value)}")
        return state.replace(physics=like(value, state.physics))

    def planning_cost(self, state: State) -> Float[Array, ""]:
        """The negative return."""
        return -state.info["return"]

    def _seen(self, game: Any) -> dict[str, Array]:
        """The library's observation, of a game without mobs that cannot be seen if it is numbers."""
        shown = game if self.pixels else _without_unseen_mobs(game, self.full)
        return {"observation": leniently(self.library.get_obs)(shown).astype(jnp.float32)}

    def _ended(self, game: Any) -> Array:
        """Whether the game is over for another reason than time."""
        library = self.library
        return leniently(library.is_terminal)(game, library.default_params.replace(max_timesteps=_NEVER))

    def _observed(self, state: State) -> State:
        library, game = self.library, state.physics
        params = library.default_params
        info = leniently(_noted(self.full))(game, leniently(library.is_terminal)(game, params))
        info |= {"discount": leniently(library.discount)(game, params)}
        return state.replace(
            obs=self._seen(game),
            terminated=self._ended(game),
            truncated=game.timestep >= params.max_timesteps,
            info=state.info | settled(info),
        )


class CraftaxSymbolic(Craftax):
    """Survive, mine, craft and fight through nine levels; numbers are observed."""

    full, pixels = True, False


class CraftaxPixels(Craftax):
    """Survive, mine, craft and fight through nine levels; the picture is observed."""

    full, pixels = True, True


class CraftaxClassicSymbolic(Craftax):
    """Survive, mine and craft up to a diamond; numbers are observed."""

    full, pixels = False, False


class CraftaxClassicPixels(Craftax):
    """Survive, mine and craft up to a diamond; the picture is observed."""

    full, pixels = False, True


def _module(full: bool, name: str) -> Any:
    return importlib.import_module(f"craftax.craftax.{name}" if full else f"craftax.craftax_classic.{name}")


def _without_unseen_mobs(game: Any, full: bool) -> Any:
    """The game with all mobs far away that are dead or beyond the player's view."""
    view = jnp.asarray(_module(full, "constants").OBS_DIM)
    # The axes before those of places are levels of the full game and the mobs.
    player = game.player_position.reshape(*[1] * (2 if full else 1), 2)
    first = player - (view // 2).reshape(player.shape)

    def moved(mobs: Any) -> Any:
        local = mobs.position - first
        seen = mobs.mask & ((local >= 0) & (local < view.reshape(player.shape))).all(-1)
        return mobs.replace(position=jnp.where(seen[..., None], mobs.position, player + _AWAY))

    return game.replace(**{name: moved(getattr(game, name)) for name in _MOBS[full]})


@functools.cache
def _made(full: bool, pixels: bool) -> Any:
    """An environment of the library."""
    check_process()
    with quietly(), jax.ensure_compile_time_eval():
        name = "pixels" if pixels else "symbolic"
        envs = _module(full, f"envs.craftax_{name}_env")
        with _own_textures(full):
            return getattr(envs, f"Craftax{'' if full else 'Classic'}{name.capitalize()}EnvNoAutoReset")()


@functools.cache
def _renderer(full: bool) -> Callable[[Any], Array]:
    """Draws a state of the game, 0 to 255."""
    check_process()
    with quietly(), jax.ensure_compile_time_eval(), _own_textures(full):
        size = _module(full, "constants").BLOCK_PIXEL_SIZE_AGENT
        return _module(full, "renderer").make_craftax_pixel_renderer(size)


def _noted(full: bool) -> Callable[[Any, Any], dict[str, Array]]:
    """What the library notes of a state and of whether it is the last one."""
    common = _module(full, "envs.common")
    return common.log_achievements_to_info if full else common.compute_score


@contextmanager
def _own_textures(full: bool) -> Iterator[None]:
    """Let the library's renderer take the textures of its pictures' own size, read from its PNG files.

    By itself it would unpickle those of all sizes from a file in its folder, or write one there after a minute's work.
    """
    renderer, constants = _module(full, "renderer"), _module(full, "constants")
    size = constants.BLOCK_PIXEL_SIZE_AGENT
    before = renderer.load_all_textures
    renderer.load_all_textures = lambda: {size: constants.load_all_textures_given_size(size)}
    try:
        yield
    finally:
        renderer.load_all_textures = before
