"""Frames with their times, as every source gives them, under names that can be shown."""

from __future__ import annotations

import abc
import dataclasses
import math
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from fer_jax.errors import UserError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# of control, new lines and the direction of writing
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SECRETS = re.compile(r"user|usr|login|pass|pwd|token|key|auth|secret|sig|credential", re.IGNORECASE)
MAX_NAME = 1000  # letters of a source


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a source.

    Attributes:
      image: uint8 BGR (H, W, 3), upright, with square pixels.
      index: 0, 1, ... within the source; frames that were dropped are counted.
      time: seconds since the first frame; never less than that of the frame before.
      captured: `time.perf_counter()` when it was read.
      name: what it was read from, see `shown`.
      starts: whether it has nothing to do with the frame before.
      duration: seconds for which it is shown, 0 where the source does not say.
      still: whether it is a picture of its own rather than part of a video.
    """

    image: np.ndarray
    index: int
    time: float
    captured: float
    name: str
    starts: bool
    duration: float = 0.0
    still: bool = False


class Source(abc.ABC):
    """A source of frames. Iterating gives the frames in order, and raises UserError where the source breaks off.

    Attributes:
      name: for people, see `shown`.
      rate: frames per second, nominal.
      live: whether frames arrive in real time, so that one that is not taken is lost.
      still: whether all frames are pictures.
      length: about how many frames there are, 0 where that is unknown.
    """

    name: str
    rate: float
    live = False
    still = False
    length = 0

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames in order."""

    def close(self) -> None:  # noqa: B027 a picture holds nothing to release
        """Release the device, file or connection, where one is held."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which frames of a video are analyzed.

    Attributes:
      every: one frame of so many.
      fps: so many a second at most, at equal distances; None for all.
      start, end: seconds from the first frame, from `start` on and before `end`; None is the end.

    Raises:
      UserError: no positive number, or an end before the start.
    """

    every: int = 1
    fps: float | None = None
    start: float = 0.0
    end: float | None = None

    def __post_init__(self):
        if self.every < 1 or self.every != int(self.every):
            raise UserError(f"every is {self.every}: expected a whole number of frames, 1 or more")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise UserError(f"fps is {self.fps:g}: expected frames per second above 0")
        if not 0 <= self.start < math.inf:
            raise UserError(f"start is {self.start:g}: expected seconds, 0 or more")
        if self.end is not None and not self.end > self.start:
            raise UserError(f"end is {self.end:g} and start {self.start:g}: expected a later end, in seconds")

    def chooser(self) -> Callable[[float], bool | None]:
        """A function of the time of each frame in turn: whether it is taken; None after the end."""
        seen, last = -1, -1

        def chosen(seconds: float) -> bool | None:
            nonlocal seen, last
            if self.end is not None and seconds >= self.end:
                return None
            if seconds < self.start:
                return False
            seen += 1
            if seen % self.every:
                return False
            if self.fps is None:
                return True
            slot = math.floor((seconds - self.start) * self.fps + 1e-6)
            last, taken = max(last, slot), slot > last
            return taken

        return chosen


ALL = Sampling()


class Mirrored(Source):
    """Another source with left and right swapped, as in a mirror; boxes and recordings show the same."""

    def __init__(self, source: Source):
        self._source = source
        self.name, self.rate, self.close = source.name, source.rate, source.close
        self.live, self.still, self.length = source.live, source.still, source.length

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            yield dataclasses.replace(frame, image=cv2.flip(frame.image, 1))


class Timeline:
    """Seconds since the first frame, from time stamps that may be missing, repeated or start again."""

    def __init__(self, period: float, max_step: float = float("inf")):
        """Args:
        period: seconds between two frames where the stamps do not say.
        max_step: seconds; a longer step forward is a new beginning, in formats that can be concatenated.
        """
        self._period = period
        self._max_step = max_step
        self._shift: float | None = None
        self._last = -period

    def at(self, stamp: float | None) -> float:
        """Seconds of the next frame, whose stamp is in seconds or None; never less than the last answer."""
        following = self._last + self._period
        if stamp is None:
            self._last = following
        else:
            if self._shift is None:
                self._shift = following - stamp
            step = stamp + self._shift - self._last
            if step < -max(2 * self._period, 0.1) or step > self._max_step:
                self._shift, step = following - stamp, self._period
            self._last += max(step, 0.0)
        return self._last


def is_address(spec: str) -> bool:
    """Return whether it begins like rtsp:// or http://."""
    return bool(_ADDRESS.match(spec))


def shown(spec: str) -> str:
    """The name of a source for windows, events and errors: printable, short, without the credentials of an address.

    Bytes of a file's name that are no UTF-8, and control characters, become escapes such as \\xe9. An address loses its
    user and password and the values of parameters that look like credentials.
    """
    spec = os.fsencode(spec).decode("utf-8", "backslashreplace")
    spec = _UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], spec)
    if is_address(spec):
        spec = _without_secrets(spec)
    return spec if len(spec) <= MAX_NAME else f"{spec[: MAX_NAME - 60]}...{spec[-57:]}"


def _without_secrets(spec: str) -> str:
    scheme, rest = spec.split("://", 1)
    if re.match(r"[^/?#@]*:[^/?#@\]]*[^\d/?#@\]]", rest):  # no port: a password with a slash, as no standard allows
        rest = rest.rpartition("@")[2]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(host) :]
    path = re.sub(
        r"([^/?&#=;]+)=([^&#;]*)",
        lambda m: f"{m[1]}=..." if _SECRETS.search(urllib.parse.unquote(m[1])) else m[0],
        path,
    )
    return f"{scheme}://{host.rpartition('@')[2]}{path}"


def as_bgr(image: np.ndarray) -> np.ndarray:
    """uint8 BGR (H, W, 3) of what a camera may give: gray, with alpha, or of 16 bits, whose high byte is taken."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image if image.shape[2] == 3 else np.ascontiguousarray(image[..., :3])
