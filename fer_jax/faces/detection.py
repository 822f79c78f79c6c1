"""Face detectors: where the faces in a frame are."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any, Protocol

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.faces import cropping

SEARCH_SIDE_MOVING = 320  # pixels of the longer side a frame is brought to before the search, in a video
SEARCH_SIDE_STILL = 960  # and in a picture, where nobody waits and crowds are common
MIN_FACE = 20  # pixels after that; the cascade's own window
BEYOND_EDGE = 0.15  # of the shorter side is added around what Haar searches, for faces the frame cuts off

YUNET_SCORE = 0.6  # on the group video: 0.5 finds 1 % more faces and false ones in every tenth frame
YUNET_OVERLAP = 0.3  # boxes that overlap more are one face
YUNET_CANDIDATES = 5000  # before that; enough for crowds

MAX_ROLL_DEGREES = 45  # eyes that slope more are not a pair


@dataclasses.dataclass(frozen=True)
class Face:
    """One face as a detector reports it, in pixels of the frame.

    Attributes:
      box: float64 (4,): left, top, width, height. It may reach beyond the frame.
      roll: clockwise slope of the eyes in degrees, 0 where they were not looked for or not found.
    """

    box: np.ndarray
    roll: float = 0.0


class Detector(Protocol):
    """What finds faces. `name` is the key of its crop policy in a bundle, "none" for no crop at all."""

    name: str

    def detect(self, frame: np.ndarray) -> list[Face]:
        """The faces in a uint8 BGR frame (H, W, 3), in no particular order."""


def create(name: str, model: str = "", align: bool = False, search_side: int = SEARCH_SIDE_MOVING) -> Detector:
    """The detector called `name`.

    Args:
      name: "haar", "yunet" or "none".
      model: path of YuNet's ONNX file.
      align: whether to find the eyes and report the roll.
      search_side: pixels of the longer side of what is searched; larger finds smaller faces and takes longer.

    Raises:
      UserError: an unknown name, or no usable model file for YuNet.
    """
    if name == "haar":
        return Haar(align, search_side)
    if name == "yunet":
        return YuNet(model, align, search_side)
    if name == "none":
        return WholeImage()
    raise UserError(f"unknown detector {name!r}: expected haar, yunet or none")


class Haar:
    """Viola and Jones' cascade of Haar features (CVPR 2001), which opencv-python carries.

    On the group video, whose faces are cut by the frame's edges for much of the time, `alt2` at 320 pixels without
    histogram equalisation found 60 % of the faces at 37 ms of CPU a frame and no false ones; `default` with
    equalisation found 59 % at 40 ms, and searching 480 pixels found 58 to 61 % at 90 to 110 ms with some false ones.
    Repeating the edge pixels around the frame found 75 % at 53 ms.
    """

    name = "haar"

    def __init__(self, align: bool = False, search_side: int = SEARCH_SIDE_MOVING):
        self._faces = _cascade("haarcascade_frontalface_alt2.xml")
        self._eyes = _cascade("haarcascade_eye_tree_eyeglasses.xml") if align else None
        self._side = search_side

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        small, scale = shrink(grey, self._side)
        rim = round(BEYOND_EDGE * min(small.shape))
        boxes = self._faces.detectMultiScale(
            cv2.copyMakeBorder(small, rim, rim, rim, rim, cv2.BORDER_REPLICATE),
            scaleFactor=1.15,
            minNeighbors=2,
            minSize=(MIN_FACE, MIN_FACE),
        )
        boxes = [(np.asarray(box, np.float64) - (rim, rim, 0, 0)) * scale for box in boxes]
        return [Face(box, self._roll(grey, box) if self._eyes else 0.0) for box in boxes]

    def _roll(self, grey: np.ndarray, box: np.ndarray) -> float:
        """Slope of the best pair of eyes in the upper part of a face."""
        side = 192  # pixels, for every face: in smaller ones fewer eyes are found
        upper = cv2.resize(cropping.cut(grey, box), (side, side), interpolation=cv2.INTER_AREA)[: side * 5 // 8]
        boxes = self._eyes.detectMultiScale(
            upper, scaleFactor=1.1, minNeighbors=3, minSize=(side // 8, side // 8), maxSize=(side // 2, side // 2)
        )
        eyes = [(x + w / 2, y + h / 2) for x, y, w, h in boxes]
        pairs = [(a, b) for a in eyes for b in eyes if a[0] < side / 2 < b[0] and b[0] - a[0] > side / 5]
        if not pairs:
            return 0.0
        return _slope(*min(pairs, key=lambda pair: abs(pair[0][1] - pair[1][1])))


class YuNet:
    """YuNet (Wu, Peng, Yu, 2023), a small convolutional detector that also gives the eyes: `cv2.FaceDetectorYN`."""

    name = "yunet"

    def __init__(self, model: str, align: bool = False, search_side: int = SEARCH_SIDE_MOVING):
        remedy = "get face_detection_yunet_2023mar.onnx from OpenCV's model zoo and name it in --detector-model"
        if not model:
            raise UserError(f"the detector yunet has no model file: {remedy}")
        if not pathlib.Path(model).is_file():
            raise UserError(f"{model}: no such file: {remedy}")
        try:
            self._net = cv2.FaceDetectorYN.create(model, "", (320, 320), YUNET_SCORE, YUNET_OVERLAP, YUNET_CANDIDATES)
            self._net.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{model}: not a YuNet model ({error.err}): {remedy}") from error
        self._align = align
        self._side = search_side

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        small, scale = shrink(frame, self._side)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        rows = self._net.detect(small)[1]
        if rows is None:
            return []
        # a row: box, then x and y of right eye, left eye, nose, corners of the mouth, then the score
        return [
            Face(row[:4].astype(np.float64) * scale, _slope(row[4:6], row[6:8]) if self._align else 0.0) for row in rows
        ]


class WholeImage:
    """For pictures that are faces already: the frame is the one face, and it is not cut."""

    name = "none"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        height, width = frame.shape[:2]
        return [Face(np.array([0, 0, width, height], np.float64))]


def shrink(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image with its longer side brought down to `side` pixels, and the factor that leads back.

    A smaller image is left alone: enlarging it would find nothing new.
    """
    height, width = image.shape[:2]
    scale = max(height, width) / side
    if scale <= 1:
        return image, 1.0
    size = max(round(width / scale), 1), max(round(height / scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _slope(left: Any, right: Any) -> float:
    """Clockwise slope in degrees of the line between two eyes (x, y), 0 where it is too steep to be one."""
    degrees = math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))
    return degrees if abs(degrees) <= MAX_ROLL_DEGREES else 0.0


def _cascade(file: str) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + file)
    if cascade.empty():
        raise UserError(f"this OpenCV {cv2.__version__} carries no {file}: install opencv-python below 5")
    return cascade
