"""Face detectors: where the faces in a frame are."""

import dataclasses
import math
import pathlib
import threading
from collections.abc import Iterable
from typing import Any, Protocol

import cv2
import numpy as np

from fer_jax.errors import UserError

TRACKING_SIDE = 320  # pixels of the longer side of the gray frames in which faces are followed
MIN_FACE = 20  # pixels of the searched frame; the cascade's own window
BEYOND_EDGE = 0.15  # of the shorter side is added around what Haar searches, for faces the frame cuts off
# Windows of the cascade that must agree on a face, besides the first; docs/measured/detectors.md has the measurements.
# In a video few are enough, since a box that is no face seldom appears in two frames at the same place; a picture has
# one frame.
HAAR_MIN_NEIGHBORS_MOVING = 2
HAAR_MIN_NEIGHBORS_STILL = 6

YUNET_MIN_SCORE = 0.6  # on the group video: 0.5 finds 1 % more faces and false ones in every tenth frame
YUNET_SURE_SCORE = 0.8  # from here on nothing was false
YUNET_MAX_OVERLAP = 0.3  # boxes that overlap more are one face
YUNET_MAX_CANDIDATES = 5000  # before overlapping boxes are merged; the best are kept
# A face is looked at again, alone, for its tilt: in a square of CLOSE_UP pixels with its box's larger side at
# CLOSE_UP_FACE. On faces turned by 20 degrees the eyes' slope is 15 to 16 there, and 2 where the box has less than 100.
CLOSE_UP, CLOSE_UP_FACE = 224, 192
# Twice the largest stride. Of a smaller frame the coarsest feature map has one row or column, which OpenCV takes for
# another layout: it returns boxes at 1e30.
YUNET_MIN_SIDE = 64

DOUBTFUL_SCORE = 0.95  # a face that scores less gets a name only where the classifier is sure of it

MAX_FACES = 1000  # of a frame: a network that returns more is mistaken, and each costs time
MAX_ROLL_DEGREES = 45  # eyes that slope more are not a pair


@dataclasses.dataclass(frozen=True)
class Face:
    """One face as a detector reports it, in pixels of the frame.

    Attributes:
      box: float64 (4,): left, top, width, height. It may reach beyond the frame.
      roll: clockwise slope of the eyes in degrees, None where it was not measured.
      score: 0..1, an estimate of how likely this is a face; 1 where there is no doubt.
      landmarks: float64 (5, 2), x and y of the eye at the left of the picture, the other eye, the tip of the nose and
        the corners of the mouth, left and right; None of a detector without them. Where `roll` was not measured they
        hardly follow a tilt.
    """

    box: np.ndarray
    roll: float | None = None
    score: float = 1.0
    landmarks: np.ndarray | None = None


class Detector(Protocol):
    """Protocol of a face detector. `name` is the key of its crop policy in a bundle, "none" for no crop at all."""

    name: str

    def detect(self, frame: np.ndarray) -> list[Face]:
        """The faces in a uint8 BGR frame (H, W, 3), from left to right; from any thread."""
        ...


class Haar:
    """Viola and Jones' cascade of Haar features (CVPR 2001), which opencv-python carries.

    On the group video, whose faces are cut by the frame's edges for much of the time, `alt2` at 320 pixels without
    histogram equalisation found 60 % of the faces at 37 ms of CPU a frame and no false ones; `default` with
    equalisation found 59 % at 40 ms, and searching 480 pixels found 58 to 61 % at 90 to 110 ms with some false ones.
    Repeating the edge pixels around the frame found 75 % at 53 ms.
    """

    name = "haar"

    def __init__(self, *, still: bool = False, search_side: int = 320):
        """Load the cascade; UserError where this OpenCV has none. For the arguments see `registry.create`."""
        self._faces = _cascade("haarcascade_frontalface_alt2.xml")
        self._side = search_side
        self._one_at_a_time = threading.Lock()  # OpenCV's cascade keeps the picture that it searches
        self._min_neighbors = HAAR_MIN_NEIGHBORS_STILL if still else HAAR_MIN_NEIGHBORS_MOVING

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        small, scale = shrink(gray, self._side)
        rim = round(BEYOND_EDGE * min(small.shape))
        with self._one_at_a_time:
            boxes, windows = self._faces.detectMultiScale2(
                cv2.copyMakeBorder(small, rim, rim, rim, rim, cv2.BORDER_REPLICATE),
                scaleFactor=1.15,
                minNeighbors=self._min_neighbors,
                minSize=(MIN_FACE, MIN_FACE),
            )
        return from_left_to_right(
            Face((np.asarray(box, np.float64) - (rim, rim, 0, 0)) * scale, score=haar_score(int(count), self._side))
            for box, count in zip(boxes, np.ravel(windows), strict=True)
        )


def haar_score(windows: int, side: int) -> float:
    """Probability that a box is a face on which `windows` windows of the cascade agree, in a search of `side` pixels.

    The number of false boxes grows with the number of searched windows, hence with the area. At 960 pixels half of the
    boxes on which only 3 windows agree, the fewest that are reported, were no face (docs/measured/detectors.md), and 3
    of 40 on which 7 or more do, in eleven public group photographs; at 320 pixels hardly any box was false.
    """
    doubt = min(0.5 * (side / 960) ** 2, 0.5)
    return 1 - doubt * 0.63 ** max(windows - 3, 0)


class YuNet:
    """YuNet (Wu, Peng, Yu, 2023), a small convolutional detector that also gives landmarks: `cv2.FaceDetectorYN`."""

    name = "yunet"

    def __init__(self, *, model: str, align: bool = False, search_side: int = 320):
        """Load the model file; UserError where it is missing or something else. Arguments: see `registry.create`."""
        remedy = "`fer-jax detector yunet` fetches it, or name the file in --detector-model"
        try:
            # from memory: OpenCV on Windows opens no path outside the system's code page
            graph = np.frombuffer(pathlib.Path(model).read_bytes(), np.uint8)
        except OSError as error:
            raise UserError(f"{model}: YuNet's file cannot be read ({error.strerror}): {remedy}") from None
        try:
            limits = YUNET_MIN_SCORE, YUNET_MAX_OVERLAP, YUNET_MAX_CANDIDATES
            self._net = cv2.FaceDetectorYN.create("onnx", graph, np.empty(0, np.uint8), (320, 320), *limits)
            self._net.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{model}: not a YuNet model ({len(graph):,} bytes): {remedy}") from error
        self._align, self._side = align, search_side
        self._one_at_a_time = threading.Lock()  # a size is set for what is searched next

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        small, scale = shrink(frame, self._side)
        found = from_left_to_right(
            Face(row[:4] * scale, None, yunet_score(row[14]), row[4:14].reshape(5, 2) * scale)
            for row in self._rows(small)
        )
        return [self._aligned(frame, face) for face in found] if self._align else found

    def _rows(self, image: np.ndarray) -> np.ndarray:
        """float64 (N, 15): left, top, width, height, x and y of five landmarks, the score, in pixels of the image."""
        height, width = image.shape[:2]
        below, beside = max(YUNET_MIN_SIDE - height, 0), max(YUNET_MIN_SIDE - width, 0)
        if below or beside:
            image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)
        with self._one_at_a_time:
            self._net.setInputSize((image.shape[1], image.shape[0]))
            rows = self._net.detect(image)[1]
        return np.empty((0, 15)) if rows is None else plausible(rows.astype(np.float64), (width, height))

    def _aligned(self, frame: np.ndarray, face: Face) -> Face:
        """The face with landmarks and roll from a second look at it alone, at a size at which they follow its tilt."""
        left, top, width, height = face.box
        scale = CLOSE_UP_FACE / max(width, height)
        x, y = CLOSE_UP / 2 - (left + width / 2) * scale, CLOSE_UP / 2 - (top + height / 2) * scale
        move = np.array([[scale, 0, x], [0, scale, y]])
        rows = self._rows(cv2.warpAffine(frame, move, (CLOSE_UP, CLOSE_UP), borderMode=cv2.BORDER_REPLICATE))
        if not len(rows):
            return face
        centers = rows[:, :2] + rows[:, 2:4] / 2
        row = rows[np.abs(centers - CLOSE_UP / 2).sum(axis=1).argmin()]
        landmarks = (row[4:14].reshape(5, 2) - (x, y)) / scale
        return dataclasses.replace(face, landmarks=landmarks, roll=slope(*landmarks[:2]))


def yunet_score(score: float) -> float:
    """Probability that a box with this YuNet score is a face: a half for the lowest reported, 1 where YuNet is sure."""
    return min(0.5 + 0.5 * (score - YUNET_MIN_SCORE) / (YUNET_SURE_SCORE - YUNET_MIN_SCORE), 1.0)


def plausible(rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rows (N, 4 or more) whose left, top, width, height are a box that a frame can have.

    That is: finite, with width and height, its center within the frame of `size` (width, height), and no larger than
    twice that frame's longer side. A network can return anything, so there are `MAX_FACES` at most: the first
    ones, which have the highest scores.
    """
    left, top, width, height = rows[:, :4].astype(np.float64).T
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = left + width / 2, top + height / 2
        good = np.isfinite(rows).all(axis=1) & (np.minimum(width, height) >= 1)
        good &= (x >= 0) & (x <= size[0]) & (y >= 0) & (y <= size[1]) & (np.maximum(width, height) <= 2 * max(size))
    return rows[good][:MAX_FACES]


class WholeImage:
    """For pictures that are faces already: the frame is the one face, and it is not cut."""

    name = "none"

    def detect(self, frame: np.ndarray) -> list[Face]:
        """See `Detector`."""
        height, width = frame.shape[:2]
        return [Face(np.array([0, 0, width, height], np.float64))]


def from_left_to_right(faces: Iterable[Face]) -> list[Face]:
    """The faces in an order that is the same every time: OpenCV's cascade gives them as its threads finish."""
    return sorted(faces, key=lambda face: (*face.box.tolist(), face.score))


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


def slope(left: np.ndarray, right: np.ndarray) -> float | None:
    """Clockwise slope in degrees of the line between two eyes (x, y), None where it is too steep to be one."""
    degrees = math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))
    return degrees if abs(degrees) <= MAX_ROLL_DEGREES else None


def _cascade(file: str) -> Any:
    """A cv2.CascadeClassifier of a file that opencv-python carries, read from memory as YuNet's model is."""
    remedy = "install opencv-python below 5, or use the detector yunet, which `fer-jax detector yunet` fetches"
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(f"OpenCV {cv2.__version__} has no Haar cascades any more: {remedy}")
    try:
        folder = cv2.data.haarcascades  # pyright: ignore[reportAttributeAccessIssue] OpenCV makes it when imported
        text = pathlib.Path(folder, file).read_text(encoding="utf-8")
    except OSError:
        raise UserError(f"this OpenCV {cv2.__version__} carries no {file}: {remedy}") from None
    cascade = cv2.CascadeClassifier()
    storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    if not cascade.read(storage.getFirstTopLevelNode()):
        raise UserError(f"{file} of OpenCV {cv2.__version__} cannot be read: {remedy}")
    return cascade
