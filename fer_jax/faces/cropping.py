"""Square around a face that the network gets: the crop policy of a detector, and the cut itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from fer_jax.errors import UserError

# How each detector's box becomes the square a network was trained on, in a bundle's form: medians measured on FER2013,
# see docs/measured/detectors.md.
CROP = {
    "border": "replicate",
    "detectors": {
        "haar": {"enlarge": 1.03, "offset": [0.0, 0.0]},
        "yunet": {"enlarge": 1.04, "offset": [0.0, -0.02]},
    },
}

# Less is left as it is. Of 1,399 faces in the wild, leveling those above it changes nothing for upright ones (50.9 to
# 51.0 % right, and 67.5 to 67.7 % by the FER+ model) and gives 2.5 and 3.0 points to those turned by 20 degrees.
MIN_ROLL_DEGREES = 8.0


@dataclasses.dataclass(frozen=True)
class CropPolicy:
    """Rule by which a detector's box becomes the square that is cut out.

    Attributes:
      enlarge: side of the square over the larger side of the box.
      offset: from the box's center to the square's, right and down, in larger sides of the box.
    """

    enlarge: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, crop: Mapping[str, Any], detector: str) -> CropPolicy | None:
        """The policy for `detector` in a bundle's crop field, None for "none"; UserError where it names another."""
        if detector == "none":
            return None
        known = crop["detectors"]
        if detector not in known:
            raise UserError(
                f"the bundle has no crop policy for the detector {detector}, only for "
                f"{', '.join(known) or 'none'}: use one of these or export the bundle again"
            )
        return cls(known[detector]["enlarge"], tuple(known[detector]["offset"]))


@dataclasses.dataclass(frozen=True)
class Region:
    """A rectangle of a frame, turned about its center.

    Attributes:
      x, y: its center in pixels.
      width, height: in pixels.
      roll: clockwise, in degrees.
    """

    x: float
    y: float
    width: float
    height: float
    roll: float = 0.0

    def scaled(self, factor: float) -> Region:
        """The same place, larger or smaller."""
        return dataclasses.replace(self, width=factor * self.width, height=factor * self.height)


def region(box: np.ndarray, policy: CropPolicy | None, roll: float | None = None) -> Region:
    """Square from which `cut` takes its pixels; with no policy, the box itself."""
    x, y, width, height = map(float, box)
    x, y = x + width / 2, y + height / 2
    if policy is None:
        return Region(x, y, width, height)
    if roll is None or abs(roll) < MIN_ROLL_DEGREES:
        roll = 0.0
    larger = max(width, height)
    side = max(round(larger * policy.enlarge), 1)
    radians = math.radians(roll)
    dx, dy = (value * larger for value in policy.offset)
    return Region(
        x + dx * math.cos(radians) - dy * math.sin(radians),
        y + dx * math.sin(radians) + dy * math.cos(radians),
        side,
        side,
        roll,
    )


def cut(
    frame: np.ndarray, box: np.ndarray, policy: CropPolicy | None = CropPolicy(), roll: float | None = None
) -> np.ndarray:
    """The square around a face, completed with the frame's edge pixels where it reaches beyond.

    Args:
      frame: uint8 (H, W) or (H, W, C).
      box: (4,) left, top, width, height in pixels, anywhere.
      policy: see `CropPolicy`; None gives the frame itself.
      roll: clockwise slope in degrees, taken out by turning the square where it is `MIN_ROLL_DEGREES` or more.

    Returns:
      uint8 (side, side) or (side, side, C), side at least 1. Unturned, the pixels are the frame's own.
    """
    if policy is None:
        return frame
    place = region(box, policy, roll)
    x, y, side = place.x, place.y, int(place.width)
    if place.roll:
        turn = cv2.getRotationMatrix2D((x, y), place.roll, 1.0)
        turn[:, 2] += side / 2 - x, side / 2 - y
        return cv2.warpAffine(frame, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = frame.shape[:2]
    left, top = round(x - side / 2), round(y - side / 2)
    rows, above, below = _within(top, side, height)
    columns, before, after = _within(left, side, width)
    pixels = frame[rows, columns]
    if not (above or below or before or after):
        return pixels
    shape = side, side, *frame.shape[2:]
    return cv2.copyMakeBorder(pixels, above, below, before, after, cv2.BORDER_REPLICATE).reshape(shape)


def _within(start: int, side: int, size: int) -> tuple[slice, int, int]:
    """The part of `side` pixels from `start` on that lies in 0..size, one pixel at least, and the counts around it."""
    first = min(max(start, 0), size - 1)
    end = max(min(start + side, size), first + 1)
    before = min(max(-start, 0), side - 1)
    return slice(first, end), before, side - before - (end - first)
