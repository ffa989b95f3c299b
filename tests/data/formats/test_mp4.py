"""Videos: exactly the frames asked for, after any seek, in any thread; and what is damaged is said so."""

import io
import itertools

import numpy as np
import pytest
from data_episodes import frames

from swmjax.data.formats import mp4

av = pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")


def shown(video, numbers):
    found = {}
    video.read(np.array(numbers, np.int64), lambda place, frame: found.update({place: frame.copy()}))
    return [found[place] for place in range(len(numbers))]


def encoded(pictures, codec="libx264", pix_fmt="yuv420p", times=None, **options):
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], pix_fmt
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return memory.getvalue()


MADE = {
    "ours": lambda pictures: mp4.encode(pictures),
    "few key frames, many frames that need later ones": lambda pictures: encoded(
        pictures, g="25", bf="4", sc_threshold="0", **{"x264-params": "b-adapt=0:b-pyramid=2"}
    ),
    "groups that need the next key frame": lambda pictures: encoded(
        pictures, g="12", bf="3", **{"x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
    ),
    "gaps in time": lambda pictures: encoded(pictures, times=np.cumsum(1 + np.arange(len(pictures)) % 3).tolist()),
    "AV1": lambda pictures: encoded(pictures, "libsvtav1", g="8", preset="12"),
}


@pytest.mark.parametrize("kind", MADE)
def test_frames_are_those_that_were_encoded_after_any_seek(kind):
    pictures = frames(50, 1, (64, 64))
    data = MADE[kind](pictures)
    video = mp4.Video(io.BytesIO(data), "clip")
    assert (len(video.index), video.index.size) == (50, (64, 64))
    every = shown(video, range(50))
    away = np.abs(np.array(every).astype(int) - pictures).mean(axis=(1, 2, 3))
    assert away.max() < 6, away
    rng = np.random.default_rng(0)
    for numbers in ([49], [0], [25], [24], [0, 5, 10, 15], [48, 49], [1], [0, 49], *(
        np.unique(rng.integers(0, 50, rng.integers(1, 6))).tolist() for _ in range(40)
    )):  # fmt: skip
        for number, frame in zip(numbers, shown(video, numbers), strict=True):
            np.testing.assert_array_equal(frame, every[number], err_msg=f"frame {number}")


def test_frames_on_the_way_to_a_far_one_are_not_decoded(monkeypatch):
    video = mp4.Video(io.BytesIO(encoded(frames(60, 1, (64, 64)), g="10", sc_threshold="0")), "clip")
    seeks = []
    seek = mp4.Video._seek
    monkeypatch.setattr(mp4.Video, "_seek", lambda self, key: (seeks.append(key), seek(self, key)))
    shown(video, [3, 5, 9, 12, 55, 57])
    assert seeks == [0, 5]  # 12 is within reach of decoding on, and 55 is not


def test_times_say_frames():
    video = mp4.Video(io.BytesIO(encoded(frames(20, 1, (32, 32)))), "clip")
    numbers = video.index.shown_at(np.array([0.0, 0.1, 1.9, 0.3 + 1e-5, 0.999]), "clip")
    assert numbers.tolist() == [0, 1, 19, 3, 10]
    for seconds in (0.05, 2.0, -0.1):
        with pytest.raises(ValueError, match="clip: shows no frame at .* s; the nearest is 0.[01]"):
            video.index.shown_at(np.array([seconds]), "clip")


def test_a_frame_that_there_is_not():
    video = mp4.Video(io.BytesIO(mp4.encode(frames(5, 1))), "clip")
    with pytest.raises(ValueError, match="clip: has 5 frames; frame 5 is asked for"):
        shown(video, [2, 5])


def test_what_is_no_video(tmp_path):
    whole = mp4.encode(frames(50, 1, (64, 64)))
    for data in (b"", b"no video at all", whole[: len(whole) // 2], whole[:40], whole[200:]):
        with pytest.raises(ValueError, match="^clip: (cannot be read|holds no)") as caught:
            mp4.Video(io.BytesIO(data), "clip")
        assert "\n" not in str(caught.value)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="clip: holds no video"):
        mp4.Video(str(tmp_path / "sound.mp4"), "clip")


def test_bytes_that_were_overwritten():
    data = bytearray(mp4.encode(frames(40, 1, (64, 64))))
    start = data.index(b"mdat") + 300
    data[start : start + 900] = np.random.default_rng(0).integers(0, 256, 900, np.uint8).tobytes()
    try:
        video = mp4.Video(io.BytesIO(bytes(data)), "clip")
        shown(video, range(40))
    except ValueError as error:
        assert str(error).startswith("clip: ")
        assert "\n" not in str(error)


def test_a_video_that_claims_to_be_huge(monkeypatch):
    monkeypatch.setattr(mp4, "MOST_PIXELS", 64 * 63)
    with pytest.raises(ValueError, match="clip: its frames are 64 x 64 px; at most 4,032 pixels are decoded"):
        mp4.Video(io.BytesIO(mp4.encode(frames(2, 1, (64, 64)))), "clip")


def test_few_stay_open():
    files = [mp4.encode(frames(3, i)) for i in range(6)]
    videos, opened = mp4.Videos(2), []

    def named(key):
        return f"clip {key}", lambda: opened.append(key) or io.BytesIO(files[key])

    out = np.empty((6, 24, 16, 3), np.uint8)
    for _ in range(2):
        videos.read(np.arange(6), np.ones(6, np.int64), named, out)
        assert len(videos._idle) == 2
    assert len(opened) > 6
    opened.clear()
    kept = next(key for key, _ in reversed(videos._idle))
    videos.read(np.full(3, kept), np.array([2, 0, 2]), named, out[:3])
    assert opened == []
    np.testing.assert_array_equal(out[0], out[2])


def test_frames_of_another_size():
    files = [mp4.encode(frames(3, 1)), mp4.encode(frames(3, 2, (16, 16)))]
    with pytest.raises(ValueError, match="clip 1: .* differ in size: 16 x 16 px and 24 x 16 px"):
        mp4.Videos().read(
            np.arange(2), np.zeros(2, np.int64),
            lambda key: (f"clip {key}", lambda: io.BytesIO(files[key])), np.empty((2, 24, 16, 3), np.uint8),
        )  # fmt: skip


@pytest.mark.parametrize(("height", "width"), itertools.product((1, 7, 16), (1, 9, 32)))
def test_any_size_is_kept(height, width):
    pictures = frames(3, 2, (height, width))
    video = mp4.Video(io.BytesIO(mp4.encode(pictures)), "clip")
    assert video.index.size == (height, width)
    assert np.abs(np.array(shown(video, range(3))).astype(int) - pictures).mean() < 4


def test_codecs():
    mp4.check_codec("mpeg4")
    with pytest.raises(ValueError, match="codec 'xyz' is none that FFmpeg encodes videos with here"):
        mp4.check_codec("xyz")
    with pytest.raises(ValueError, match="mpeg4 cannot encode frames of 7 x 9 px"):
        mp4.encode(frames(3, 1, (7, 9)), codec="mpeg4")
