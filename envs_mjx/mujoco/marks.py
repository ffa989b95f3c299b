"""How the target of a domain looks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """The object that shows the target.

    Attributes:
        kind: `site` or `geom`.
        material: the material that has its colour; None where the object has it itself.
        size: its size, m.
        hideable: whether the factor `rendering.render_target` hides it.
        name: its name in the model.
    """

    kind: str
    material: str | None
    size: tuple[float, float, float]
    hideable: bool = True
    name: str = "target"
