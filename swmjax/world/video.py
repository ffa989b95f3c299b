"""Videos of episodes: panels side by side, a mark of success, MP4 files."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np

from envs_mjx.checks import UserError
from swmjax.runs.files import replacing
from swmjax.world import font
from swmjax.world.episodes import Episodes

BACKGROUND = 250
LABEL = (130, 130, 130)
SUCCESS = (0, 170, 60)
_HOLD = 10


def write_video(path: Path, episodes: Episodes) -> None:
    """Write the first episodes one after the other as an MP4, each beside its goal if it has one.

    Args:
        path: The file to make.
        episodes: Episodes with frames.
    """
    assert episodes.frames is not None
    parts = []
    for i in range(episodes.frames.shape[1]):
        frames = np.asarray(episodes.frames[:, i])
        steps = int(episodes.steps[i])
        if bool(episodes.success[i]):
            frames = mark_success(frames, steps)
        frames = frames[: steps + 1]
        # Hold the end, so that a viewer sees how close it came.
        frames = np.concatenate([frames, np.repeat(frames[-1:], _HOLD, axis=0)])
        goal = {} if episodes.goal_frames is None else {"goal": np.asarray(episodes.goal_frames[i])}
        parts.append(side_by_side({f"episode {i}": frames, **goal}))
    write_mp4(path, np.concatenate(parts))


def write_mp4(path: Path, frames: np.ndarray, fps: float = 10) -> None:
    """Write a video that browsers and slide programs play (H.264, yuv420p).

    Args:
        path: file to make or to replace, once the video is complete; it must end in .mp4.
        frames: uint8 [T, H, W, 3], at least one frame. An odd side is widened by one pixel, as the format needs.
        fps: frames per second, above 0.

    Raises:
        UserError: if the frames have another type or shape, or a number is out of its range.
        OSError: if the file cannot be written, or ffmpeg is missing or fails.
    """
    _check(frames, "frames", dimensions=(4,))
    if not 0 < fps < float("inf"):
        raise UserError(f"fps is {fps}, it must be above 0")
    if path.suffix != ".mp4":
        raise UserError(f"path is {path}, it must end in .mp4")
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise OSError(f"{path}: {error}") from error
    even = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    source = f"-f rawvideo -pix_fmt rgb24 -s {even.shape[2]}x{even.shape[1]} -r {fps} -i -".split()
    target = "-an -c:v libx264 -crf 18 -pix_fmt yuv420p -movflags +faststart".split()
    with replacing(path.absolute()) as temporary:
        # Not through imageio_ffmpeg.write_frames: it forks in Python, of which JAX warns, lets ffmpeg talk to the
        # terminal, and takes no notice of its exit status. The session of its own keeps Ctrl-C away from ffmpeg.
        done = subprocess.run(
            [ffmpeg, "-y", "-v", "error", *source, *target, str(temporary)],
            input=np.ascontiguousarray(even).reshape(-1).data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split()) or "no message"
            raise OSError(f"{path}: ffmpeg failed with status {done.returncode}: {said}")


def side_by_side(panels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Put videos and still images next to each other on light grey, each above its label.

    Args:
        panels: label to uint8 [T, H, W, 3], or [H, W, 3] for a still image; sizes and lengths may differ. A video
            that ends early holds its last frame. A label that is too long is cut.

    Returns:
        Frames, uint8 [longest T, height, width, 3].

    Raises:
        UserError: if there is no panel or one has another type or shape.

    Source: reference, plot/video_utils.py (`save_panel_videos`).
    """
    if not panels:
        raise UserError("panels is empty, at least 1 is needed")
    for label, panel in panels.items():
        _check(panel, f"panel {label!r}", dimensions=(3, 4))
    videos = {label: panel if panel.ndim == 4 else panel[None] for label, panel in panels.items()}
    height = max(video.shape[1] for video in videos.values())
    widest = max(video.shape[2] for video in videos.values())
    margin, gap, scale = max(6, widest // 14), max(6, widest // 16), max(1, widest // 112)
    foot = 2 * margin + height + max(3, margin // 2)
    total = 2 * margin + sum(video.shape[2] for video in videos.values()) + gap * (len(videos) - 1)
    steps = max(len(video) for video in videos.values())
    canvas = np.full((steps, foot + font.HEIGHT * scale, total, 3), BACKGROUND, np.uint8)
    left = margin
    for label, video in videos.items():
        width = video.shape[2]
        shown = video[np.minimum(np.arange(steps), len(video) - 1)]
        canvas[:, margin : margin + video.shape[1], left : left + width] = shown
        ink = _label(label, width, scale)
        top, start = foot - margin, left + (width - ink.shape[1]) // 2
        canvas[:, top : top + ink.shape[0], start : start + ink.shape[1]][:, ink] = LABEL
        left += width + gap
    return canvas


def mark_success(frames: np.ndarray, step: int) -> np.ndarray:
    """Draw a thin green border on every frame from the step of success on.

    Args:
        frames: uint8 [T, H, W, 3].
        step: first frame with the border, at least 0; from T on nothing is marked.

    Returns:
        A marked copy.

    Raises:
        UserError: if the frames have another type or shape, or the step is negative.
    """
    _check(frames, "frames", dimensions=(4,))
    if step < 0:
        raise UserError(f"step is {step}, it must be at least 0")
    marked = frames.copy()
    thickness = max(1, min(frames.shape[1:3]) // 64)
    inside = np.zeros(frames.shape[1:3], bool)
    inside[thickness:-thickness, thickness:-thickness] = True
    marked[step:, ~inside] = SUCCESS
    return marked


def _label(text: str, width: int, largest: int) -> np.ndarray:
    """The text as large as it fits into the width, cut if even the smallest letters do not."""
    for scale in range(largest, 0, -1):
        ink = font.text_mask(text, scale)
        if ink.shape[1] <= width:
            return ink
    return font.text_mask(text[: (width + 1) // font.ADVANCE])


def _check(frames: np.ndarray, name: str, dimensions: tuple[int, ...]) -> None:
    wanted = " or ".join("[height, width, 3]" if n == 3 else "[steps, height, width, 3]" for n in dimensions)
    if frames.dtype != np.uint8 or frames.ndim not in dimensions or frames.shape[-1] != 3 or 0 in frames.shape:
        raise UserError(f"{name} is {frames.dtype} {list(frames.shape)}, it must be uint8 {wanted}, none of them 0")
