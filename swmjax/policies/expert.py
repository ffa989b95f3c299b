"""A trained actor as a policy."""

from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.checks import UserError
from swmjax.checkpoints.actors import ACTOR_FILE, read_actor
from swmjax.models.actor import Actor
from swmjax.policies.base import DrawCarry, Observations, Policy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExpertPolicy(Policy):
    """A trained actor.

    Source: reference, `collect_dmc`: stochastic actions, noise of 0.2, clipped.

    Args:
        actor: The actor.
        deterministic: Take the most likely action instead of drawing one.
        noise: Standard deviation of Gaussian noise on top, for actions of -1 to 1, where the sum is clipped.

    Raises:
        UserError: The noise is negative or not finite.
    """

    actor: Actor
    deterministic: bool = field(default=False, metadata={"static": True})
    noise: float = field(default=0.0, metadata={"static": True})

    def __post_init__(self) -> None:
        if not np.isfinite(self.noise) or self.noise < 0.0:
            raise UserError(f"noise must be finite and at least 0, got {self.noise}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The vectors that the actor was trained on."""
        return self.actor.observations

    def init(self, seeds: Int[Array, " B"], obs: Observations) -> DrawCarry:
        """Memory before the first step."""
        return DrawCarry.start(seeds)

    def act(
        self, carry: DrawCarry, obs: Observations, alive: Bool[Array, " B"]
    ) -> tuple[Float[Array, "B A"], DrawCarry]:
        """The next action of every episode, in the environment's bounds."""
        keys, carry = carry.next()

        def one(key: Array, obs: Observations) -> Array:
            draw_key, noise_key = jax.random.split(key)
            action = self.actor.mode(obs) if self.deterministic else self.actor.sample(draw_key, obs)
            noise = self.noise * jax.random.normal(noise_key, action.shape, action.dtype)
            return self.actor.to_env(jnp.clip(action + noise, -1.0, 1.0))

        return jax.vmap(one)(keys, obs), carry

    def reset(self, carry: DrawCarry, rows: Bool[Array, " B"]) -> DrawCarry:
        """The same memory: nothing is kept of what has been seen."""
        return carry


def load_expert(path: str | Path, deterministic: bool = False, noise: float = 0.0) -> ExpertPolicy:
    """The expert of a run.

    Args:
        path: Run folder of `swmjax train-expert`, or the actor's file in it.
        deterministic: See `ExpertPolicy`.
        noise: See `ExpertPolicy`.

    Raises:
        CheckpointError: There is no expert, or it is damaged; the message names the file.
    """
    path = Path(path)
    return ExpertPolicy(read_actor(path / ACTOR_FILE if path.is_dir() else path)[0], deterministic, noise)
