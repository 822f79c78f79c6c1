"""Where frames come from: cameras, video files, pictures, network streams."""

from __future__ import annotations

import dataclasses
import glob
import math
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
from absl import logging

from fer_jax.errors import UserError
from fer_jax.preprocess import images

PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".avif"))
PICTURES_PER_SECOND = 1.0  # in a window or a recording
USUAL_FRAMES_PER_SECOND = 30.0  # where a camera or stream does not tell
OPEN_TIMEOUT_MS = READ_TIMEOUT_MS = 10_000
CAMERAS_LOOKED_FOR = 10
MISSING_SHARE = 0.1  # of the frames a file promises, that may be missing: some formats only estimate them


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
      image: uint8 BGR (H, W, 3).
      index: 0, 1, ... within the source; frames that were dropped are counted.
      time: seconds since the first frame.
      captured: `time.perf_counter()` when it was read.
      name: what it was read from.
      starts: whether it has nothing to do with the frame before.
    """

    image: np.ndarray
    index: int
    time: float
    captured: float
    name: str
    starts: bool


class Video:
    """Frames of a camera, a video file or a network stream, through `cv2.VideoCapture`.

    Attributes:
      name: for people.
      rate: frames a second, nominal.
      live: whether frames come in their own time, so that one that is not taken is lost.
      length: how many frames there are, 0 where nobody knows.
    """

    still = False

    def __init__(self, capture: cv2.VideoCapture, name: str, live: bool):
        self._capture = capture
        self._reading = threading.Lock()
        self.name = name
        self.live = live
        rate = capture.get(cv2.CAP_PROP_FPS)
        # some streams answer with their clock's 90,000 ticks
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else USUAL_FRAMES_PER_SECOND
        self.length = 0 if live else max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)

    def __iter__(self) -> Iterator[Frame]:
        """The frames. UserError, after the last one that could be read, where there should have been more."""
        started, index = 0.0, 0
        while True:
            with self._reading:
                ok, image = self._capture.read()
            if not ok:
                break
            captured = time.perf_counter()
            clock = captured if self.live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not index:
                started = clock
            # a container without time stamps answers 0 for all
            seconds = clock - started if self.live or clock > started else index / self.rate
            yield Frame(as_bgr(image), index, seconds, captured, self.name, not index)
            index += 1
        if self.live:
            raise UserError(
                f"{self.name} gave no frame after {index}: it was unplugged, or the connection broke; "
                "what came until then is kept"
            )
        if not index:
            raise UserError(f"{self.name}: no frame can be read: the file is empty, damaged or no video")
        if index < self.length * (1 - MISSING_SHARE):
            raise UserError(
                f"{self.name}: ends after {index} of {self.length} frames: the file is truncated or "
                "damaged, copy it again; what came until then is kept"
            )

    def close(self) -> None:
        """Let go of the device or file, unless a read hangs in its driver; then the end of the process does."""
        if self._reading.acquire(timeout=1.0):
            self._capture.release()


class Pictures:
    """Image files, each a scene of its own. Attributes as of `Video`."""

    still = True
    live = False
    rate = PICTURES_PER_SECOND

    def __init__(self, paths: list[pathlib.Path], name: str):
        self._paths = paths
        self.name = name
        self.length = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        """The pictures in order of their names. One that cannot be read is skipped and told, unless it is alone."""
        unreadable = 0
        for index, path in enumerate(self._paths):
            try:
                image = images.read(path)
            except UserError as error:
                unreadable += 1
                if unreadable == self.length:
                    raise
                logging.warning("%s; skipped", error)
                continue
            yield Frame(
                cv2.cvtColor(image, cv2.COLOR_RGB2BGR), index, index / self.rate, time.perf_counter(), str(path), True
            )

    def close(self) -> None:
        """Nothing is held."""


Source = Video | Pictures


def open_source(spec: str) -> Source:
    """What `spec` names: a camera's number, an address (rtsp://, http://, ...), a video, a picture, a folder, a glob.

    Raises:
      UserError: nothing there, or nothing that can be read; for a camera, which ones can be opened.
    """
    # FFmpeg's own remarks say nothing that the errors raised here do not
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if spec.isdecimal():
        return _camera(int(spec))
    if "://" in spec:
        return _stream(spec)
    path = pathlib.Path(spec).expanduser()
    if path.is_dir():
        return _pictures([p for p in images.visible(path) if p.suffix.lower() in PICTURE_SUFFIXES], spec)
    if not path.exists() and glob.has_magic(spec):
        found = sorted(pathlib.Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207 takes absolute ones
        return _pictures([p for p in found if p.suffix.lower() in PICTURE_SUFFIXES], spec)
    if not path.exists():
        raise UserError(
            f"{spec}: no such file or folder: --source takes a camera's number, a video, a picture, a "
            "folder or glob of pictures, or an address"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Pictures([path], spec)
    if not path.stat().st_size:
        raise UserError(f"{spec}: the file is empty: copy or record it again")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UserError(f"{spec}: not a video that OpenCV can open: it may be truncated, damaged or of another kind")
    return Video(capture, spec, live=False)


def _pictures(paths: list[pathlib.Path], spec: str) -> Pictures:
    if not paths:
        raise UserError(f"{spec}: no pictures there: expected files ending in {', '.join(sorted(PICTURE_SUFFIXES))}")
    return Pictures(paths, spec)


def _camera(number: int) -> Video:
    capture = cv2.VideoCapture(number)
    if capture.isOpened():
        # the driver's queue would add its length to the delay; not every driver obeys
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return Video(capture, f"camera {number}", live=True)
    if others := cameras(other_than=number):
        raise UserError(f"camera {number} does not open; cameras that do: {', '.join(map(str, others))}")
    raise UserError(
        f"camera {number} does not open and no other does: is one connected, free and allowed? "
        "A video or a picture can be given instead"
    )


def cameras(other_than: int) -> list[int]:
    """Numbers of the cameras that can be opened now."""
    if sys.platform == "linux":
        numbers = sorted(int(p.name[5:]) for p in pathlib.Path("/dev").glob("video*") if p.name[5:].isdecimal())
    else:
        numbers = list(range(CAMERAS_LOOKED_FOR))
    opened = []
    for number in numbers:
        if number != other_than:
            capture = cv2.VideoCapture(number)
            if capture.isOpened():
                opened.append(number)
            capture.release()
    return opened


def _stream(address: str) -> Video:
    capture = cv2.VideoCapture(
        address,
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS],
    )
    if not capture.isOpened():
        raise UserError(f"{address}: no video comes from there: check the address and that it can be reached")
    # a video file on a web server says how long it is; what does not is live
    return Video(capture, address, live=capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0)


def as_bgr(image: np.ndarray) -> np.ndarray:
    """uint8 BGR (H, W, 3) of what a camera may give: grey, with alpha, or of 16 bits, whose high byte is taken."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image if image.shape[2] == 3 else np.ascontiguousarray(image[..., :3])
