"""JPEG files: decoded in threads into one array, after their size is known."""

import threading

import imageio.v3 as iio
import numpy as np
import pytest

from envs_mjx.checks import UserError
from swmjax.data.jpeg import MOST_PIXELS, decode_jpeg, decode_jpegs, encode_jpeg, encode_jpegs, jpeg_shape
from swmjax.data.threads import cores, each

pytest.importorskip("simplejpeg", reason="needs simplejpeg: pip install 'swmjax[data]'")


def frames(count=5, height=20, width=33, channels=3):
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 5)
    shifts = np.arange(count)[:, None, None, None] * 40 + np.arange(channels) * 90
    return ((ramp[..., None] + shifts) % 256).astype(np.uint8)


def place(row):
    return f"set.lance: pixels, row {row}"


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_decoded_as_pillow_does_it(channels):
    files = encode_jpegs(frames(channels=channels))
    assert files == [encode_jpeg(frame) for frame in frames(channels=channels)]
    out = np.zeros((5, 20, 33, 3), np.uint8)
    decode_jpegs(files, out, place)
    for file, frame in zip(files, out, strict=True):
        np.testing.assert_array_equal(frame, iio.imread(file, extension=".jpg", plugin="pillow", mode="RGB"))
        np.testing.assert_array_equal(frame, decode_jpeg(file))
        assert jpeg_shape(file, "x") == (20, 33, channels)


def test_frames_are_decoded_into_a_slice_and_from_parts_of_a_buffer():
    files = encode_jpegs(frames())
    whole, ends = np.frombuffer(b"".join(files), np.uint8), np.cumsum([len(file) for file in files])
    out = np.full((2, 7, 20, 33, 3), 9, np.uint8)
    parts = [whole[end - len(file) : end] for file, end in zip(files, ends, strict=True)]
    decode_jpegs(parts, out[1, 1:6], place)
    np.testing.assert_array_equal(out[1, 1:6], [decode_jpeg(file) for file in files])
    assert (out[0] == 9).all()
    assert (out[1, [0, 6]] == 9).all()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: file[:-40], "set.lance: pixels, row 3 holds a damaged picture: Premature end"),
        (lambda file: file[:-40] + b"\xff\xd8" + file[-38:], "set.lance: pixels, row 3 holds a damaged picture"),
        (lambda file: b"", "set.lance: pixels, row 3 holds something that is no picture; allowed are JPEG files"),
        (lambda file: b"RIFF" + file, "set.lance: pixels, row 3 holds something that is no picture"),
        (lambda file: None, "set.lance: pixels, row 3 holds something that is no picture"),
        (lambda file: encode_jpeg(frames(1, 33, 20)[0]), "row 3 is a picture of 33 x 20 px; expected are 20 x 33 px"),
        (lambda file: encode_jpeg(frames(1, 20, 32)[0]), "row 3 is a picture of 20 x 32 px; expected are 20 x 33 px"),
        (lambda file: claiming(file, 8000, 8000), "row 3 is a picture of 8000 x 8000 px; expected are 20 x 33 px"),
    ],
)
def test_a_damaged_file_is_named(damage, says):
    files = encode_jpegs(frames())
    files[3] = damage(files[3])
    with pytest.raises(UserError, match=says):
        decode_jpegs(files, np.zeros((5, 20, 33, 3), np.uint8), place)


def claiming(file, height, width):
    """A file whose header says another size."""
    start = file.index(b"\xff\xc0") + 5
    return file[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + file[start + 4 :]


def test_a_file_that_claims_to_be_huge_is_not_decoded():
    with pytest.raises(UserError, match=f"x is a picture of 60000 x 60000 px; at most {MOST_PIXELS:,} pixels are"):
        decode_jpeg(claiming(encode_jpeg(frames(1)[0]), 60000, 60000), "x")


def test_the_first_failure_is_told_whoever_meets_it():
    def work(number):
        if number in (3, 7, 8):
            raise ValueError(number)

    for _ in range(20):
        with pytest.raises(ValueError, match="3"):
            each(work, 20)


def test_work_within_work_waits_for_nobody():
    done = []
    each(lambda _: each(done.append, 10), 8 * cores())
    assert sorted(done) == sorted(list(range(10)) * 8 * cores())


def test_all_cores_work_on_it(monkeypatch):
    meeting = threading.Barrier(min(2, cores()), timeout=10)
    each(lambda _: meeting.wait(), 2)
