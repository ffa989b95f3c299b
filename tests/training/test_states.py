"""Training states on disk."""

import jax.numpy as jnp
import pytest

from swmjax.training.states import load_state, save_state


def test_states_of_environments_without_success_are_older_ones(tmp_path):
    saved = {"states": {"reward": jnp.ones(3)}, "count": jnp.asarray(7)}
    save_state(tmp_path, 1, saved)
    loaded = load_state(tmp_path, 1, saved | {"states": saved["states"] | {"success": jnp.ones(3, bool)}})
    assert loaded["count"] == 7
    assert loaded["states"]["reward"].all()
    assert not loaded["states"]["success"].any()
    with pytest.raises(ValueError, match="a state of other settings .it differs in states/return"):
        load_state(tmp_path, 1, saved | {"states": saved["states"] | {"return": jnp.ones(3)}})
