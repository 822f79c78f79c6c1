"""From a frame to the expression of each face in it: detection, tracking, cropping, classification, smoothing."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np

from fer_jax.faces import cropping, detection, registry
from fer_jax.serve.classifier import Classifier, resolved_tta
from fer_jax.serve.frames import Frame
from fer_jax.serve.tracker import Pixels, Track, Tracker

Item = TypeVar("Item")


class Detections(NamedTuple):
    """A frame after detection, and its pixels to follow faces by: None where each frame is a face as a whole."""

    frame: Frame
    found: list[detection.Face] | None  # None where the detector did not run
    pixels: Pixels | None


@dataclasses.dataclass(frozen=True)
class Activation:
    """The evidence in a face's pixels for its label.

    Attributes:
      maps: float32 (h, w, classes), class activation maps.
      label: index of the label.
      region: of the frame, which they cover.
    """

    maps: np.ndarray
    label: int
    region: cropping.Region

    @property
    def values(self) -> np.ndarray:
        """float32 (h, w), the label's map minus the mean over all labels, divided by its largest magnitude: -1..1,
        negative where a place is evidence against the label. Computed here, since few of them are looked at."""
        values = self.maps[..., self.label] - self.maps.mean(axis=-1)
        largest = np.abs(values).max()
        return values / largest if largest > 0 else values


@dataclasses.dataclass(frozen=True)
class TrackedFace:
    """One face in one frame.

    Attributes:
      track: number of the face, the same through a video.
      box: float64 (4,): left, top, width, height in pixels of the frame.
      label: index of the name to show.
      probabilities: float32 (classes,) of this frame alone, or of the last one in which the face was found.
      smoothed: float32 (classes,), to show.
      uncertain: whether it is below what the bundle calls certain that this is a face which shows the name.
      doubtful: whether, besides, the detector doubts that it is a face: it gets no name.
      score, roll, landmarks: of the detector, see `fer_jax.faces.detection.Face`.
      found: False where the detector missed the face and only its motion says where it is.
      crop: uint8 BGR pixels that were classified, None where none were.
      activation: None where no pixels were classified or the network has no class activation maps.
    """

    track: int
    box: np.ndarray
    label: int
    probabilities: np.ndarray
    smoothed: np.ndarray
    uncertain: bool
    found: bool
    crop: np.ndarray | None
    activation: Activation | None = None
    doubtful: bool = False
    score: float = 1.0
    roll: float | None = None
    landmarks: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class FrameResult:
    """A frame with its faces, oldest track first."""

    frame: Frame
    faces: list[TrackedFace]


class FrameAnalyzer:
    """Turns frames into results: `search` and then `read`, each frame in order, the two in threads of their own or not.

    Attributes:
      labels: names of the classes in order.
      detector: name of what finds the faces.
      has_maps: whether a face that was found has an activation.
    """

    def __init__(
        self,
        classifier: Classifier,
        detector: detection.Detector | registry.Detectors,
        smoothing: str = "average",
        search_every: int = 1,
        tta: str = "none",
    ):
        """Args:
          classifier: of the faces.
          detector: finds them; its crop policy is the one in the classifier's bundle. Of `Detectors`, pictures and
            the frames of videos are searched by the one for them.
          smoothing: see `fer_jax.serve.tracker.History`.
          search_every: the detector runs every N frames, boxes move with the pixels in between.
          tta: see `Classifier.classify`; "auto" is "flip" for pictures and "none" for videos.

        Raises:
          UserError: the bundle has no crop policy for this detector.
        """
        self.labels = classifier.labels
        self.has_maps = classifier.has_maps
        self._classifier = classifier
        self._detector = detector.of if isinstance(detector, registry.Detectors) else lambda still: detector
        self.detector = detector.name
        self._policy = cropping.CropPolicy.of(classifier.bundle.crop, detector.name)
        self._tracker = Tracker(smoothing)
        self._every = search_every
        self._tta = tta
        self._since_search = 0
        self._small: np.ndarray | None = None

    def search(self, frame: Frame) -> Detections:
        """Run the detector, if it is this frame's turn."""
        small, scale = detection.shrink(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), detection.TRACKING_SIDE)
        before, self._small = self._small, small
        related = not frame.starts and before is not None and before.shape == small.shape
        pixels = Pixels(small, scale, before if related else None)
        self._since_search = (self._since_search + 1) % self._every if related else 0
        found = None if self._since_search else self._detector(frame.still).detect(frame.image)
        return Detections(frame, found, None if self.detector == "none" else pixels)

    def read(self, searched: Detections) -> FrameResult:
        """Track the faces and classify those that were found, all in one call."""
        frame, found, pixels = searched
        if frame.starts:
            self._tracker.restart()
        height, width = frame.image.shape[:2]
        self._tracker.update(found, frame.time, (width, height), pixels)
        tracks = self._tracker.tracks
        seen = [track for track in tracks if track.found]
        crops = [cropping.cut(frame.image, track.box, self._policy, track.roll) for track in seen]
        probabilities, maps = self._classifier.classify(crops, resolved_tta(self._tta, frame.still))
        parts = {}
        for i, track in enumerate(seen):  # one that is missed keeps what it last showed
            track.history.update(probabilities[i], frame.time)
            parts[track.id] = crops[i], None if maps is None else maps[i]
        return FrameResult(frame, [self._face(track, *parts.get(track.id, (None, None))) for track in tracks])

    def _face(self, track: Track, crop: np.ndarray | None, maps: np.ndarray | None) -> TrackedFace:
        history, activation = track.history, None
        if maps is not None:
            spec = self._classifier.bundle.input
            region = cropping.region(track.box, self._policy, track.roll).scaled((spec.seen or spec.size) / spec.size)
            activation = Activation(maps, history.label, region)
        uncertain = self._classifier.is_uncertain(history.probabilities, track.score)
        return TrackedFace(
            track=track.id,
            box=track.box,
            label=history.label,
            probabilities=history.latest,
            smoothed=history.probabilities,
            uncertain=uncertain,
            found=track.found,
            crop=crop,
            activation=activation,
            doubtful=uncertain and track.score < detection.DOUBTFUL_SCORE,
            score=track.score,
            roll=track.roll,
            landmarks=track.landmarks,
        )


class Stage(Iterator[Item], Generic[Item]):
    """Runs `items` in a thread. OpenCV, FFmpeg and ONNX Runtime release the interpreter lock: stages run in parallel.

    An exception of `items` is raised here, after all items before it.
    """

    def __init__(self, items: Iterable[Item], depth: int = 2, drop: bool = False):
        """Args:
        items: what to iterate over.
        depth: maximum number of items that wait; it bounds the memory.
        drop: when that many wait, drop the oldest instead of waiting, so that a live source is never late.
        """
        self._items = items
        self._depth = depth
        self._drop = drop
        self._waiting: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True, name=type(items).__name__)
        self._thread.start()

    def __next__(self) -> Item:
        item = self.take(timeout=None)
        assert item is not None, "without a time limit there is one"
        return item

    def take(self, timeout: float | None) -> Item | None:
        """The next item, or None when there is none within `timeout` seconds.

        Raises:
          StopIteration: after the last item, and after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            if self._error:
                raise self._error
            if self._ended:
                raise StopIteration
            return None

    def close(self) -> None:
        """Stop. Waits up to a second for the thread, which may be in a camera's driver."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if self._drop and len(self._waiting) == self._depth:
                        self._waiting.popleft()
                    self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._ended)
                    if self._ended:
                        break
                    self._waiting.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # raised again in the consumer, unless it closed this
            self._error = None if self._ended else error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class Pipeline(Iterator[FrameResult]):
    """The results of a source's frames: reading, detection and classification overlap with what is done to the results.

    Frames of a live source are dropped where a stage is slow; frames of a file never are.
    """

    def __init__(self, frames: Iterable[Frame], analyzer: FrameAnalyzer, live: bool):
        captured = Stage(frames, depth=1 if live else 2, drop=live)
        searched = Stage(map(analyzer.search, captured), depth=1)
        self._last = Stage(map(analyzer.read, searched), depth=1)
        self._stages = captured, searched, self._last
        self.take = self._last.take

    def __next__(self) -> FrameResult:
        return next(self._last)

    def close(self) -> None:
        """Stop all stages, the first one first, so that none waits for another."""
        for stage in self._stages:
            stage.close()
