"""The parts of Brax that training is made of."""

import functools
from types import SimpleNamespace

from envs_mjx.checks import needs_extra
from envs_mjx.third_party import quietly


@functools.cache
def brax_parts() -> SimpleNamespace:
    """Brax' modules for losses, networks, statistics and updates.

    Raises:
        MissingExtraError: Brax is not installed; the message says how to install it.
    """
    # MuJoCo, which Brax imports, tells on stdout what it lacks; stdout may be somebody's JSON.
    with needs_extra("training needs", "expert"), quietly():
        from brax.training import gradients, types
        from brax.training.acme import running_statistics
        from brax.training.agents.ppo import losses as ppo_losses
        from brax.training.agents.ppo import networks as ppo_networks
        from brax.training.agents.sac import losses as sac_losses
        from brax.training.agents.sac import networks as sac_networks
    return SimpleNamespace(
        Transition=types.Transition,
        gradient_update_fn=gradients.gradient_update_fn,
        statistics=running_statistics,
        sac_losses=sac_losses,
        sac_networks=sac_networks,
        ppo_losses=ppo_losses,
        ppo_networks=ppo_networks,
    )
