"""What every source gives: frames with their times, under names that can be shown to anybody."""

from __future__ import annotations

import dataclasses
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRETS = re.compile(r"user|usr|login|pass|pwd|token|key|auth|secret|sig|credential", re.IGNORECASE)


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


class Source(Protocol):
    """Where frames come from. Iterating gives the frames, and raises UserError where the source breaks off.

    Attributes:
      name: for people, see `shown`.
      rate: frames per second, nominal.
      live: whether frames arrive in real time, so that one that is not taken is lost.
      still: whether all frames are pictures.
      length: about how many frames there are, 0 where that is unknown.
    """

    name: str
    rate: float
    live: bool
    still: bool
    length: int

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order."""
        ...

    def close(self) -> None:
        """Release the device, file or connection."""


class Mirrored:
    """Another source with left and right swapped, as in a mirror; boxes and recordings show the same."""

    def __init__(self, source: Source):
        self._source = source
        self.name, self.rate, self.live = source.name, source.rate, source.live
        self.still, self.length = source.still, source.length
        self.close = source.close

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
    """Whether it begins like rtsp:// or http://."""
    return bool(_ADDRESS.match(spec))


def shown(spec: str) -> str:
    """The name of a source for windows, events and errors: valid Unicode, without the credentials of an address.

    Bytes of a file's name that are no UTF-8 become escapes such as \\xe9. An address loses its user and password and
    the values of parameters that look like credentials.
    """
    spec = os.fsencode(spec).decode("utf-8", "backslashreplace")
    if not is_address(spec):
        return spec
    scheme, rest = spec.split("://", 1)
    if re.match(r"[^/?#@]*:[^/?#@\]]*[^\d/?#@\]]", rest):  # no port: a password with a slash, as no standard allows
        rest = rest.rpartition("@")[2]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(host) :]
    host = host.rpartition("@")[2]
    path = re.sub(
        r"([^/?&#=;]+)=([^&#;]*)",
        lambda m: f"{m[1]}=..." if _SECRETS.search(urllib.parse.unquote(m[1])) else m[0],
        path,
    )
    return f"{scheme}://{host}{path}"


def as_bgr(image: np.ndarray) -> np.ndarray:
    """uint8 BGR (H, W, 3) of what a camera may give: grey, with alpha, or of 16 bits, whose high byte is taken."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image if image.shape[2] == 3 else np.ascontiguousarray(image[..., :3])
