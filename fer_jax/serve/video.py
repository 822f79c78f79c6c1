"""Video files, read by FFmpeg through PyAV: every visible frame, upright, with its own time stamp.

OpenCV's reader hides the time stamps of variable rates, shows frames that an edit list hides, stops at a second part
with time stamps of its own, and does not tell an error from the end.
"""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
import av.stream
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from fer_jax.errors import UserError
from fer_jax.serve.frames import Frame, Timeline, shown

DEFAULT_RATE = 30.0  # frames per second, where a source does not say
MAX_RATE = 1000.0  # some containers answer with their clock's ticks instead
TIMEOUT_SECONDS = 10.0  # to open an address, and for each read from it
# A file whose last time stamp falls short of its duration by more than both is called truncated.
MISSING_SECONDS, MISSING_SHARE = 1.0, 0.1
MAX_STEP_SECONDS = 10.0  # in a transport stream; FFmpeg's own threshold for a new beginning
CONCATENATED = frozenset(("mpegts", "mpeg", "mpegvideo", "flv"))  # formats whose time stamps may start again
MAX_STRETCH = 4.0  # of pixels; more is a damaged header


def open_container(address: str, name: str, live: bool = False) -> Any:
    """The FFmpeg container at an address that FFmpeg understands; UserError, with `name` in place of the address."""
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    remote = live or "://" in address
    try:
        return av.open(address, options=options, timeout=TIMEOUT_SECONDS if remote else None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if remote:
            reason = getattr(error, "strerror", None) or "no answer"
            if isinstance(error, av.error.ExitError):  # of its own accord, when the time is over
                reason = f"no answer within {TIMEOUT_SECONDS:g} s"
            raise UserError(
                f"{name}: no video comes from there ({reason}): check the address and that it can be reached"
            ) from None
        raise UserError(
            f"{name}: not a video that FFmpeg can open: it may be truncated, damaged or of another kind"
        ) from None


def video_stream(container: Any, name: str) -> Any:
    """The stream to show; UserError where there is none."""
    stream = None if container.format.name == "tty" else container.streams.best("video")
    if stream is None or not stream.codec_context:
        others = "sound only" if container.streams.audio else "no pictures"
        container.close()
        raise UserError(f"{name}: {others} in this file: expected a video or a picture")
    stream.thread_type = "AUTO"
    return stream


def bgr_of(frame: Any, reformatter: VideoReformatter, width: int | None = None) -> np.ndarray:
    """uint8 BGR (H, W, 3) of a decoded frame. The reformatter, one for a stream, keeps swscale's tables."""
    # one thread: swscale's own threads take longer to start than they save
    converted = reformatter.reformat(frame, width=width, format="bgr24", threads=1)
    plane: Any = converted.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(converted.height, plane.line_size)
    image = rows[:, : 3 * converted.width].reshape(converted.height, converted.width, 3)
    return np.ascontiguousarray(image)  # no copy, unless rows are padded


def rate_of(stream: Any) -> float:
    """Nominal frames per second of a stream."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0 < rate <= MAX_RATE:
            return float(rate)
    return DEFAULT_RATE


class VideoFile:
    """Frames of a file, on disk or on a web server. Attributes as of `frames.Source`."""

    live = False

    def __init__(self, address: str, name: str, container: Any = None):
        """Open `address`, a path behind "file:" or what else FFmpeg understands; UserError where that fails."""
        self.name = name
        self._container = container or open_container(address, name)
        self._stream = video_stream(self._container, name)
        self._reformatter = VideoReformatter()
        self._geometry: tuple[float, np.ndarray | None] | None = None  # shape of the pixels, display matrix
        self._reading = threading.Lock()
        self._closed = self._on_disk = False
        self._duration = (self._container.duration or 0) / av.time_base
        average = self._stream.average_rate
        self.length = round(self._duration * average) if average and average <= MAX_RATE else 0
        # the cover of a piece of music is one picture, however long the music is
        covers = bool(self._stream.disposition & av.stream.Disposition.attached_pic)
        self.still = covers or (self._container.format.name in ("gif", "image2") and self.length == 1)
        self.rate, self.length = (1.0, 1) if self.still else (rate_of(self._stream), self.length)
        self._first: float | None = None  # time stamps of all streams' packets, in seconds
        self._end = 0.0

    @classmethod
    def of_path(cls, path: pathlib.Path) -> VideoFile:
        """The video in a file, whatever characters its name has."""
        if path.is_file() and not path.stat().st_size:
            raise UserError(f"{shown(str(path))}: the file is empty: copy or record it again")
        opened = cls(f"file:{path}", shown(str(path)))
        opened._on_disk = True
        return opened

    def __iter__(self) -> Iterator[Frame]:
        """The frames. UserError, after the last one that can be read, where there should have been more."""
        restarts = self._container.format.name in CONCATENATED
        timeline = Timeline(1 / self.rate, MAX_STEP_SECONDS if restarts else float("inf"))
        decoded = self._decoded()
        unit = float(self._stream.time_base)
        index = 0
        while True:
            with self._reading:
                if self._closed:
                    return
                frame = next(decoded, None)
                if frame is None:
                    break
                image = self._upright(frame)
            # the frame's own time base is missing where it was decoded after an error
            duration = (frame.duration or 0) * unit
            seconds = timeline.at(None if frame.pts is None else frame.pts * unit)
            yield Frame(image, index, seconds, time.perf_counter(), self.name, not index, duration, self.still)
            index += 1
        if not index:
            reason = "the file is empty, damaged or no video"
            if not self._on_disk:
                reason += ", or its index is at its end, where no pipe and no server without range requests can begin: "
                reason += "give the file itself"
            raise UserError(f"{self.name}: no frame can be read: {reason}")
        self._check_end(index)

    def _decoded(self) -> Iterator[Any]:
        """Frames as FFmpeg decodes them. What is damaged is left out, as players do."""
        packets = self._container.demux()
        units = [float(stream.time_base or 0) for stream in self._container.streams]
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                # the decoder still holds frames, which the packets at a regular end would ask for
                with contextlib.suppress(av.error.FFmpegError):
                    yield from self._stream.decode(None)
                return
            if packet is None:
                return
            index = packet.stream_index
            self._note(packet, units[index] if index < len(units) else 0.0)
            if index != self._stream.index:
                continue
            with contextlib.suppress(av.error.FFmpegError):
                yield from packet.decode()
            if self.still:
                return

    def _note(self, packet: Any, unit: float) -> None:
        """Remember how far the file reaches: its sound counts too. `unit` is of the time stamps, in seconds."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not unit:
            return
        begins = stamp * unit
        self._first = begins if self._first is None else min(self._first, begins)
        self._end = max(self._end, begins + (packet.duration or 0) * unit)

    def _check_end(self, frames: int) -> None:
        if self.still or self._first is None or not self._duration:
            return
        reached = self._end - self._first
        missing = self._duration - reached
        if missing > max(MISSING_SECONDS, MISSING_SHARE * self._duration):
            raise UserError(
                f"{self.name}: ends after {reached:.1f} of {self._duration:.1f} s, {frames} frames: the file is "
                "truncated or damaged, copy it again; what came before that is kept"
            )

    def _upright(self, frame: Any) -> np.ndarray:
        """uint8 BGR (H, W, 3) of a decoded frame: square pixels, rotated and mirrored as its display matrix says."""
        if frame.key_frame or self._geometry is None:  # neither changes between key frames
            stretch = self._stream.sample_aspect_ratio or 1
            self._geometry = (
                float(stretch) if 1 / MAX_STRETCH <= stretch <= MAX_STRETCH else 1.0,
                _display_matrix(frame),
            )
        stretch, matrix = self._geometry
        width = frame.width if stretch == 1 else max(round(frame.width * stretch), 1)
        image = bgr_of(frame, self._reformatter, width)
        return image if matrix is None else _displayed(image, matrix)

    def close(self) -> None:
        """Release the file, unless a read hangs; then the end of the process does."""
        self._closed = True
        if self._reading.acquire(timeout=1.0):
            self._container.close()
            self._reading.release()


class Animation:
    """An animated WebP file, which OpenCV decodes and FFmpeg does not. Attributes as of `frames.Source`."""

    live = still = False

    def __init__(self, path: pathlib.Path):
        """Decode it whole; UserError where it is damaged or this OpenCV is older than 4.12."""
        self.name = shown(str(path))
        try:
            # one row: OpenCV takes a column for a matrix of another kind
            good, animation = cv2.imdecodeanimation(np.frombuffer(path.read_bytes(), np.uint8).reshape(1, -1))
        except (AttributeError, OSError, cv2.error) as error:
            raise UserError(
                f"{self.name}: this OpenCV {cv2.__version__} cannot read the animation ({type(error).__name__}): "
                "install opencv-python 4.12 or newer, or convert it to a video"
            ) from None
        if not good or not animation.frames:
            raise UserError(f"{self.name}: no frame can be read: the file is empty or damaged")
        self._images = [np.ascontiguousarray(image[..., :3]) for image in animation.frames]
        self._durations = [max(int(duration), 1) / 1000 for duration in animation.durations]
        self.length = len(self._images)
        self.rate = float(Fraction(self.length) / Fraction(sum(self._durations)))

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once through."""
        seconds = 0.0
        for index, (image, duration) in enumerate(zip(self._images, self._durations, strict=True)):
            yield Frame(image, index, seconds, time.perf_counter(), self.name, not index, duration)
            seconds += duration

    def close(self) -> None:
        """Nothing is held."""


def _display_matrix(frame: Any) -> np.ndarray | None:
    """int32 (3, 3) of a decoded frame, None where it is shown as it is stored."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 refuses all side data where FFmpeg knows a kind that it does not, such as EXIF; it still tells the
        # rotation, without the mirroring
        if not frame.rotation:
            return None
        across, down = {90: (0, -1), -90: (0, 1)}.get(frame.rotation, (-1, 0))
        return np.array([[across, down, 0], [-down, across, 0], [0, 0, 1]], np.int32)
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)


def _displayed(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image under a display matrix (ISO/IEC 14496-12, row vectors), of its eight right-angled orientations."""
    (a, b), (c, d) = matrix[:2, :2].tolist()
    if abs(b) > abs(a):
        image, across, down = cv2.transpose(image), c < 0, b < 0
    else:
        across, down = a < 0, d < 0
    if across:
        image = cv2.flip(image, 1)
    return cv2.flip(image, 0) if down else image
