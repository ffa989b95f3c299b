"""Videos that play back, panels and labels in their places, and silence on the terminal."""

import errno
import os
import re
import string
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from swmjax.world import font
from swmjax.world.video import BACKGROUND, LABEL, SUCCESS, mark_success, side_by_side, write_mp4


def clip(steps: int, height: int, width: int) -> np.ndarray:
    """Frame t is a plain grey of 10 + 20 t."""
    grey = (10 + 20 * np.arange(steps)).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (steps, height, width, 3)).copy()


def played(path: Path) -> tuple[np.ndarray, str]:
    """Frames [T, H, W, 3] of a video and what ffmpeg says of its video stream."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    facts = re.search(r"Stream.*Video: .*", done.stderr.decode()).group()
    width, height = map(int, re.search(r" (\d+)x(\d+)[ ,]", facts).groups())
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3), facts


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1)])
def test_video_plays_back(tmp_path, capfd, size):
    path = tmp_path / "episode.mp4"
    write_mp4(path, clip(12, *size), fps=5)
    assert capfd.readouterr() == ("", "")
    frames, facts = played(path)
    assert frames.shape == (12, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for fact in ("h264", "yuv420p", " 5 fps"):
        assert fact in facts
    np.testing.assert_allclose(frames, clip(12, *frames.shape[1:3]), atol=4)
    assert list(tmp_path.iterdir()) == [path]


def test_views_and_relative_folders_that_look_like_options_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-y").mkdir()
    backwards = clip(4, 16, 16)[::-1]
    write_mp4(Path("-y/-x.mp4"), backwards)
    np.testing.assert_allclose(played(tmp_path / "-y" / "-x.mp4")[0], backwards, atol=4)


def test_failures_of_ffmpeg_are_os_errors_and_keep_the_old_file(tmp_path, monkeypatch, capfd):
    path = tmp_path / "episode.mp4"
    path.write_text("old")
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'Conversion\nfailed!' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(fake))
    with pytest.raises(OSError, match="episode.mp4: ffmpeg failed with status 3: Conversion failed!$"):
        write_mp4(path, clip(200, 64, 64))
    fake.write_text("#!/bin/sh\necho 'No space left\non device' >&2\nexit 3\n")
    with pytest.raises(OSError, match="No space left on device.*episode.mp4") as caught:
        write_mp4(path, clip(200, 64, 64))
    assert caught.value.errno == errno.ENOSPC

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(OSError, match="episode.mp4: No ffmpeg exe"):
        write_mp4(path, clip(2, 8, 8))
    assert path.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"episode.mp4", "ffmpeg"}
    assert capfd.readouterr() == ("", "")


def test_a_write_that_dies_leaves_no_half_video(tmp_path, monkeypatch):
    def die(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "episode.mp4", clip(2, 8, 8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (np.zeros((2, 4, 4, 3)), "frames is float64 [2, 4, 4, 3], it must be uint8 [steps, height, width, 3]"),
        (np.zeros((2, 4, 4), np.uint8), "frames is uint8 [2, 4, 4]"),
        (np.zeros((2, 4, 4, 4), np.uint8), "frames is uint8 [2, 4, 4, 4]"),
        (np.zeros((0, 4, 4, 3), np.uint8), "frames is uint8 [0, 4, 4, 3]"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, frames, problem):
    for call in (lambda: write_mp4(tmp_path / "x.mp4", frames), lambda: mark_success(frames, 0)):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value).startswith(problem)
    assert not list(tmp_path.iterdir())


def test_wrong_numbers_and_names_are_refused(tmp_path):
    frames = clip(2, 4, 4)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"fps is {fps}"):
            write_mp4(tmp_path / "x.mp4", frames, fps=fps)
    with pytest.raises(ValueError, match=r"it must end in \.mp4"):
        write_mp4(tmp_path / "x.gif", frames)
    with pytest.raises(ValueError, match="step is -1"):
        mark_success(frames, -1)
    with pytest.raises(ValueError, match="panels is empty"):
        side_by_side({})
    with pytest.raises(ValueError, match="panel 'goal' is uint8 .* or "):
        side_by_side({"agent": frames, "goal": frames[0, 0]})


def test_panels_stand_next_to_each_other():
    wide, narrow = clip(5, 40, 60), clip(2, 30, 20)
    still = np.full((40, 60, 3), 200, np.uint8)
    frames = side_by_side({"agent": wide, "plan": narrow, "goal": still})
    assert frames.dtype == np.uint8
    margin = gap = 6
    second, third = margin + 60 + gap, margin + 60 + gap + 20 + gap
    assert frames.shape[::2] == (5, third + 60 + margin)
    np.testing.assert_array_equal(frames[:, margin : margin + 40, margin : margin + 60], wide)
    held = narrow[[0, 1, 1, 1, 1]]
    np.testing.assert_array_equal(frames[:, margin : margin + 30, second : second + 20], held)
    assert (frames[:, margin : margin + 40, third : third + 60] == 200).all()
    assert (frames[:, :margin] == BACKGROUND).all()
    assert (frames[:, :, second - gap : second] == BACKGROUND).all()


def test_labels_are_centred_below_their_panels_and_cut():
    frames = side_by_side({"agenda": clip(1, 224, 224), "x" * 100: clip(1, 224, 50)})
    ink = (frames[0] == LABEL).all(axis=-1)
    rows = np.flatnonzero(ink.any(axis=1))
    assert rows.min() > 16 + 224
    assert rows.max() < frames.shape[1] - 6
    left = np.flatnonzero(ink[:, : 16 + 224].any(axis=0))
    assert abs(left.min() + left.max() - 2 * 16 - 223) <= 2
    mask = font.text_mask("agenda", 2)
    np.testing.assert_array_equal(ink[rows.min() : rows.max() + 1, left.min() : left.max() + 1], mask)
    right = np.flatnonzero(ink.any(axis=0))[len(left) :]
    start = 16 + 224 + 14
    assert right.min() >= start
    assert right.max() < start + 50


def test_success_is_a_thin_border_from_its_step_on():
    frames = clip(4, 64, 128)
    marked = mark_success(frames, 2)
    np.testing.assert_array_equal(marked[:2], frames[:2])
    np.testing.assert_array_equal(marked[2:, 1:-1, 1:-1], frames[2:, 1:-1, 1:-1])
    for edge in (marked[2:, 0], marked[2:, -1], marked[2:, :, 0], marked[2:, :, -1]):
        assert (edge == SUCCESS).all()
    np.testing.assert_array_equal(frames, clip(4, 64, 128))
    np.testing.assert_array_equal(mark_success(frames, 4), frames)


def test_font_tells_all_characters_apart():
    characters = string.ascii_letters + string.digits + " ?!.,:;-_+=/()%#"
    masks = {character: font.text_mask(character) for character in characters}
    assert {mask.shape for mask in masks.values()} == {(font.HEIGHT, font.ADVANCE - 1)}
    assert len({mask.tobytes() for mask in masks.values()}) == len(characters)
    assert not masks[" "].any()
    np.testing.assert_array_equal(font.text_mask("é"), masks["?"])
    np.testing.assert_array_equal(font.text_mask("gA", 3)[::3, ::3], font.text_mask("gA"))
    assert font.text_mask("").size == 0
