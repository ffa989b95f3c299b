"""Brax relies on rank promotion, which the other tests forbid."""

import jax
import pytest


@pytest.fixture(autouse=True)
def promotion_as_users_have_it():
    with jax.numpy_rank_promotion("allow"):
        yield
