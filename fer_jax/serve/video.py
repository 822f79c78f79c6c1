"""Moving pictures: files by FFmpeg through PyAV, animated WebP by Pillow, network streams, and cameras through OpenCV.

OpenCV's reader of files hides the time stamps of variable rates, shows frames that an edit list hides, stops at a
second part with time stamps of its own, and does not tell an error from the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error
import av.stream
import cv2
import numpy as np
from absl import logging
from av.video.reformatter import VideoReformatter

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve.frames import ALL, Frame, Sampling, Source, Timeline, as_bgr, shown

DEFAULT_RATE = 30.0  # frames per second, where a source does not say
MAX_RATE = 1000.0  # some containers answer with their clock's ticks instead
TIMEOUT_SECONDS = 10.0  # to open an address, and for each read from it
# A file whose last time stamp falls short of its duration by more than both is called truncated.
MISSING_SECONDS, MISSING_SHARE = 1.0, 0.1
MAX_STEP_SECONDS = 10.0  # in a transport stream; FFmpeg's own threshold for a new beginning
CONCATENATED = frozenset(("mpegts", "mpeg", "mpegvideo", "flv"))  # formats whose time stamps may start again
FROM_ZERO = frozenset(("matroska,webm", "avi"))  # formats whose duration counts from 0, not from the first time stamp
PICTURE_FORMATS = frozenset(("gif", "image2"))  # FFmpeg's, and *_pipe, that may hold a single picture
MAX_WAITING = 2000  # packets that may wait for the start of what is analyzed, before they are decoded after all
MAX_STRETCH = 4.0  # of pixels; more is a damaged header

CAMERAS_TRIED = 10  # by number, where the system does not list them
MAX_DAMAGED = 250  # packets in a row that cannot be decoded, ten seconds or so, before a stream counts as broken
RETRY_SECONDS = 1.0  # between two attempts to reconnect
# DirectShow opens in a second where Media Foundation takes half a minute
BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW}


def open_container(address: Any, name: str, live: bool = False) -> Any:
    """FFmpeg's container at an address that it understands, or in a file object; UserError, with `name`."""
    remote = live or (isinstance(address, str) and "://" in address)
    options = {"rtsp_transport": "tcp"} if remote and address.lower().startswith("rtsp") else {}
    try:
        return av.open(address, options=options, timeout=TIMEOUT_SECONDS if remote else None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if not remote:
            raise UserError(
                f"{name}: not a video that FFmpeg can open: it may be truncated, damaged or of another kind"
            ) from None
        reason = getattr(error, "strerror", None) or "no answer"
        if isinstance(error, av.error.ExitError):  # of its own accord, when the time is over
            reason = f"no answer within {TIMEOUT_SECONDS:g} s"
        raise UserError(
            f"{name}: no video comes from there ({reason}): check the address and that it can be reached"
        ) from None


def video_stream(container: Any, name: str) -> Any:
    """The stream to show; UserError where there is none."""
    stream = None if container.format.name == "tty" else container.streams.best("video")
    if stream is None or not stream.codec_context:
        others = "sound only" if container.streams.audio else "no pictures"
        container.close()
        raise UserError(f"{name}: {others} in this file: expected a video or a picture")
    images.check_pixels(stream.codec_context.width, stream.codec_context.height, name)
    stream.thread_type = "AUTO"
    return stream


def rate_of(stream: Any) -> float:
    """Nominal frames per second of a stream."""
    rates = (float(rate or 0) for rate in (stream.guessed_rate, stream.average_rate))
    return next((rate for rate in rates if 0 < rate <= MAX_RATE), DEFAULT_RATE)


def is_endless(container: Any, web: bool) -> bool:
    """Return whether an address gives frames in real time rather than the content of a file.

    On the web, what has neither a length nor a duration ends all the same, unless its format is one of streams.
    """
    if (container.duration or 0) > 0:
        return False
    endless = {"mpjpeg", "mjpeg", "mpegts", "flv", "live_flv", "hls", "dash", "h264", "hevc", "m4v", "mpegvideo"}
    return not web or ((container.size or 0) <= 0 and not endless.isdisjoint(container.format.name.split(",")))


class _Decoder:
    """Decoded frames as uint8 BGR images: square pixels, upright, in the colors of a screen."""

    def __init__(self, stream: Any, name: str):
        self._stream, self._name = stream, name
        self._reformatter = VideoReformatter()  # keeps swscale's tables
        self._geometry: tuple[float, np.ndarray | None] | None = None  # shape of the pixels, display matrix

    def image(self, frame: Any) -> np.ndarray:
        """The picture of a frame; UserError for one of more pixels than pictures may have."""
        if frame.key_frame or self._geometry is None:  # neither changes between key frames
            stretch = float(self._stream.sample_aspect_ratio or 1)
            self._geometry = stretch if 1 / MAX_STRETCH <= stretch <= MAX_STRETCH else 1.0, _display_matrix(frame)
        stretch, matrix = self._geometry
        width = frame.width if stretch == 1 else max(round(frame.width * stretch), 1)
        images.check_pixels(width, frame.height, self._name)  # a later frame may be larger than the file says
        # one thread: swscale's own threads take longer to start than they save
        converted = self._reformatter.reformat(frame, width=width, format="bgr24", threads=1)
        plane: Any = converted.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(converted.height, plane.line_size)
        image = rows[:, : 3 * converted.width].reshape(converted.height, converted.width, 3)
        image = np.ascontiguousarray(image)  # no copy, unless rows are padded
        if (curve := _screen_levels(int(frame.color_trc or 0))) is not None:
            image = cv2.LUT(image, curve)
        return image if matrix is None else _displayed(image, matrix)


class VideoFile(Source):
    """Frames of a file, on disk, in memory, from a pipe or on a web server."""

    def __init__(self, address: Any, name: str, sampling: Sampling = ALL, container: Any = None):
        """Open `address`, a path behind "file:" or what else FFmpeg understands; UserError where that fails."""
        self.name = name
        self._sampling = sampling
        self._container = container or open_container(address, name)
        self._stream = video_stream(self._container, name)
        self._decoder = _Decoder(self._stream, name)
        self._reading = threading.Lock()
        self._closed = False
        self._on_disk = isinstance(address, str) and address.startswith("file:")
        self._duration = (self._container.duration or 0) / av.time_base
        average = float(self._stream.average_rate or 0)
        length = round(self._duration * average) if average <= MAX_RATE else 0
        # the cover of a piece of music is one picture, however long the music is
        covers = bool(self._stream.disposition & av.stream.Disposition.attached_pic)
        self.still = covers or (self._container.format.name in PICTURE_FORMATS and length <= 1)
        self.rate, self.length = (1.0, 1) if self.still else (rate_of(self._stream), length)
        self._skipped = 0  # frames
        self._first: float | None = None  # time stamps of all streams' packets, in seconds
        self._end = 0.0
        self._cut = False  # within a picture

    @classmethod
    def from_path(cls, path: pathlib.Path, sampling: Sampling = ALL) -> VideoFile:
        """The video in a file, whatever characters its name has."""
        if path.is_file() and not path.stat().st_size:
            raise UserError(f"{shown(str(path))}: the file is empty: copy or record it again")
        return cls(f"file:{path}", shown(str(path)), sampling)

    def __iter__(self) -> Iterator[Frame]:
        """The frames. UserError, after the last one that can be read, where there should have been more."""
        unit = float(self._stream.time_base or 0)
        timeline, decoded = self._begun(unit)
        chosen = (ALL if self.still else self._sampling).chooser()
        waiting: Frame | None = None  # for the next one, which tells how long it is shown
        frames, end = 0, 0.0
        while True:
            with self._reading:
                if self._closed:
                    return
                if (frame := next(decoded, None)) is None:
                    break
                # the frame's own time base is missing where it was decoded after an error
                seconds = timeline.at(None if frame.pts is None else frame.pts * unit)
                if (choice := chosen(seconds)) is None:
                    break
                image = self._decoder.image(frame) if choice else None
            end = seconds + ((frame.duration or 0) * unit or 1 / self.rate)
            if image is not None:
                if waiting:
                    yield dataclasses.replace(waiting, duration=seconds - waiting.time)
                index, starts = self._skipped + frames, waiting is None
                waiting = Frame(image, index, seconds, time.perf_counter(), self.name, starts, 0.0, self.still)
            frames += 1
        if waiting:
            yield dataclasses.replace(waiting, duration=max(end - waiting.time, 0.0))
        if frame is None:
            self._check(self._skipped + frames)
            if not waiting:
                raise UserError(f"{self.name}: ends before {self._sampling.start:g} s: give an earlier start")

    def _begun(self, unit: float) -> tuple[Timeline, Iterator[Any]]:
        """The clock and the frames, from those on that decoding has to begin with; `unit` is of the time stamps."""
        restarts, first = self._container.format.name in CONCATENATED, self._stream.start_time
        timeline = Timeline(1 / self.rate, MAX_STEP_SECONDS if restarts else math.inf)
        if self.still or restarts or first is None or not self._sampling.start:
            return timeline, self._decoded()
        timeline.at(first * unit)
        return timeline, self._decoded(first + self._sampling.start / unit)

    def _decoded(self, start: float = -math.inf) -> Iterator[Any]:
        """Frames as FFmpeg decodes them. What is damaged is left out, as players do.

        Those before the last key frame before the time stamp `start` are skipped, and counted.
        """
        packets = self._container.demux()
        units = [float(stream.time_base or 0) for stream in self._container.streams]
        waiting: list[Any] = []
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
            if self._container.format.name == "gif" and packet.size and not bytes(packet).rstrip(b";").endswith(b"\0"):
                self._cut = True  # no end of its last block; FFmpeg makes up the rest of the picture without a word
                return
            index = packet.stream_index
            self._note(packet, units[index] if index < len(units) else 0.0)
            if index != self._stream.index:
                continue
            if packet.is_keyframe and packet.pts is not None and packet.pts <= start:
                self._skipped += len(waiting)
                waiting = []
            waiting.append(packet)
            if packet.pts is not None and packet.pts < start and len(waiting) < MAX_WAITING:
                continue
            for waited in waiting:
                with contextlib.suppress(av.error.FFmpegError):
                    yield from waited.decode()
            waiting = []
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

    def _check(self, frames: int) -> None:
        if not frames:
            index = ", or its index is at its end, where no pipe and no server without range requests can begin: "
            reason = "" if self._on_disk else f"{index}give the file itself"
            raise UserError(f"{self.name}: no frame can be read: the file is empty, damaged or no video{reason}")
        if self._cut:
            raise UserError(
                f"{self.name}: ends within a picture after {frames} whole ones: the file is truncated, copy it again"
            )
        if self.still or self._first is None or not self._duration:
            return
        reached = self._end - (0 if self._container.format.name in FROM_ZERO else self._first)
        if self._duration - reached > max(MISSING_SECONDS, MISSING_SHARE * self._duration):
            raise UserError(
                f"{self.name}: ends after {reached:.1f} of {self._duration:.1f} s, {frames} frames: the file is "
                "truncated or damaged, copy it again; what came before that is kept"
            )

    def close(self) -> None:
        """Release the file, unless a read hangs; then the end of the process does."""
        self._closed = True
        if self._reading.acquire(timeout=1.0):
            self._container.close()
            self._reading.release()


class Animation(Source):
    """An animated WebP file, which Pillow decodes and FFmpeg does not."""

    def __init__(self, data: bytes, name: str, sampling: Sampling = ALL):
        """Read its first frame; UserError where it is damaged or too large."""
        from PIL import Image

        self.name = name
        self._sampling = sampling
        try:
            self._image = Image.open(io.BytesIO(data), formats=["WEBP"])
            images.check_pixels(*self._image.size, name)
            self.length = getattr(self._image, "n_frames", 1)
            self.rate = 1 / self._loaded(0)
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"{name}: no frame can be read ({error}): the file is empty or damaged") from None

    def _loaded(self, index: int) -> float:
        """Decode a frame; the seconds for which it is shown."""
        self._image.seek(index)
        self._image.load()
        return max(self._image.info.get("duration", 0), 1) / 1000

    def __iter__(self) -> Iterator[Frame]:
        """The frames, once through. UserError where one is damaged."""
        from PIL import ImageOps

        seconds, chosen, starts = 0.0, self._sampling.chooser(), True
        for index in range(self.length):
            try:
                duration = self._loaded(index)
                choice = chosen(seconds)
                image = ImageOps.exif_transpose(self._image.convert("RGB")) if choice else None
            except (OSError, EOFError) as error:
                raise UserError(f"{self.name}: ends after {index} of {self.length} frames ({error})") from None
            if choice is None:
                return
            if image is not None:
                pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])
                yield Frame(pixels, index, seconds, time.perf_counter(), self.name, starts, duration)
                starts = False
            seconds += duration

    def close(self) -> None:
        """Release the file's bytes."""
        self._image.close()


class Live(Source):
    """Frames as they arrive, with the times at which they did."""

    live = True

    def __init__(self, name: str, connect: Callable[[], CameraConnection | StreamConnection], patience: float = 0.0):
        """Connect: `connect` gives an open connection or raises UserError. Once that breaks it is tried again for
        `patience` seconds; 0 ends it at once."""
        self.name = name
        self._connect = connect
        self._patience = patience
        self._reading = threading.Lock()
        self._closed = threading.Event()
        self._connection: CameraConnection | StreamConnection | None = connect()
        self.rate = self._connection.rate

    def __iter__(self) -> Iterator[Frame]:
        """The frames. UserError once none comes any more."""
        started, index, starts = 0.0, 0, True
        while not self._closed.is_set():
            with self._reading:
                image = self._connection.read() if self._connection else None
            if image is None:
                if not self._reconnected():
                    break
                starts = True
                continue
            captured = time.perf_counter()
            started = started or captured
            yield Frame(as_bgr(image), index, captured - started, captured, self.name, starts)
            index, starts = index + 1, False
        if not self._closed.is_set():
            raise UserError(
                f"{self.name} gave no frame after {index}: it was unplugged, or the connection broke; "
                "what came before that is kept"
            )

    def _reconnected(self) -> bool:
        """Return whether the source could be opened again in time."""
        if not self._patience or self._closed.is_set():
            return False
        logging.warning("%s: the connection broke, trying again for %g s", self.name, self._patience)
        deadline = time.monotonic() + self._patience
        with self._reading:
            self._disconnect()
        while time.monotonic() < deadline and not self._closed.wait(min(RETRY_SECONDS, self._patience / 4)):
            with contextlib.suppress(UserError), self._reading:
                self._connection = self._connect()
                return True
        return False

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Release the device, unless a read hangs in its driver; then the end of the process does."""
        self._closed.set()
        if self._reading.acquire(timeout=1.0):
            self._disconnect()
            self._reading.release()


class CameraConnection:
    """A camera, through `cv2.VideoCapture`."""

    def __init__(self, device: int | str, name: str, size: tuple[int, int] | None):
        """Open it by its number or its path, asking for `size` (width, height); UserError where it does not open."""
        self._capture = cv2.VideoCapture(device, BACKENDS.get(sys.platform, cv2.CAP_ANY))
        if not self._capture.isOpened():
            raise UserError(f"{name} does not open")
        # the driver's queue would add its length to the delay; not every driver obeys
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if size:
            # uncompressed, USB 2 carries few frames of a large size
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
            given = tuple(
                round(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            )
            if given != size:
                logging.warning(
                    "%s gives %dx%d pixels instead of the %dx%d of --camera-size: it does not offer that size",
                    name, *given, *size,
                )  # fmt: skip
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= MAX_RATE else DEFAULT_RATE

    def read(self) -> np.ndarray | None:
        """The next image, uint8 or uint16, None where there is none any more."""
        good, image = self._capture.read()
        return image if good else None

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class StreamConnection:
    """A network camera or another stream without an end."""

    def __init__(self, container: Any, name: str):
        self._container = container
        self._stream = video_stream(container, name)
        self._stream.thread_type = "SLICE"  # decoding several frames at once would delay each
        self._decoder = _Decoder(self._stream, name)
        self.rate = rate_of(self._stream)
        self._frames = self._decoded()

    def read(self) -> np.ndarray | None:
        """The next image, uint8, None where there is none any more."""
        try:
            frame = next(self._frames, None)
        except (av.error.FFmpegError, OSError):
            return None
        return None if frame is None else self._decoder.image(frame)

    def _decoded(self) -> Iterator[Any]:
        """Frames as they can be decoded. What a network damages is left out, unless nothing else comes."""
        damaged = 0
        for packet in self._container.demux(self._stream):
            try:
                for frame in packet.decode():
                    damaged = 0
                    yield frame
            except av.error.FFmpegError:
                damaged += 1
                if damaged > MAX_DAMAGED:
                    return

    def close(self) -> None:
        """Close the connection."""
        self._container.close()


def camera(device: int | str, name: str, size: tuple[int, int] | None = None, patience: float = 0.0) -> Live:
    """The camera of a number or path; UserError, which names the cameras that can be opened, where it does not open."""
    try:
        return Live(name, lambda: CameraConnection(device, name, size), patience)
    except UserError:
        others = ", ".join(map(str, cameras(other_than=device)))
    if others:
        raise UserError(f"{name} does not open; cameras that do: {others}")
    advice = "is one connected, free and allowed? A video or a picture can be given instead"
    raise UserError(f"{name} does not open and no other does: {advice}")


def cameras(other_than: int | str) -> list[int]:
    """Numbers of the cameras that can be opened now."""
    if sys.platform == "linux":
        numbers = sorted(int(p.name[5:]) for p in pathlib.Path("/dev").glob("video*") if p.name[5:].isdecimal())
    else:
        numbers = list(range(CAMERAS_TRIED))
    opened = []
    for number in (number for number in numbers if number != other_than):
        capture = cv2.VideoCapture(number, BACKENDS.get(sys.platform, cv2.CAP_ANY))
        if capture.isOpened():
            opened.append(number)
        capture.release()
    return opened


@functools.cache
def _screen_levels(transfer: int) -> np.ndarray | None:
    """uint8 (256,): the levels on a usual screen of those of a film of high dynamic range; None for any other film.

    `transfer` is FFmpeg's number of the curve: 16 is PQ (SMPTE ST 2084), 18 HLG (ARIB STD-B67). A white surface, 203
    cd/m2 by ITU-R BT.2408, becomes white, and so does what is brighter. The primaries stay those of BT.2020: colors are
    a little paler.
    """
    signal = np.arange(256) / 255
    if transfer == 16:
        root = signal ** (32 / 2523)
        light = 10_000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    elif transfer == 18:
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = 1000 * scene**1.2
    else:
        return None
    return np.round(255 * np.clip(light / 203, 0, 1) ** (1 / 2.2)).astype(np.uint8)


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
