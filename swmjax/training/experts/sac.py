"""Soft actor-critic from Brax' networks and losses, with its whole state in one pytree.

Source: Haarnoja et al. 2018, arXiv:1812.05905; Brax, `training/agents/sac`.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from envs_mjx import State
from envs_mjx.checks import UserError, check_count, check_flag, check_number, check_widths
from swmjax.data.ring import Ring
from swmjax.models.actor import OBSERVATION_LIMIT, Actor
from swmjax.training.experts.brax import brax_parts
from swmjax.training.experts.env import Experience, TrainingEnv
from swmjax.training.experts.export import exported

BRAX_TARGET_ENTROPY = -0.5
"""What Brax' loss of the temperature aims at, per entry of the action."""


@chex.dataclass(frozen=True)
class SACState:
    """Everything that a training continues from.

    Attributes:
        policy: Parameters of the actor.
        critic: Parameters of the two values of actions.
        target: Their moving average.
        log_alpha: Logarithm of the temperature.
        optimisers: State of the optimisers of actor, critic and temperature.
        statistics: Running mean and deviation of the observations.
        replay: Past steps.
        states: The environments.
        key: Of all that is random.
        steps: Environment steps so far, of all environments together.
        updates: Gradient steps so far.
    """

    policy: Any
    critic: Any
    target: Any
    log_alpha: Float[Array, ""]
    optimisers: Any
    statistics: Any
    replay: Ring
    states: State
    key: Key[Array, ""]
    steps: Int[Array, ""]
    updates: Int[Array, ""]


@dataclass(frozen=True)
class SAC:
    """Hyperparameters of soft actor-critic.

    An iteration is one step of every environment and then `updates` gradient steps.

    Args:
        num_envs: Environments side by side.
        updates: Gradient steps per iteration.
        batch_size: Entries per gradient step.
        buffer_size: Entries that are remembered.
        warmup_steps: Environment steps with uniformly random actions, before the first gradient step.
        learning_rate: Of actor and critic.
        alpha_learning_rate: Of the temperature.
        initial_alpha: Temperature at the start.
        target_entropy: Entropy that the temperature aims at, per entry of the action; 0.69 is that of uniform actions.
        discount: Per environment step.
        tau: Share of the new critic in the moving average.
        reward_scale: Factor of all rewards.
        hidden: Widths of the hidden layers of actor and critic.
        layer_norm: Whether the critic normalises its layers.

    Raises:
        UserError: A value is out of range.
    """

    name: ClassVar[str] = "sac"
    activation: ClassVar[str] = "relu"

    num_envs: int = 16
    updates: int = 8
    batch_size: int = 256
    buffer_size: int = 500_000
    warmup_steps: int = 2_000
    learning_rate: float = 5e-4
    alpha_learning_rate: float = 5e-4
    initial_alpha: float = 1.0
    target_entropy: float = BRAX_TARGET_ENTROPY
    discount: float = 0.99
    tau: float = 0.005
    reward_scale: float = 1.0
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("num_envs", "updates", "batch_size", "buffer_size"):
            check_count(f"algorithm.{name}", getattr(self, name))
        check_count("algorithm.warmup_steps", self.warmup_steps, 0)
        for name in ("learning_rate", "alpha_learning_rate", "initial_alpha", "reward_scale"):
            check_number(f"algorithm.{name}", getattr(self, name), above=0.0)
        for name in ("discount", "tau"):
            check_number(f"algorithm.{name}", getattr(self, name), above=0.0, most=1.0)
        check_number("algorithm.target_entropy", self.target_entropy)
        check_flag("algorithm.layer_norm", self.layer_norm)
        check_widths("algorithm.hidden", self.hidden)
        if self.buffer_size < self.num_envs:
            raise UserError(
                f"algorithm.buffer_size must be at least num_envs ({self.num_envs}), got {self.buffer_size}"
            )

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of one iteration."""
        return self.num_envs

    def init(self, env: TrainingEnv, key: Key[Array, ""]) -> SACState:
        """The state before the first iteration."""
        networks, entry = self._networks(env), self._entry(env)
        policy_key, critic_key, reset_key, key = jax.random.split(key, 4)
        policy, critic = networks.policy_network.init(policy_key), networks.q_network.init(critic_key)
        log_alpha = jnp.log(jnp.asarray(self.initial_alpha, jnp.float32))
        actor_optimiser, critic_optimiser, alpha_optimiser = self._optimisers()
        return SACState(
            policy=policy,
            critic=critic,
            target=critic,
            log_alpha=log_alpha,
            optimisers=(
                actor_optimiser.init(policy),
                critic_optimiser.init(critic),
                alpha_optimiser.init(log_alpha),
            ),
            statistics=brax_parts().statistics.init_state(jnp.zeros((env.observation_size,), jnp.float32)),
            replay=Ring.empty(entry, self.buffer_size // self.num_envs * self.num_envs),
            states=env.reset(jax.random.split(reset_key, self.num_envs)),
            key=key,
            steps=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
        )

    def epoch(self, env: TrainingEnv, state: SACState, iterations: int) -> tuple[SACState, dict[str, Float[Array, ""]]]:
        """Some iterations.

        Args:
            env: What to train on.
            state: Where to go on from.
            iterations: How many.

        Returns:
            The state after, and means of the losses and of the temperature over the gradient steps; NaN without any.
        """
        (state, (sums, count)), _ = jax.lax.scan(
            lambda carry, _: (self._iterate(env, *carry), None),
            (state, (dict.fromkeys(("critic_loss", "actor_loss", "alpha"), jnp.zeros(())), jnp.zeros(()))),
            length=iterations,
        )
        return state, {name: value / count for name, value in sums.items()}

    def actor(self, env: TrainingEnv, state: SACState) -> Actor:
        """The policy of a state."""
        return exported(env, state.statistics, state.policy, self.activation)

    def _iterate(self, env: TrainingEnv, state: SACState, sums: Any) -> tuple[SACState, Any]:
        action_key, update_key, key = jax.random.split(state.key, 3)
        random = state.steps < self.warmup_steps
        states, experience = env.step(state.states, self._explore(env, state, action_key, random))
        statistics = brax_parts().statistics.update(state.statistics, experience.observation)
        state = state.replace(
            states=states,
            statistics=statistics,
            replay=state.replay.insert(experience),
            key=key,
            steps=state.steps + self.num_envs,
        )

        def update(carry: tuple[SACState, Any], key: Array) -> tuple[tuple[SACState, Any], None]:
            state, (sums, count) = carry
            state, losses = self._update(env, state, key)
            return (state, ({name: sums[name] + losses[name] for name in sums}, count + 1)), None

        def learn() -> tuple[SACState, Any]:
            return jax.lax.scan(update, (state, sums), jax.random.split(update_key, self.updates))[0]

        return jax.lax.cond(random, lambda: (state, sums), learn)

    def _explore(self, env: TrainingEnv, state: SACState, key: Array, random: Array) -> Float[Array, "B A"]:
        shape = (self.num_envs, env.action_size)
        uniform = jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)
        return jnp.where(random, uniform, self.actor(env, state).sample(key, state.states.obs))

    def _update(self, env: TrainingEnv, state: SACState, key: Array) -> tuple[SACState, dict[str, Array]]:
        """One gradient step of temperature, critic and actor."""
        sample_key, alpha_key, critic_key, actor_key = jax.random.split(key, 4)
        batch = _transitions(state.replay.sample(sample_key, self.batch_size))
        update_alpha, update_critic, update_actor = self._updates(env)
        actor_state, critic_state, alpha_state = state.optimisers
        alpha = jnp.exp(state.log_alpha)
        _, log_alpha, alpha_state = update_alpha(
            state.log_alpha, state.policy, state.statistics, batch, alpha_key, optimizer_state=alpha_state
        )
        critic_loss, critic, critic_state = update_critic(
            state.critic,
            state.policy,
            state.statistics,
            state.target,
            alpha,
            batch,
            critic_key,
            optimizer_state=critic_state,
        )
        actor_loss, policy, actor_state = update_actor(
            state.policy, state.statistics, state.critic, alpha, batch, actor_key, optimizer_state=actor_state
        )
        state = state.replace(
            policy=policy,
            critic=critic,
            target=optax.incremental_update(critic, state.target, self.tau),
            log_alpha=log_alpha,
            optimisers=(actor_state, critic_state, alpha_state),
            updates=state.updates + 1,
        )
        return state, {"critic_loss": critic_loss, "actor_loss": actor_loss, "alpha": alpha}

    def _updates(self, env: TrainingEnv) -> tuple[Any, Any, Any]:
        """Brax' update functions of temperature, critic and actor."""
        alpha_loss, critic_loss, actor_loss = brax_parts().sac_losses.make_losses(
            self._networks(env),
            reward_scaling=self.reward_scale,
            discounting=self.discount,
            action_size=env.action_size,
        )
        actor, critic, alpha = self._optimisers()
        excess = env.action_size * (BRAX_TARGET_ENTROPY - self.target_entropy)

        def aimed_alpha_loss(log_alpha: Array, *args: Any) -> Array:
            return alpha_loss(log_alpha, *args) + jnp.exp(log_alpha) * excess

        update = functools.partial(brax_parts().gradient_update_fn, pmap_axis_name=None)
        return update(aimed_alpha_loss, alpha), update(critic_loss, critic), update(actor_loss, actor)

    def _optimisers(self) -> tuple[optax.GradientTransformation, ...]:
        """Of actor, critic and temperature."""
        return optax.adam(self.learning_rate), optax.adam(self.learning_rate), optax.adam(self.alpha_learning_rate)

    def _networks(self, env: TrainingEnv) -> Any:
        return brax_parts().sac_networks.make_sac_networks(
            env.observation_size,
            env.action_size,
            preprocess_observations_fn=functools.partial(
                brax_parts().statistics.normalize, max_abs_value=OBSERVATION_LIMIT
            ),
            hidden_layer_sizes=self.hidden,
            q_network_layer_norm=self.layer_norm,
        )

    def _entry(self, env: TrainingEnv) -> Experience:
        """Shapes of what the buffer holds."""
        observation, action = jnp.zeros((env.observation_size,)), jnp.zeros((env.action_size,))
        flag = jnp.asarray(False)
        return Experience(
            observation=observation,
            action=action,
            reward=jnp.zeros(()),
            next_observation=observation,
            terminated=flag,
            cut=flag,
            broken=flag,
        )


def _transitions(batch: Experience) -> Any:
    """Experience as Brax' losses take it.

    What Brax calls truncation makes its losses skip a step. A cut episode needs no skipping here, since the
    observation after the step is the true one and not that of the next episode; diverged physics does.
    """
    return brax_parts().Transition(
        observation=batch.observation,
        action=batch.action,
        reward=batch.reward,
        discount=1.0 - batch.terminated,
        next_observation=batch.next_observation,
        extras={"state_extras": {"truncation": batch.broken.astype(jnp.float32)}, "policy_extras": {}},
    )
