"""New episodes in the place of ended ones, within a compiled batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from envs_mjx.checks import check_choice
from envs_mjx.state import State
from envs_mjx.wrappers.base import Wrapper

_MODES = ("same_step", "next_step")
NOTES = ("restarted", "final_obs", "final_info")
"""Entries of `State.info` that the environment inside does not know."""


@dataclass(frozen=True)
class AutoReset(Wrapper):
    """An environment whose episodes begin anew when they have ended, with Gymnasium's two modes.

    `same_step`: the step that ends an episode leads to the first state of the next one. Its reward, `success`,
    `terminated` and `truncated` are those of the end, `info["final_obs"]` is what was observed and
    `info["final_info"]` what was told there; both are there after other steps too.

    `next_step`: the step that ends an episode leads to its last state; the next one begins the new episode, whatever
    the action.

    `info["restarted"]` tells whether a state begins an episode that this wrapper has started. How it starts depends on
    the key and the step counter of the last state. An episode that ends where it starts only ends at its next step.

    In a batch (`envs_mjx.programs.step_batch`) nothing is reset at a step at which nothing has ended; under `jax.vmap`
    a reset is computed at every step.

    Args:
        env: the environment inside; other wrappers go inside too.
        variation: names of the factors that a restart samples; the environment's own choice if None.
        mode: `same_step` or `next_step`.

    Raises:
        UserError: an unknown mode or factor.
    """

    variation: tuple[str, ...] | None = None
    mode: str = "same_step"

    outermost = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("AutoReset.mode", self.mode, _MODES)
        self.env.check_reset(self.variation)

    def _reset(
        self, key: Array, variation: tuple[str, ...] | None, values: Mapping[str, Any], options: Mapping[str, Any]
    ) -> State:
        first = self.env._reset(key, variation, values, options)
        return self._noted(first, jnp.asarray(False), first)

    def _step(self, state: State, action: Any) -> State:
        batch = jax.tree.map(lambda leaf: leaf[None], (state, action))
        return jax.tree.map(lambda leaf: leaf[0], self._step_batch(*batch))

    def _step_batch(self, states: State, actions: Any) -> State:
        before = self.within(states)
        stepped = self.env._step_batch(before, actions)
        if self.mode == "next_step":
            begun = states.info["restarted"] | (states.step > 0)
            ended = (states.terminated | states.truncated) & begun
            return self._noted(self._restarted(stepped, ended, before), ended, stepped)
        ended = stepped.terminated | stepped.truncated
        after = self._restarted(stepped, ended, stepped)
        told = {name: getattr(stepped, name) for name in ("reward", "success", "terminated", "truncated")}
        return self._noted(after.replace(**told), ended, stepped)

    def within(self, state: State) -> State:
        """A state as the environment inside knows it; in the mode `same_step` a step can go on from it as well."""
        # The end that such a state tells of is not its own.
        running = ~state.info.get("restarted", jnp.asarray(False))
        flags = {name: getattr(state, name) & running for name in ("success", "terminated", "truncated")}
        info = {name: value for name, value in state.info.items() if name not in NOTES}
        return state.replace(info=info, **flags)

    def _restarted(self, states: State, ended: Bool[Array, " B"], last: State) -> State:
        """States in which ended episodes have begun anew; the last states of those decide how."""

        def restarted() -> State:
            keys = jax.vmap(jax.random.fold_in)(last.key, last.step)
            fresh = jax.vmap(lambda key: self.env._reset(key, self.variation, {}, {}))(keys)
            return jax.tree.map(lambda new, old: jax.vmap(jnp.where)(ended, new, old), fresh, states)

        # Resets may search for a start without contacts, which costs more than a step.
        return jax.lax.cond(ended.any(), restarted, lambda: states)

    def _noted(self, state: State, restarted: Bool[Array, "*batch"], last: State) -> State:
        """The state with what this wrapper tells of it and of the one that led to it."""
        notes: dict[str, Any] = {"restarted": restarted}
        if self.mode == "same_step":
            notes |= {"final_obs": last.obs, "final_info": last.info}
        return state.replace(info=state.info | notes)
