"""Pictures of plans."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from envs_mjx.checks import UserError, needs_extra


def plot_trace(trace: Mapping[str, Any], file: str | Path | None = None) -> Any:
    """Draw the metrics of one plan over the solver's steps and, if there is a `cloud`, where the solver looked.

    Beside costs, a metric that is the same in every step stands in the title and takes no panel.

    Args:
        trace: Metrics by name, as `Plan.trace` of one problem has them.
        file: Where to save the picture, in the format that its name ends with; nowhere if not given.

    Returns:
        The Matplotlib figure.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        UserError: The trace is empty.
    """
    with needs_extra("plots need", "plot"):
        from matplotlib.figure import Figure
    trace = {name: np.asarray(value) for name, value in jax.device_get(dict(trace)).items()}
    curves = {name: value for name, value in trace.items() if name != "cloud"}
    if not curves:
        raise UserError("the plan has no trace to draw; solve with metrics=(BestCost(),) or more")
    costs = {name: value for name, value in curves.items() if name.endswith("cost")}
    others = {name: value for name, value in curves.items() if name not in costs}
    # What never changes is a number and needs no panel, unless there is nothing else.
    still = {name: value[0] for name, value in others.items() if np.ptp(value) == 0.0} if costs else {}
    panels = [*([costs] if costs else []), *({name: value} for name, value in others.items() if name not in still)]
    width = len(panels) + ("cloud" in trace)
    figure = Figure(figsize=(3.6 * width, 3.2), layout="constrained")
    axes = figure.subplots(1, width, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=False):
        for name, value in panel.items():
            axis.plot(np.arange(1, len(value) + 1), value, label=name.replace("_", " "))
        axis.set_xlabel("solver step")
        if len(panel) > 1:
            axis.legend(frameon=False)
        else:
            axis.set_ylabel(next(iter(panel)).replace("_", " "))
    if still:
        said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in still.items())
        axes[0].set_title(f"{said} in every step", fontsize="small")
    if "cloud" in trace:
        _draw_cloud(axes[-1], trace["cloud"])
    if file is not None:
        figure.savefig(file)
    return figure


def _draw_cloud(axis: Any, cloud: np.ndarray) -> None:
    """First two entries of the first actions, coloured from the first solver step to the last."""
    steps, count, size = cloud.shape
    x = cloud[..., 0].reshape(-1)
    y = cloud[..., 1].reshape(-1) if size > 1 else np.repeat(np.arange(1, steps + 1), count)
    drawn = axis.scatter(x, y, c=np.repeat(np.arange(1, steps + 1), count), s=6, cmap="viridis", linewidths=0)
    axis.set_xlabel("first action, entry 1")
    axis.set_ylabel("first action, entry 2" if size > 1 else "solver step")
    axis.figure.colorbar(drawn, ax=axis, label="solver step")
