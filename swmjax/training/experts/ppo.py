"""Proximal policy optimisation from Brax' networks and losses, with its whole state in one pytree.

Source: Schulman et al. 2017, arXiv:1707.06347; Brax, `training/agents/ppo`.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen
from jaxtyping import Array, Float, Int, Key

from envs_mjx import State
from envs_mjx.checks import UserError, check_count, check_number, check_widths
from swmjax.models.actor import OBSERVATION_LIMIT, Actor
from swmjax.training.experts.brax import brax_parts
from swmjax.training.experts.env import Experience, TrainingEnv
from swmjax.training.experts.export import exported


@chex.dataclass(frozen=True)
class PPOState:
    """Everything that a training continues from.

    Attributes:
        networks: Parameters of actor and value.
        optimiser: State of their optimiser.
        statistics: Running mean and deviation of the observations.
        states: The environments.
        key: Of all that is random.
        steps: Environment steps so far, of all environments together.
        updates: Gradient steps so far.
    """

    networks: Any
    optimiser: Any
    statistics: Any
    states: State
    key: Key[Array, ""]
    steps: Int[Array, ""]
    updates: Int[Array, ""]


@dataclass(frozen=True)
class PPO:
    """Hyperparameters of proximal policy optimisation.

    An iteration is `unroll` steps of every environment and then `passes` over them in `minibatches` gradient steps.

    Args:
        num_envs: Environments side by side, a multiple of `minibatches`.
        unroll: Steps of each between updates.
        minibatches: Gradient steps per pass.
        passes: Passes over the same steps.
        learning_rate: Of actor and value.
        discount: Per environment step.
        gae_lambda: Decay of generalised advantages.
        clip: How far the ratio of probabilities may leave 1.
        entropy_cost: Weight of the entropy.
        max_grad_norm: Norm to which gradients are clipped.
        reward_scale: Factor of all rewards.
        hidden: Widths of the actor's hidden layers.
        value_hidden: Widths of the value's.

    Raises:
        UserError: A value is out of range.
    """

    name: ClassVar[str] = "ppo"
    activation: ClassVar[str] = "swish"

    num_envs: int = 128
    unroll: int = 32
    minibatches: int = 8
    passes: int = 8
    learning_rate: float = 5e-4
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_cost: float = 5e-3
    max_grad_norm: float = 1.0
    reward_scale: float = 1.0
    hidden: tuple[int, ...] = (128, 128)
    value_hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("num_envs", "unroll", "minibatches", "passes"):
            check_count(f"algorithm.{name}", getattr(self, name))
        for name in ("learning_rate", "clip", "max_grad_norm", "reward_scale"):
            check_number(f"algorithm.{name}", getattr(self, name), above=0.0)
        for name in ("discount", "gae_lambda"):
            check_number(f"algorithm.{name}", getattr(self, name), above=0.0, most=1.0)
        check_number("algorithm.entropy_cost", self.entropy_cost, least=0.0)
        for name in ("hidden", "value_hidden"):
            check_widths(f"algorithm.{name}", getattr(self, name))
        if self.num_envs % self.minibatches:
            raise UserError(
                f"algorithm.num_envs must be a multiple of minibatches ({self.minibatches}), got {self.num_envs}"
            )

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of one iteration."""
        return self.num_envs * self.unroll

    def init(self, env: TrainingEnv, key: Key[Array, ""]) -> PPOState:
        """The state before the first iteration."""
        networks = self._networks(env)
        policy_key, value_key, reset_key, key = jax.random.split(key, 4)
        parameters = brax_parts().ppo_losses.PPONetworkParams(
            policy=networks.policy_network.init(policy_key), value=networks.value_network.init(value_key)
        )
        return PPOState(
            networks=parameters,
            optimiser=self._optimiser().init(parameters),
            statistics=brax_parts().statistics.init_state(jnp.zeros((env.observation_size,), jnp.float32)),
            states=env.reset(jax.random.split(reset_key, self.num_envs)),
            key=key,
            steps=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
        )

    def epoch(self, env: TrainingEnv, state: PPOState, iterations: int) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
        """Some iterations.

        Args:
            env: What to train on.
            state: Where to go on from.
            iterations: How many.

        Returns:
            The state after, and means of the losses.
        """
        state, losses = jax.lax.scan(lambda state, _: self._iterate(env, state), state, length=iterations)
        return state, jax.tree.map(jnp.mean, losses)

    def actor(self, env: TrainingEnv, state: PPOState) -> Actor:
        """The policy of a state."""
        return exported(env, state.statistics, state.networks.policy, self.activation)

    def _iterate(self, env: TrainingEnv, state: PPOState) -> tuple[PPOState, dict[str, Array]]:
        act_key, learn_key, key = jax.random.split(state.key, 3)

        def act(states: State, key: Array) -> tuple[State, Any]:
            logits, raw, log_prob = self._draw(env, state, states, key)
            states, experience = env.step(states, jnp.tanh(raw))
            return states, _transition(experience, logits, raw, log_prob)

        states, data = jax.lax.scan(act, state.states, jax.random.split(act_key, self.unroll))
        # Brax' loss wants [environments, time].
        data = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), data)
        statistics = brax_parts().statistics.update(state.statistics, data.observation)
        # The probabilities were computed with the statistics before, so the updates use the same.
        networks, optimiser, losses = self._learn(env, state, data, learn_key)
        return state.replace(
            networks=networks,
            optimiser=optimiser,
            statistics=statistics,
            states=states,
            key=key,
            steps=state.steps + self.steps_per_iteration,
            updates=state.updates + self.passes * self.minibatches,
        ), losses

    def _draw(self, env: TrainingEnv, state: PPOState, states: State, key: Array) -> tuple[Array, Array, Array]:
        """Parameters of the distributions, draws before squashing, and their log-densities."""
        networks = self._networks(env)
        logits = networks.policy_network.apply(state.statistics, state.networks.policy, env.observe(states))
        raw = networks.parametric_action_distribution.sample_no_postprocessing(logits, key)
        return logits, raw, networks.parametric_action_distribution.log_prob(logits, raw)

    def _learn(self, env: TrainingEnv, state: PPOState, data: Any, key: Array) -> tuple[Any, Any, dict[str, Array]]:
        loss = functools.partial(
            brax_parts().ppo_losses.compute_ppo_loss,
            ppo_network=self._networks(env),
            entropy_cost=self.entropy_cost,
            discounting=self.discount,
            reward_scaling=self.reward_scale,
            gae_lambda=self.gae_lambda,
            clipping_epsilon=self.clip,
        )
        update = brax_parts().gradient_update_fn(loss, self._optimiser(), pmap_axis_name=None, has_aux=True)

        def step(carry: tuple[Any, Any], inputs: tuple[Any, Array]) -> tuple[tuple[Any, Any], dict[str, Array]]:
            batch, key = inputs
            (_, shown), networks, optimiser = update(carry[0], state.statistics, batch, key, optimizer_state=carry[1])
            return (networks, optimiser), {name: shown[name] for name in ("policy_loss", "v_loss", "entropy_loss")}

        def one_pass(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            order_key, loss_key = jax.random.split(key)
            order = jax.random.permutation(order_key, self.num_envs).reshape(self.minibatches, -1)
            batches = jax.tree.map(lambda leaf: leaf[order], data)
            return jax.lax.scan(step, carry, (batches, jax.random.split(loss_key, self.minibatches)))

        carry = (state.networks, state.optimiser)
        (networks, optimiser), losses = jax.lax.scan(one_pass, carry, jax.random.split(key, self.passes))
        return networks, optimiser, jax.tree.map(jnp.mean, losses)

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.adam(self.learning_rate))

    def _networks(self, env: TrainingEnv) -> Any:
        return brax_parts().ppo_networks.make_ppo_networks(
            env.observation_size,
            env.action_size,
            preprocess_observations_fn=functools.partial(
                brax_parts().statistics.normalize, max_abs_value=OBSERVATION_LIMIT
            ),
            policy_hidden_layer_sizes=self.hidden,
            value_hidden_layer_sizes=self.value_hidden,
            activation=linen.swish,
        )


def _transition(experience: Experience, logits: Array, raw: Array, log_prob: Array) -> Any:
    """Experience as Brax' loss takes it: what it calls truncation makes it skip the step.

    Its values of the next states come from the next rows, which after a cut belong to another episode.
    """
    cut = experience.cut | experience.broken
    return brax_parts().Transition(
        observation=experience.observation,
        action=experience.action,
        reward=experience.reward,
        discount=1.0 - experience.terminated,
        next_observation=experience.next_observation,
        extras={
            "state_extras": {"truncation": cut.astype(jnp.float32)},
            "policy_extras": {"raw_action": raw, "log_prob": log_prob, "distribution_params": logits},
        },
    )
