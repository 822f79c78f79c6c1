"""What detectors find and what they take for a face: the measurements behind the table in docs/webcam.md."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np

from fer_jax.faces.detection import Detector

SIZE = 1280, 960  # width and height of composites in pixels
FACES_PER_COMPOSITE = 6
FACE_SIDES = (60, 160)  # pixels, the smallest and the largest face of a composite
MAX_DISTANCE = 0.35  # of the true box's larger side, between the centres of a box and of the face that it found
SIDE_RATIOS = (0.4, 2.2)  # of such a box's larger side to the true one's


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture whose faces are known.

    Attributes:
      image: uint8 BGR (H, W, 3).
      boxes: float64 (N, 4) left, top, width, height of its faces.
    """

    image: np.ndarray
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a detector made of some pictures.

    Attributes:
      pictures: how many.
      faces: how many there are in them.
      found: how many of these were found.
      false: how many boxes are at no face.
      seconds: of CPU time over all pictures, on one thread.
    """

    pictures: int
    faces: int
    found: int
    false: int
    seconds: float


def measure(
    detector: Detector,
    pictures: Iterable[Picture],
    on_box: Callable[[Picture, np.ndarray, float, bool], None] | None = None,
) -> Outcome:
    """Let a detector search pictures.

    Args:
      detector: runs on one thread of OpenCV.
      pictures: to search.
      on_box: called for each box with its picture, the box, its score and whether it is a face.
    """
    counts = np.zeros(4, int)
    seconds = 0.0
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for picture in pictures:
            started = time.process_time()
            faces = detector.detect(picture.image)
            seconds += time.process_time() - started
            boxes = np.array([face.box for face in faces]).reshape(-1, 4)
            found, true = matches(boxes, picture.boxes)
            counts += 1, len(found), found.sum(), (~true).sum()
            if on_box is not None:
                for face, is_face in zip(faces, true, strict=True):
                    on_box(picture, face.box, face.score, bool(is_face))
    finally:
        cv2.setNumThreads(threads)
    searched, present, hit, false = (int(count) for count in counts)
    return Outcome(searched, present, hit, false, seconds)


def matches(boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which faces were found, bool (N,), and which boxes are at a face, bool (M,).

    Detectors frame a face differently, so centres and sizes are compared rather than overlaps.

    Args:
      boxes: (M, 4) left, top, width, height.
      truth: (N, 4) of the faces.
    """
    centres, true_centres = (array[:, :2] + array[:, 2:] / 2 for array in (boxes, truth))
    sides, true_sides = (array[:, 2:].max(axis=1, initial=0) for array in (boxes, truth))
    distances = np.abs(centres[:, None] - true_centres[None]).max(axis=-1)
    ratios = sides[:, None] / np.maximum(true_sides[None], 1e-9)
    close = (distances <= MAX_DISTANCE * true_sides) & (ratios >= SIDE_RATIOS[0]) & (ratios <= SIDE_RATIOS[1])
    return close.any(axis=0), close.any(axis=1)


def agreed(images: Iterable[np.ndarray], detectors: Sequence[Detector]) -> Iterator[Picture]:
    """Pictures whose faces are taken to be all that any of the detectors finds, each once."""
    for image in images:
        boxes = np.empty((0, 4))
        for detector in detectors:
            more = np.array([face.box for face in detector.detect(image)]).reshape(-1, 4)
            boxes = np.concatenate([boxes, more[~matches(more, boxes)[1]]])
        yield Picture(image, boxes)


def composites(faces: np.ndarray, count: int, seed: int = 0) -> Iterator[Picture]:
    """Pictures of faces over blinds, paving, sky and foliage, in turn.

    Args:
      faces: uint8 (N, H, W), grey, that show one face each; without any (N = 0) there are the backgrounds alone.
      count: how many pictures.
      seed: the same one gives the same pictures.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        background = (_blinds, _paving, _sky, _foliage)[number % 4](rng)
        grey = np.clip(background + rng.normal(0, 4, background.shape), 0, 255).astype(np.uint8)
        image = cv2.cvtColor(cv2.GaussianBlur(grey, (3, 3), 0), cv2.COLOR_GRAY2BGR)
        boxes = [_insert(image, faces, column, rng) for column in range(FACES_PER_COMPOSITE if len(faces) else 0)]
        yield Picture(image, np.array(boxes, np.float64).reshape(-1, 4))


def _insert(image: np.ndarray, faces: np.ndarray, column: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Lay one of the faces into a column of the image, with soft edges; its box."""
    side = int(rng.uniform(*FACE_SIDES))
    pitch = SIZE[0] // FACES_PER_COMPOSITE
    left = column * pitch + int(rng.integers(max(pitch - side, 1)))
    top = int(rng.integers(SIZE[1] - side))
    face = cv2.resize(faces[rng.integers(len(faces))], (side, side), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (round(0.47 * side), side // 2), 0, 0, 360, (1.0,), cv2.FILLED)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.03 * side)[..., None]
    part = image[top : top + side, left : left + side]
    width = part.shape[1]
    part[:] = (part * (1 - mask[:, :width]) + face[:, :width, None] * mask[:, :width]).astype(np.uint8)
    return left, top, side, side


def _clouds(rng: np.random.Generator, pixels: int, strength: float) -> np.ndarray:
    """float32 (960, 1280) smooth noise of several sizes, `pixels` being the coarsest."""
    noise = np.zeros(SIZE[::-1], np.float32)
    scale = pixels
    while scale >= 2:
        grid = rng.standard_normal((max(SIZE[1] // scale, 2), max(SIZE[0] // scale, 2))).astype(np.float32)
        noise += cv2.resize(grid, SIZE, interpolation=cv2.INTER_CUBIC) * (scale / pixels) ** 0.8
        scale //= 2
    return strength * noise


def _blinds(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    slats = 60 * np.sin(2 * np.pi * (rows + rng.uniform(-0.03, 0.03) * columns) / rng.integers(14, 46))
    windows = 25 * np.sign(np.sin(2 * np.pi * columns / rng.integers(120, 300)))
    return 150 + slats + windows + _clouds(rng, 200, 20)


def _paving(rng: np.random.Generator) -> np.ndarray:
    side = int(rng.integers(24, 80))
    image = np.full(SIZE[::-1], 140.0)
    for top in range(0, SIZE[1], side):
        for left in range(-int(rng.integers(side)), SIZE[0], 2 * side):
            image[top : top + side, max(left, 0) : left + 2 * side] = rng.uniform(90, 190)
            image[top : top + side, max(left, 0) : max(left + 3, 0)] = 60
        image[top : top + 3] = 60
    return image + _clouds(rng, 16, 12) + _clouds(rng, 200, 20)


def _sky(rng: np.random.Generator) -> np.ndarray:
    return np.linspace(220, 120, SIZE[1])[:, None] + _clouds(rng, 400, 25)


def _foliage(rng: np.random.Generator) -> np.ndarray:
    return 110 + _clouds(rng, 64, 35)
