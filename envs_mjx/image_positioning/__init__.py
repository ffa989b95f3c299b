"""ImagePositioning: pictures and a background are moved to where a target has them."""

from envs_mjx.image_positioning.env import ImagePositioning, optimal_action
from envs_mjx.image_positioning.pictures import Picture, default_pictures

__all__ = ["ImagePositioning", "Picture", "default_pictures", "optimal_action"]
