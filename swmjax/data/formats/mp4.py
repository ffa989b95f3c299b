"""Frames of videos: exactly those asked for, decoded in this process from the nearest key frame on."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Real, UInt8

from envs_mjx.checks import UserError, needs_extra
from swmjax.data.jpeg import MOST_PIXELS
from swmjax.data.threads import each

CODEC = "libx264"
_QUALITY = "18"
"""x264's constant rate factor; from 18 down the loss is hardly seen."""
_KEY = 10
"""Frames from one key frame to the next: so many are decoded at most for one that is wanted."""
Source = Any
"""A path of a video, or a binary file."""


@dataclass(frozen=True)
class Index:
    """Where the frames of a video are.

    Attributes:
        times: Time stamp of each frame, in the order in which they are shown, in units of `base`.
        keys: Numbers of the frames from which on can be decoded.
        seeks: Decoding time stamps of those, to which a decoder goes.
        base: Seconds of a unit.
        size: Height and width, px.
    """

    times: Int64[np.ndarray, " F"]
    keys: Int64[np.ndarray, " K"]
    seeks: Int64[np.ndarray, " K"]
    base: Fraction
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.times)

    def shown_at(self, seconds: Float64[np.ndarray, " R"], place: str) -> Int64[np.ndarray, " R"]:
        """Numbers of the frames that are shown at some times.

        Args:
            seconds: The times.
            place: What the video is called in messages.

        Raises:
            UserError: No frame is shown near enough, within a quarter of the time to the next.
        """
        times = self.times * float(self.base)
        after = np.clip(np.searchsorted(times, seconds), 1, max(len(times) - 1, 1))
        near = np.where(
            seconds - times[after - 1] <= times[after % len(times)] - seconds, after - 1, after % len(times)
        )
        apart = float(np.diff(times).min()) if len(times) > 1 else 1.0
        off = np.abs(times[near] - seconds)
        if len(off) and off.max() > apart / 4:
            worst = int(off.argmax())
            raise UserError(
                f"{place}: shows no frame at {seconds[worst]:.4f} s; the nearest is {off[worst]:.4f} s away"
            )
        return near


class Video:
    """A video that is open; of one thread at a time.

    Args:
        source: Where it is.
        place: What it is called in messages.
        index: Where its frames are, if that is known already.

    Raises:
        UserError: It is no video, damaged, or too large.
        MissingExtraError: PyAV is not installed; the message says how to install it.
    """

    def __init__(self, source: Source, place: str, index: Index | None = None):
        self._av = _av()
        self._place = place
        with self._readable():
            self._container = self._av.open(source)
            if not self._container.streams.video:
                raise UserError(f"{place}: holds no video")
            self._stream = self._container.streams.video[0]
            # Many videos are open at once, and decoded side by side: threads of their own would only add to the frames
            # that a decoder holds back.
            self._stream.codec_context.thread_type = "NONE"
            self._stream.codec_context.thread_count = 1
            self.index = self._indexed() if index is None else index
        self._frames: Iterator[Any] | None = None
        self._shown = -1

    def _indexed(self) -> Index:
        context = self._stream.codec_context
        if context.width * context.height > MOST_PIXELS or not context.width:
            raise UserError(
                f"{self._place}: its frames are {context.height} x {context.width} px; at most {MOST_PIXELS:,} pixels "
                "are decoded"
            )
        packets = [
            (packet.pts, packet.dts, packet.is_keyframe)
            for packet in self._container.demux(self._stream)
            if packet.pts is not None and packet.size and not packet.is_discard
        ]
        if not packets:
            raise UserError(f"{self._place}: holds no frame")
        packets.sort(key=lambda packet: packet[0])
        times = np.array([pts for pts, _, _ in packets], np.int64)
        keys = np.array([i for i, (_, _, key) in enumerate(packets) if key], np.int64)
        seeks = np.array([pts if dts is None else dts for pts, dts, key in packets if key], np.int64)
        if not len(keys) or (np.diff(times) <= 0).any():
            raise UserError(f"{self._place}: its frames do not follow one another in time")
        return Index(times, keys, seeks, self._stream.time_base, (context.height, context.width))

    def read(self, numbers: Int64[np.ndarray, " R"], put: Callable[[int, UInt8[np.ndarray, "H W 3"]], None]) -> None:
        """Decode frames.

        Args:
            numbers: Of frames, each larger than the one before.
            put: Called with the place of a number among them, and its frame.

        Raises:
            UserError: The video has no such frame, or is damaged.
        """
        if len(numbers) and numbers[-1] >= len(self.index):
            raise UserError(f"{self._place}: has {len(self.index)} frames; frame {numbers[-1]} is asked for")
        for place, number in enumerate(numbers.tolist()):
            with self._readable(f"frame {number} "):
                put(place, self._frame(number).to_ndarray(format="rgb24"))

    def _frame(self, number: int) -> Any:
        key = int(np.searchsorted(self.index.keys, number, side="right")) - 1
        # Behind the last key frame, decoding on is what would be done anyway.
        if self._frames is None or self._shown >= number or (key >= 0 and self.index.keys[key] > self._shown + 1):
            self._seek(max(key, 0))
        frame = self._advance(number)
        while frame is None and key > 0:
            # What is shown just before a key frame may be decoded only behind it.
            key -= 1
            self._seek(key)
            frame = self._advance(number)
        if frame is None:
            raise UserError(f"{self._place}: frame {number} cannot be decoded; the file is damaged")
        return frame

    def _seek(self, key: int) -> None:
        self._container.seek(int(self.index.seeks[key]), stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)
        self._shown = -1

    def _advance(self, number: int) -> Any:
        """Decode on to a frame; None if others come instead."""
        wanted = int(self.index.times[number])
        assert self._frames is not None
        for frame in self._frames:
            if frame.pts is None or frame.pts < wanted:
                continue
            self._shown = int(np.searchsorted(self.index.times, frame.pts))
            return frame if frame.pts == wanted else None
        self._shown = len(self.index)
        return None

    def close(self) -> None:
        """Give back what it holds."""
        self._frames = None
        self._container.close()

    @contextlib.contextmanager
    def _readable(self, what: str = "") -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except (self._av.FFmpegError, EOFError, OSError, ValueError) as error:
            raise UserError(f"{self._place}: {what}cannot be read, {' '.join(str(error).split())[:200]}") from error


class Videos:
    """Videos that stay open, each of one thread at a time.

    Args:
        count: How many that nothing is read from stay open.
    """

    def __init__(self, count: int = 16):
        self._count = count
        self._lock = threading.Lock()
        self._idle: OrderedDict[tuple[Hashable, int], Video] = OrderedDict()
        self._indices: dict[Hashable, Index] = {}
        self._numbers = iter(range(2**62))

    def __reduce__(self) -> Any:
        return Videos, (self._count,)

    @contextlib.contextmanager
    def borrow(self, key: Hashable, place: str, source: Callable[[], Source]) -> Iterator[Video]:
        """A video for this thread.

        Args:
            key: What tells it from others.
            place: What it is called in messages.
            source: Says where it is, if it has to be opened.
        """
        with self._lock:
            # Of those of this video, the one that was used last.
            number = next((number for known, number in reversed(self._idle) if known == key), None)
            video = None if number is None else self._idle.pop((key, number))
            index = self._indices.get(key)
        if video is None:
            video = Video(source(), place, index)
        try:
            yield video
        except BaseException:
            video.close()
            raise
        dropped = []
        with self._lock:
            self._indices[key] = video.index
            self._idle[key, next(self._numbers)] = video
            while len(self._idle) > self._count:
                dropped.append(self._idle.popitem(last=False)[1])
        for one in dropped:
            one.close()

    def read(
        self,
        keys: Int64[np.ndarray, " R"],
        numbers: Real[np.ndarray, " R"],
        named: Callable[[int], tuple[str, Callable[[], Source]]],
        out: UInt8[np.ndarray, "R H W 3"],
    ) -> None:
        """Frames of several videos, decoded side by side; each that is needed is decoded once.

        Args:
            keys: Of the videos.
            numbers: Of the frames in them; or, where they are floats, the seconds at which frames are shown.
            named: Says of a key what its video is called in messages, and where it is.
            out: Where the frames go.

        Raises:
            UserError: A video is damaged, has no such frame, or has frames of another size.
        """
        wanted = [(key, np.flatnonzero(keys == key)) for key in np.unique(keys).tolist()]

        def work(i: int) -> None:
            key, rows = wanted[i]
            place, source = named(key)
            asked, places = np.unique(numbers[rows], return_inverse=True)

            def put(number: int, frame: np.ndarray) -> None:
                if frame.shape != out.shape[1:]:
                    sizes = " and ".join(f"{height} x {width} px" for height, width, _ in (frame.shape, out.shape[1:]))
                    raise UserError(f"{place}: its frames and those of the column differ in size: {sizes}")
                out[rows[places == number]] = frame

            with self.borrow(key, place, source) as video:
                video.read(video.index.shown_at(asked, place) if asked.dtype.kind == "f" else asked, put)

        each(work, len(wanted))


def rgb(frames: np.ndarray) -> np.ndarray:
    """Frames [T, H, W, 1 or 3] with three channels, as videos have them."""
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames


def encode(
    frames: UInt8[np.ndarray, "T H W 3"], target: Path | None = None, fps: float = 25, codec: str = CODEC
) -> bytes:
    """An MP4 file of frames, of their size, whatever that is.

    Args:
        frames: The frames.
        target: Where to write it; in memory if None.
        fps: Frames a second that it is shown with.
        codec: Of FFmpeg. `libx264` takes sizes that are not even with colours at full resolution.

    Returns:
        The file, or nothing if it was written.

    Raises:
        UserError: The codec is not there, or takes no such frames.
        MissingExtraError: PyAV is not installed; the message says how to install it.
    """
    av = _av()
    height, width = frames.shape[1:3]
    even = not height % 2 and not width % 2
    memory = io.BytesIO()
    try:
        with av.open(memory if target is None else str(target), "w", format="mp4") as container:
            options = {"crf": _QUALITY, "g": str(_KEY), "bf": "0"} if codec == CODEC else {"g": str(_KEY)}
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(10**6), options=options)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p" if even else "yuv444p"
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno and error.errno > 0 and target is not None:
            raise
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{codec} cannot encode frames of {height} x {width} px: {said}") from error
    return memory.getvalue()


def check_codec(codec: str) -> None:
    """Raise unless FFmpeg encodes with a codec.

    Raises:
        UserError: There is no such codec.
        MissingExtraError: PyAV is not installed; the message says how to install it.
    """
    av = _av()
    try:
        av.Codec(codec, "w")
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"codec {codec!r} is none that FFmpeg encodes videos with here") from error


def _av() -> Any:
    with needs_extra("videos need", "formats"):
        import av
    return av
