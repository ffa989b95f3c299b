"""Pictures of planned episodes for `physics.py`: an MP4 of each task, and a sheet of all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import jax
import numpy as np
from common import progress
from physics_program import Program
from physics_tasks import Bench
from sheets import labelled

from swmjax.runs.files import replacing
from swmjax.runs.watched import Watched
from swmjax.world.video import write_mp4

ACROSS = 6
"""Pictures of an episode on the sheet."""
SHEET_EVERY = 2
"""Pixels of a frame for each pixel of the sheet."""


def draw(bench: Bench, cells: Sequence[dict[str, Any]], folder: Path, run: Watched) -> None:
    """Play cells once more, and write `TASK.mp4` and `sheet.png`.

    Args:
        bench: All settings.
        cells: One for each task.
        folder: Made if it is missing.
        run: Stops when it is asked to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, cell in enumerate(cells, 1):
        program = Program(bench, cell, run)
        played = program.play(cell["solver"], cell["seed"], f"pictures {number}/{len(cells)}")
        env, host = program.env, program.env.host
        render = jax.jit(jax.vmap(env.render))
        alone = (jax.tree.map(lambda leaf: leaf[:, 0], states) for states in played.states)
        frames = np.concatenate([np.asarray(render(states)) for states in alone])
        seconds = program.settings.hold * env.action_repeat * env.substeps * host.opt.timestep
        write_mp4(folder / f"{cell['task']}.mp4", frames, fps=1 / seconds)
        label = f"{cell['task']} {cell['solver']} {played.score:.0f}"
        shown = frames[np.linspace(0, len(frames) - 1, ACROSS).astype(int), ::SHEET_EVERY, ::SHEET_EVERY]
        labels = [label[:18], label[18:36], *[""] * (ACROSS - 2)]
        rows.append(np.concatenate([labelled(*pair) for pair in zip(shown, labels, strict=True)], axis=1))
        progress(f"{folder / cell['task']}.mp4: {len(frames)} frames")
    with replacing(folder / "sheet.png") as temporary:
        imageio.imwrite(temporary, np.concatenate(rows))
    progress(f"{folder / 'sheet.png'}: {len(rows)} tasks")
