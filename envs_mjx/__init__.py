"""Functional environments in JAX; importing this package also registers their ids with Gymnasium."""

from envs_mjx import spaces
from envs_mjx.core import Env, State
from envs_mjx.registry import Spec, full_id, make, register, registered_ids, spec

__all__ = ["Env", "Spec", "State", "full_id", "make", "register", "registered_ids", "spaces", "spec"]

register("swm/PushT-v1", "envs_mjx.pusht.env:PushT")
register("swm/TwoRoom-v1", "envs_mjx.tworoom.env:TwoRoom")
