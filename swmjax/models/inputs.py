"""What a world model takes: the size of its actions, its frames and its vectors."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInputs:
    """Sizes of what a world model takes from an environment.

    Attributes:
        action_size: Entries of a planner action.
        image_size: Side of a frame, px; None if the model looks at none.
        channels: Colour channels of a frame.
        vectors: Name and length of every vector that is observed beside the frame, in order.
    """

    action_size: int
    image_size: int | None
    channels: int = 3
    vectors: tuple[tuple[str, int], ...] = ()
