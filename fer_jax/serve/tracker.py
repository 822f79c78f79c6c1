"""Faces through time: they keep their identity from frame to frame, and a name until the expression changes."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.faces import cropping
from fer_jax.faces.detection import Face

# Boxes are compared after growing by this share of their size on every side, so that a small face which moved by its
# own width still meets itself: Yang et al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make
# It Easier by Buffering the Matching Space", WACV 2023
BUFFER = 0.3
MIN_OVERLAP = 0.2  # intersection over union of the grown boxes
HITS_TO_SHOW = 2  # a detection in one frame only is a false one most of the time
SURVIVES_SECONDS = 0.8  # without being found
WHOLE = 0.9  # share of a box that lies within the frame
MIN_VISIBLE = 0.3  # share of a box that was not found again and lies within the frame
# minimum gains of the alpha-beta filter, for position and speed: a box jitters half as much as the detections
ALPHA, BETA = 0.6, 0.15
FLOW_POINTS = 5  # a side of the grid of points that are followed between detections

# Who is gone for less comes back under the same number, where place, size and look agree.
RETURNS_SECONDS = 15.0
MAX_SIZE_RATIO = 2.0  # of areas
LOOK_SIDE = 16  # pixels, gray, of the look of a face
# Correlation of two looks. Of 1,461 faces in the wild 1.1 % of the pairs reach 0.7 and 0.1 % reach 0.8; one face looks
# like itself a second later by 0.8 in the median.
MIN_LIKENESS = 0.7
MIN_OVERLAP_AFTER_CUT, MIN_LIKENESS_AFTER_CUT = 0.3, 0.8  # the place says little then
# A face a moment later that looks so unlike is another one, after a cut within the same place. From one frame of 25 a
# second to the next faces of the group video look alike by 0.64 or more.
MAX_UNLIKENESS, MOMENT_SECONDS = 0.2, 0.1

# A cut: so many of the picture's cells change by so many gray levels, and the picture correlates with the one before by
# less. A face that changes before a background that stays is none, nor is a lamp that is switched on.
CUT_CELLS = (16, 12)
CUT_SHARE, CUT_LEVELS, CUT_CORRELATION = 0.75, 10, 0.6


TIME_CONSTANT_SECONDS = 0.5  # of the average: a change of expression shows after about half a second
# The label changes to one that is more probable by this margin. On a still picture with a camera's noise the difference
# of the two largest probabilities varies by 0.05 to 0.3 from frame to frame, a fifth of that in the average: without a
# margin, labels that are nearly equal would alternate.
MARGIN = 0.15
# One that leads by less takes over after leading for this long, so that a stale label does not persist.
LASTING_MARGIN, LASTING_SECONDS = 0.08, 1.0
LAST_LABELS = 10  # as in the reports this project follows: the most frequent of the last ten

METHODS = ("average", "last10", "none")


class SteadyLabel:
    """A label that changes when another one clearly leads, or leads for a while; -1 before the first update."""

    def __init__(self):
        self.label = -1
        self._led_since = math.inf  # when another label than this one began to lead

    def update(self, probabilities: np.ndarray, time: float) -> int:
        """The label, after probabilities (classes,) at `time`, in seconds, not before the last one's."""
        best = int(probabilities.argmax())
        lead = np.inf if self.label < 0 else probabilities[best] - probabilities[self.label]
        self._led_since = min(self._led_since, time) if lead > LASTING_MARGIN else math.inf
        if lead > MARGIN or time - self._led_since >= LASTING_SECONDS:
            self.label, self._led_since = best, math.inf
        return self.label


class History:
    """The recent probabilities of one face.

    Attributes:
      latest: float32 (classes,), of the last update; empty before the first.
      probabilities: float32 (classes,), smoothed; sums to 1; empty before the first update.
      label: index of the label to show, -1 before the first update.
    """

    def __init__(self, method: str = "average"):
        """`method` is "average" (exponential, in time, with a margin for the label), "last10" (the most frequent label
        of the last ten frames; the probabilities are still averaged) or "none"; UserError for another."""
        if method not in METHODS:
            raise UserError(f"unknown smoothing {method!r}: expected one of {', '.join(METHODS)}")
        self._method = method
        self._recent: collections.deque[int] = collections.deque(maxlen=LAST_LABELS)
        self._time = 0.0
        self._steady = SteadyLabel()
        self.latest = self.probabilities = np.empty(0, np.float32)
        self.label = -1

    def update(self, probabilities: np.ndarray, time: float) -> None:
        """Update with the probabilities (classes,) of a frame at `time`, in seconds, not before the last one's."""
        if not self.probabilities.size or self._method == "none":
            self.probabilities = probabilities
        else:
            weight = 1 - math.exp(-max(time - self._time, 0.0) / TIME_CONSTANT_SECONDS)
            self.probabilities = self.probabilities + np.float32(weight) * (probabilities - self.probabilities)
        self.latest, self._time = probabilities, time
        self._recent.append(int(probabilities.argmax()))
        if self._method == "average":
            self.label = self._steady.update(self.probabilities, time)
        elif self._method == "none":
            self.label = self._recent[-1]
        else:
            counts = np.bincount(self._recent, minlength=len(self.probabilities))
            if self.label < 0 or counts[self.label] < counts.max():  # a tie keeps the label that is shown
                self.label = int(counts.argmax())


@dataclasses.dataclass(eq=False)
class Track:
    """One face through time.

    Attributes:
      box: float64 (4,) left, top, width, height in pixels, filtered.
      speed: float64 (4,), change of the box a second.
      roll, landmarks: of the last search that found it, see `Face`.
      history: of its expressions.
      seen: time in seconds at which it was last found.
      hits: how many times it was found.
      found: whether the last search found it; between searches it stays as it was.
      score: the highest of what the detector gave it, see `Face`.
      id: 1, 2, ... in the order in which faces are first shown; 0 before.
      looks: of when it was last found, and of when it was last whole within the frame; see `Pixels.look`.
      cut: whether the picture, or what is at its place, changed wholly since it was found.
    """

    box: np.ndarray
    speed: np.ndarray
    roll: float | None
    history: History
    seen: float
    hits: int = 1
    found: bool = True
    score: float = 1.0
    landmarks: np.ndarray | None = None
    id: int = 0
    looks: tuple[np.ndarray, ...] = ()
    cut: bool = False


@dataclasses.dataclass(frozen=True)
class Pixels:
    """A frame, small and gray, and the one before it.

    Attributes:
      now: uint8 (h, w).
      scale: pixels of the frame for one of these.
      before: of the same size; None where there is none, or none that has to do with this one.
    """

    now: np.ndarray
    scale: float
    before: np.ndarray | None = None

    def shifts(self, boxes: np.ndarray) -> np.ndarray:
        """The motion of the pixels in each box (N, 4) of the frame before: (N, 2) pixels right and down, or NaN.

        The median over a grid of points that sparse optical flow (Lucas and Kanade, 1981) follows.
        """
        if self.before is None:
            return np.full((len(boxes), 2), np.nan)
        inner = np.linspace(0.2, 0.8, FLOW_POINTS)  # the rim of a box is background
        grid = np.stack(np.meshgrid(inner, inner), -1).reshape(-1, 2)
        points = (boxes[:, None, :2] + grid * boxes[:, None, 2:]).reshape(-1, 1, 2).astype(np.float32) / self.scale
        moved, good, _ = cv2.calcOpticalFlowPyrLK(
            self.before, self.now, points, np.empty_like(points), winSize=(11, 11), maxLevel=2
        )
        shifts = ((moved - points) * self.scale).reshape(len(boxes), -1, 2)
        good = good.reshape(len(boxes), -1).astype(bool)
        medians = [
            np.median(shift[ok], axis=0) if ok.sum() >= len(grid) / 2 else (np.nan, np.nan)
            for shift, ok in zip(shifts, good, strict=True)
        ]
        return np.array(medians)

    def look(self, box: np.ndarray) -> np.ndarray:
        """float32 (LOOK_SIDE ** 2,) of the face in a box, of mean 0 and length 1: two of them multiply to -1..1."""
        face = cropping.cut(self.now, box / self.scale)
        return _standardized(cv2.resize(face, (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_AREA))

    @property
    def cut(self) -> bool:
        """Return whether the picture has nothing to do with the one before."""
        if self.before is None:
            return False
        before, now = (cv2.resize(image, CUT_CELLS, interpolation=cv2.INTER_AREA) for image in (self.before, self.now))
        changed = (cv2.absdiff(before, now) > CUT_LEVELS).mean()
        return bool(changed >= CUT_SHARE and _standardized(before) @ _standardized(now) < CUT_CORRELATION)


def _standardized(cells: np.ndarray) -> np.ndarray:
    values = cells.ravel() - np.float32(cells.mean())
    return values / max(float(np.linalg.norm(values)), 1e-6)


class Tracker:
    """Follows faces through one scene: detections are assigned to the tracks they overlap most, all in all.

    `tracks` are the faces to show, in the order of their numbers.
    """

    def __init__(self, smoothing: str = "average"):
        """`smoothing` is the method of each track's `History`."""
        self._smoothing = smoothing
        self._ids = itertools.count(1)
        self._all: list[Track] = []
        self._lost: list[Track] = []
        self._time: float | None = None
        self._size = (0, 0)

    @property
    def tracks(self) -> list[Track]:
        """Tracks that were found often enough to be believed."""
        return sorted((track for track in self._all if track.id), key=lambda track: track.id)

    def restart(self) -> None:
        """Forget all faces, for a frame that has nothing to do with the one before. Numbers go on."""
        self._all, self._lost = [], []
        self._time = None

    def update(
        self, faces: Sequence[Face] | None, time: float, size: tuple[int, int], pixels: Pixels | None = None
    ) -> None:
        """Take in a frame.

        Args:
          faces: all that were found in it, None if it was not searched.
          time: of the frame, seconds, later than the one before.
          size: (width, height) of the frame in pixels.
          pixels: of the frame. Tracks that were not found go with them, or else on with their speed.
        """
        elapsed = 0.0 if self._time is None else max(time - self._time, 0.0)
        # a frame after which nothing would contradict a false detection: the first, and any where frames are rare
        alone = self._time is None or elapsed > SURVIVES_SECONDS
        self._time = time
        after_cut = self._set_scene(size, pixels)
        alone |= after_cut
        starts = [track.box for track in self._all]
        for track in self._all:
            track.box = track.box + track.speed * elapsed
            track.box[2:] = np.maximum(track.box[2:], 1.0)
        looks = [pixels.look(face.box) for face in faces or ()] if pixels else []
        matched, fresh = ([], []) if faces is None else self._match(faces, looks, time, elapsed, size)
        unseen = sorted(set(range(len(self._all))) - set(matched))
        if pixels and not after_cut and (unseen or self._lost):
            *shifts, scene = pixels.shifts(np.array([*(starts[t] for t in unseen), (0, 0, *size)]))
            for t, shift in zip(unseen, shifts, strict=True):
                if np.isfinite(shift).all():
                    _carry(self._all[t], starts[t], shift, elapsed)
            if np.isfinite(scene).all():
                for track in self._lost:  # out of sight or hidden, they stay in the scene that the camera passes
                    track.box[:2] += scene
        for f in fresh:
            face = (faces or ())[f]
            track = Track(np.asarray(face.box, np.float64), np.zeros(4), face.roll, History(self._smoothing), time)
            track.score, track.landmarks, track.looks = face.score, face.landmarks, tuple(looks[f : f + 1])
            self._all.append(track)
        self._number(time, alone)
        living = [track for track in self._all if _lives(track, time, size)]
        self._lost += [track for track in self._all if track.id and track not in living]
        self._lost = [track for track in self._lost if time - track.seen <= RETURNS_SECONDS]
        self._all = living

    def _set_scene(self, size: tuple[int, int], pixels: Pixels | None) -> bool:
        """Bring the places of the faces into a frame of another size; return whether the frame follows a cut."""
        if size != self._size and any(self._size):  # a stream that changes its resolution
            factor = np.tile(np.divide(size, self._size), 2)
            for track in self._all + self._lost:
                track.box, track.speed = track.box * factor, track.speed * factor
        self._size = size
        cut = pixels is not None and pixels.cut
        if cut:
            self._lost += [track for track in self._all if track.id]
            self._all = []
            for track in self._lost:
                track.cut = True
        return cut

    def _match(
        self, faces: Sequence[Face], looks: list[np.ndarray], time: float, elapsed: float, size: tuple[int, int]
    ) -> tuple[list[int], list[int]]:
        """Correct the tracks by the faces that belong to them: indices of those tracks, and of the faces left over."""
        boxes = np.array([face.box for face in faces]).reshape(-1, 4)
        pairs = assign(np.array([track.box for track in self._all]).reshape(-1, 4), boxes)
        if looks and elapsed <= MOMENT_SECONDS:
            others = {t for t, f in pairs if _is_other(looks[f], self._all[t])}
            pairs = [(t, f) for t, f in pairs if t not in others]
            for t in others:
                self._all[t].cut = True
        for track in self._all:
            track.found = False
        for t, f in pairs:
            track = self._all[t]
            track.roll, track.seen, track.hits, track.found = faces[f].roll, time, track.hits + 1, True
            track.score, track.landmarks = max(track.score, faces[f].score), faces[f].landmarks
            if looks:
                whole = _visible(track.box, size) >= WHOLE
                track.looks = (looks[f], looks[f] if whole else track.looks[-1])
            _correct(track, boxes[f], elapsed)
        taken = {f for _, f in pairs}
        return [t for t, _ in pairs], [f for f in range(len(faces)) if f not in taken]

    def _number(self, time: float, alone: bool) -> None:
        """Give numbers to the faces to show: the old one to who comes back."""
        for track in self._all:
            if track.id or not track.found or track.seen != time:
                continue
            if track.looks and (known := self._known(track)) is not None:
                self._lost.remove(known)
                track.id, track.history, track.hits = known.id, known.history, max(track.hits, HITS_TO_SHOW)
            elif track.hits >= HITS_TO_SHOW or alone:
                track.id, track.hits = next(self._ids), max(track.hits, HITS_TO_SHOW)

    def _known(self, track: Track) -> Track | None:
        """The lost track of the same face, None where there is none."""
        candidates = [(_likeness(track.looks[0], lost.looks), lost) for lost in self._lost if _may_be(track, lost)]
        likeness, lost = max(candidates, key=lambda candidate: candidate[0], default=(0.0, None))
        return lost if lost and likeness >= (MIN_LIKENESS_AFTER_CUT if lost.cut else MIN_LIKENESS) else None


def _lives(track: Track, time: float, size: tuple[int, int]) -> bool:
    if track.found:
        return True
    # the first doubt ends a track that was not yet believed
    recent = time - track.seen <= SURVIVES_SECONDS
    return bool(track.id and not track.cut and recent and _visible(track.box, size) >= MIN_VISIBLE)


def _visible(box: np.ndarray, size: tuple[int, int]) -> float:
    """The share of a box that lies within a frame of `size` (width, height)."""
    sides = np.minimum(box[:2] + box[2:], size) - np.maximum(box[:2], 0)
    return float(np.prod(np.maximum(sides, 0)) / np.prod(box[2:]))


def _may_be(track: Track, lost: Track) -> bool:
    """Return whether place and size allow that a face is one that was lost."""
    ratio = np.prod(track.box[2:]) / np.prod(lost.box[2:])
    if not 1 / MAX_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
        return False
    boxes = track.box[None], lost.box[None]
    if lost.cut:
        return bool(overlap(*boxes)[0, 0] >= MIN_OVERLAP_AFTER_CUT)
    return bool(overlap(*map(grow, boxes))[0, 0] >= MIN_OVERLAP)


def _likeness(look: np.ndarray, others: Sequence[np.ndarray]) -> float:
    return max(float(look @ other) for other in others)


def _is_other(look: np.ndarray, track: Track) -> bool:
    """Return whether a face, a moment later, is plainly not the track's. Areas without any pattern say nothing."""
    known = bool(track.looks) and bool(track.looks[0].any()) and bool(look.any())
    return known and _likeness(look, track.looks[:1]) <= MAX_UNLIKENESS


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
    """Move the track from where it started as its pixels moved, unfiltered, since flow is not a measurement."""
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
