"""Multi-object tracking: faces keep their identity from frame to frame."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from fer_jax.faces.detection import Face
from fer_jax.serve.smoothing import History

# Boxes are compared after growing by this share of their size on every side, so that a small face which moved by its
# own width still meets itself: Yang et al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make
# It Easier by Buffering the Matching Space", WACV 2023
BUFFER = 0.3
MIN_OVERLAP = 0.2  # intersection over union of the grown boxes
HITS_TO_SHOW = 2  # a detection in one frame only is a false one most of the time
SURVIVES_SECONDS = 0.8  # without being found
MIN_VISIBLE = 0.3  # share of a box that was not found again and lies within the frame
# minimum gains of the alpha-beta filter, for position and speed: a box jitters half as much as the detections
ALPHA, BETA = 0.6, 0.15
FLOW_POINTS = 5  # a side of the grid of points that are followed between detections


@dataclasses.dataclass
class Track:
    """One face through time.

    Attributes:
      id: 1, 2, ... in order of appearance.
      box: float64 (4,) left, top, width, height in pixels, filtered.
      speed: float64 (4,), change of the box a second.
      roll, landmarks: of the last search that found it, see `Face`.
      score: the highest of what the detector gave it, see `Face`.
      history: of its expressions.
      seen: time in seconds at which it was last found.
      hits: how many times it was found.
      found: whether the last search found it; between searches it stays as it was.
    """

    id: int
    box: np.ndarray
    speed: np.ndarray
    roll: float | None
    history: History
    seen: float
    hits: int = 1
    found: bool = True
    score: float = 1.0
    landmarks: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Motion:
    """Two frames after each other, small.

    Attributes:
      before, now: uint8 (h, w), grey and of one size.
      scale: pixels of the frame for one of theirs.
    """

    before: np.ndarray
    now: np.ndarray
    scale: float

    def shifts(self, boxes: np.ndarray) -> np.ndarray:
        """How the pixels in each box (N, 4) of the frame before moved: (N, 2) pixels right and down, NaN if unknown.

        The median over a grid of points that sparse optical flow (Lucas and Kanade, 1981) follows.
        """
        inner = np.linspace(0.2, 0.8, FLOW_POINTS)  # the rim of a box is background
        grid = np.stack(np.meshgrid(inner, inner), -1).reshape(-1, 2)
        points = (boxes[:, None, :2] + grid * boxes[:, None, 2:]).reshape(-1, 1, 2).astype(np.float32) / self.scale
        moved, good, _ = cv2.calcOpticalFlowPyrLK(
            self.before, self.now, points, np.empty_like(points), winSize=(11, 11), maxLevel=2
        )
        shifts = ((moved - points) * self.scale).reshape(len(boxes), -1, 2)
        good = good.reshape(len(boxes), -1).astype(bool)
        return np.array(
            [
                np.median(shift[ok], axis=0) if ok.sum() >= len(grid) / 2 else (np.nan, np.nan)
                for shift, ok in zip(shifts, good, strict=True)
            ]
        )


class Tracker:
    """Follows faces through one scene: detections are assigned to the tracks they overlap most, all in all.

    `tracks` are the faces to show, oldest first.
    """

    def __init__(self, smoothing: str = "average"):
        """`smoothing` is the method of each track's `History`."""
        self._smoothing = smoothing
        self._ids = itertools.count(1)
        self._all: list[Track] = []
        self._time: float | None = None

    @property
    def tracks(self) -> list[Track]:
        """Tracks that were found often enough to be believed."""
        return [track for track in self._all if track.hits >= HITS_TO_SHOW]

    def restart(self) -> None:
        """Forget all faces, for a frame that has nothing to do with the one before. Numbers go on."""
        self._all = []
        self._time = None

    def update(
        self, faces: Sequence[Face] | None, time: float, size: tuple[int, int], motion: Motion | None = None
    ) -> None:
        """Take in a frame.

        Args:
          faces: all that were found in it, None if it was not searched.
          time: of the frame, seconds, later than the one before.
          size: (width, height) of the frame in pixels.
          motion: of the pixels since the frame before. Tracks that were not found go with it, or else on with their
            speed.
        """
        first, elapsed = self._time is None, 0.0 if self._time is None else max(time - self._time, 0.0)
        self._time = time
        starts = [track.box for track in self._all]
        for track in self._all:
            track.box = track.box + track.speed * elapsed
            track.box[2:] = np.maximum(track.box[2:], 1.0)
        matched, fresh = ([], []) if faces is None else self._match(faces, time, elapsed)
        unseen = sorted(set(range(len(self._all))) - set(matched))
        if motion and unseen:
            shifts = motion.shifts(np.array([starts[t] for t in unseen]))
            for t, shift in zip(unseen, shifts, strict=True):
                if np.isfinite(shift).all():
                    _carry(self._all[t], starts[t], shift, elapsed)
        self._all = [track for track in self._all if self._lives(track, time, size)]
        for face in fresh:
            # before the first frame there is nothing that a false detection would contradict
            hits = HITS_TO_SHOW if first else 1
            box, history = np.asarray(face.box, np.float64), History(self._smoothing)
            track = Track(next(self._ids), box, np.zeros(4), face.roll, history, time, hits)
            track.score, track.landmarks = face.score, face.landmarks
            self._all.append(track)

    def _match(self, faces: Sequence[Face], time: float, elapsed: float) -> tuple[list[int], list[Face]]:
        """Correct the tracks by the faces that belong to them: indices of those tracks, and the faces left over."""
        boxes = np.array([face.box for face in faces]).reshape(-1, 4)
        pairs = assign(np.array([track.box for track in self._all]).reshape(-1, 4), boxes)
        for track in self._all:
            track.found = False
        for t, f in pairs:
            track = self._all[t]
            track.roll, track.seen, track.hits, track.found = faces[f].roll, time, track.hits + 1, True
            track.score, track.landmarks = max(track.score, faces[f].score), faces[f].landmarks
            _correct(track, boxes[f], elapsed)
        taken = {f for _, f in pairs}
        return [t for t, _ in pairs], [face for f, face in enumerate(faces) if f not in taken]

    @staticmethod
    def _lives(track: Track, time: float, size: tuple[int, int]) -> bool:
        if track.found:
            return True
        visible = np.minimum(track.box[:2] + track.box[2:], size) - np.maximum(track.box[:2], 0)
        share = np.prod(np.maximum(visible, 0)) / np.prod(track.box[2:])
        # the first doubt ends a track that was not yet believed
        recent = time - track.seen <= SURVIVES_SECONDS
        return bool(track.hits >= HITS_TO_SHOW and recent and share >= MIN_VISIBLE)


def _correct(track: Track, box: np.ndarray, elapsed: float) -> None:
    """One step of the alpha-beta filter, on position and size alike.

    The gains begin as those of a straight line fitted to all that was measured (Kalata's expanding memory), so that
    the second box already gives the speed.
    """
    n = track.hits
    alpha, beta = max(ALPHA, 2 * (2 * n - 1) / (n * (n + 1))), max(BETA, 6 / (n * (n + 1)))
    residual = box - track.box
    track.box = track.box + alpha * residual
    if elapsed > 0:
        track.speed = track.speed + beta / elapsed * residual


def _carry(track: Track, start: np.ndarray, shift: np.ndarray, elapsed: float) -> None:
    """Move the track from where it started as its pixels moved; all the way, since that is no measured place."""
    track.box = start.copy()
    track.box[:2] += shift
    if elapsed > 0:
        track.speed[:2] = shift / elapsed
    track.speed[2:] = 0.0


def assign(tracks: np.ndarray, boxes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (track, box) that overlap, no track and no box twice, with the largest sum of overlaps.

    Args:
      tracks: (T, 4) left, top, width, height.
      boxes: (B, 4).
    """
    overlaps = overlap(grow(tracks), grow(boxes))
    overlaps[overlaps < MIN_OVERLAP] = 0
    return [(t, b) for t, b in enumerate(matching(overlaps)) if b >= 0 and overlaps[t, b] > 0]


def matching(gain: np.ndarray) -> list[int]:
    """The column of each row of `gain` (M, N) in the matching with the largest sum, -1 for a row without one.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant, 1987): a row at a time, O(M^2 N) at worst
    and nearly O(M N) where few rows compete for a column.
    """
    if gain.shape[0] > gain.shape[1]:
        rows = matching(gain.T)
        return [rows.index(i) if i in rows else -1 for i in range(gain.shape[0])]
    count, columns = gain.shape
    row_value, column_value = np.zeros(count), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the row of each column; the last column is where each path begins
    for row in range(count):
        distance, before = np.full(columns + 1, np.inf), np.full(columns + 1, columns)
        reached = np.zeros(columns + 1, bool)
        at, owner[columns] = columns, row
        while owner[at] >= 0:
            reached[at] = True
            step = -gain[owner[at]] - row_value[owner[at]] - column_value[:-1]
            closer = ~reached[:-1] & (step < distance[:-1])
            distance[:-1][closer], before[:-1][closer] = step[closer], at
            following = int(np.where(reached, np.inf, distance).argmin())
            shift = distance[following]
            row_value[owner[reached]] += shift
            column_value[reached] -= shift
            distance[~reached] -= shift
            at = following
        while at != columns:
            owner[at] = owner[before[at]]
            at = before[at]
    return [int(np.flatnonzero(owner[:-1] == row)[0]) for row in range(count)]


def grow(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) with `BUFFER` of their size added on every side."""
    return np.concatenate([boxes[:, :2] - BUFFER * boxes[:, 2:], boxes[:, 2:] * (1 + 2 * BUFFER)], axis=1)


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (M, N) of boxes (M, 4) with boxes (N, 4), each left, top, width, height."""
    a, b = first[:, None], second[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - common
    return common / np.maximum(union, 1e-9)
