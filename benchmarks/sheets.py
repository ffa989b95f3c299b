"""Pictures above labels, of which contact sheets are made."""

import numpy as np

from swmjax.world import font

GAP = 4
BACKGROUND, INK = 255, 0


def labelled(picture: np.ndarray, label: str) -> np.ndarray:
    """A picture, uint8 [H, W, 3], above its label, which is cut where it is too long."""
    height, width = picture.shape[:2]
    canvas = np.full((height + font.HEIGHT + 2 * GAP, width + GAP, 3), BACKGROUND, np.uint8)
    canvas[:height, :width] = picture
    ink = font.text_mask(label[: width // font.ADVANCE])
    canvas[height + GAP : height + GAP + ink.shape[0], : ink.shape[1]][ink] = INK
    return canvas
