"""Sources that do not wait: cameras, through OpenCV, and network streams, through PyAV."""

from __future__ import annotations

import contextlib
import math
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import cv2
import numpy as np
from absl import logging

from fer_jax.errors import UserError
from fer_jax.serve import video
from fer_jax.serve.frames import Frame, as_bgr

CAMERAS_TRIED = 10  # by number, where the system does not list them
MAX_DAMAGED = 250  # packets in a row that cannot be decoded, ten seconds or so, before a stream counts as broken
RETRY_SECONDS = 1.0  # between two attempts to reconnect
# DirectShow opens in a second where Media Foundation takes half a minute
BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW}


class Connection(Protocol):
    """An open camera or stream. `rate` is in frames per second."""

    rate: float

    def read(self) -> np.ndarray | None:
        """The next image, uint8 or uint16, None where there is none any more."""
        ...

    def close(self) -> None:
        """Release the device."""


class Live:
    """Frames as they arrive, with the times at which they did. Attributes as of `frames.Source`."""

    live = True
    still = False
    length = 0

    def __init__(self, name: str, connect: Callable[[], Connection], patience: float = 0.0):
        """Connect.

        Args:
          name: for people.
          connect: gives an open connection or raises UserError.
          patience: seconds for which to try again once the connection breaks; 0 ends it at once.
        """
        self.name = name
        self._connect = connect
        self._patience = patience
        self._reading = threading.Lock()
        self._closed = threading.Event()
        self._connection: Connection | None = connect()
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
        """Whether the source could be opened again in time."""
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
        self.rate = rate if math.isfinite(rate) and 0 < rate <= video.MAX_RATE else video.DEFAULT_RATE

    def read(self) -> np.ndarray | None:
        """The next image."""
        good, image = self._capture.read()
        return image if good else None

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class StreamConnection:
    """A network camera or another stream without an end."""

    def __init__(self, container: Any, name: str):
        """Of a container that is open."""
        self._container = container
        stream = video.video_stream(container, name)
        stream.thread_type = "SLICE"  # decoding several frames at once would delay each
        self.rate = video.rate_of(stream)
        self._stream = stream
        self._frames = self._decoded()
        self._reformatter = video.VideoReformatter()

    def read(self) -> np.ndarray | None:
        """The next image."""
        try:
            frame = next(self._frames, None)
        except (video.av.error.FFmpegError, OSError):
            return None
        return None if frame is None else video.bgr_of(frame, self._reformatter)

    def _decoded(self) -> Iterator[Any]:
        """Frames as they can be decoded. What a network damages is left out, unless nothing else comes."""
        damaged = 0
        for packet in self._container.demux(self._stream):
            try:
                for frame in packet.decode():
                    damaged = 0
                    yield frame
            except video.av.error.FFmpegError:
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
        raise _absent(device, name) from None


def cameras(other_than: int | str) -> list[int]:
    """Numbers of the cameras that can be opened now."""
    if sys.platform == "linux":
        numbers = sorted(int(p.name[5:]) for p in pathlib.Path("/dev").glob("video*") if p.name[5:].isdecimal())
    else:
        numbers = list(range(CAMERAS_TRIED))
    opened = []
    for number in numbers:
        if number != other_than:
            capture = cv2.VideoCapture(number, BACKENDS.get(sys.platform, cv2.CAP_ANY))
            if capture.isOpened():
                opened.append(number)
            capture.release()
    return opened


def _absent(device: int | str, name: str) -> UserError:
    if others := cameras(other_than=device):
        return UserError(f"{name} does not open; cameras that do: {', '.join(map(str, others))}")
    return UserError(
        f"{name} does not open and no other does: is one connected, free and allowed? "
        "A video or a picture can be given instead"
    )
