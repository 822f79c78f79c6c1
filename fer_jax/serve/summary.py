"""What happened in a video: who was seen for how long, and with which expressions."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.serve.analysis import FrameResult, TrackedFace
from fer_jax.serve.overlay import percent
from fer_jax.serve.smoothing import SteadyLabel
from fer_jax.serve.tracker import SURVIVES_SECONDS

if TYPE_CHECKING:
    import pandas as pd

# Expressions are averaged over half a second around each moment. What comes after is known here, so that a change is
# where it happened; the average of a live video lags by about as much.
HALF_WINDOW_SECONDS = 0.25
THUMBNAIL_SIDE = 64  # pixels
MAX_ROWS = 18  # of a printed table
MAX_COLUMNS = 8  # expressions in it; the rest are "other"


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of time in which one person shows one expression.

    Attributes:
      start, end: seconds from the first frame of the video.
      label: the expression.
      certain: share of the stretch in which the model is certain, 0..1.
    """

    start: float
    end: float
    label: str
    certain: float


@dataclasses.dataclass(frozen=True)
class Person:
    """One person in a video, or one face in a picture.

    Attributes:
      track: number of the face.
      seconds: for which it was seen; 0 in a picture.
      shares: of that time for each expression by name, summing to 1.
      dominant: the expression with the largest share.
      changes: how often the expression changed.
      changes_per_minute: of the time seen.
      certain: share of the time in which the model is certain, 0..1.
      segments: the expressions in the order of time, with gaps where the face was not seen.
      thumbnail: JPEG file of the face where it is largest, `THUMBNAIL_SIDE` pixels a side; empty where there is none.
    """

    track: int
    seconds: float
    shares: dict[str, float]
    dominant: str
    changes: int
    changes_per_minute: float
    certain: float
    segments: tuple[Segment, ...]
    thumbnail: bytes = dataclasses.field(default=b"", repr=False)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What happened in a video, or what a picture shows.

    Attributes:
      source: what was analyzed: a path, or "<memory>".
      seconds: duration of what was analyzed; 0 for a picture.
      frames: how many were analyzed.
      labels: names of the expressions in the model's order.
      people: in the order in which they appear.
    """

    source: str
    seconds: float
    frames: int
    labels: tuple[str, ...]
    people: tuple[Person, ...]

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON can hold them, seconds and shares rounded to 4 digits, without thumbnails."""
        found = _rounded(dataclasses.asdict(self))
        for person in found["people"]:
            del person["thumbnail"]
        return found

    def to_json(self, indent: int | None = None) -> str:
        """A JSON object, see `to_dict`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def to_pandas(self) -> pd.DataFrame:
        """A row for each person, with a column for the share of each expression; UserError without pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        plain = ("track", "seconds", "dominant", "changes", "changes_per_minute", "certain")
        rows = [{name: getattr(person, name) for name in plain} | person.shares for person in self.people]
        return pd.DataFrame(rows, columns=[*plain, *self.labels])

    def __str__(self) -> str:
        """A table of at most `MAX_ROWS` people, those who are seen longest, with a line for all together."""
        head, *rows = self.table()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
        left_out = len(self.people) - MAX_ROWS
        more = [f"and {left_out} more, see the JSON"] if left_out > 0 else []
        return "\n".join([self.heading(), *lines, *more])

    def heading(self) -> str:
        """The source, its duration and the number of its people in a line."""
        kind = "person" if self.seconds else "face"
        plural = "people" if self.seconds else "faces"
        count = f"{len(self.people)} {kind if len(self.people) == 1 else plural}"
        return f"{self.source}: {_clock(self.seconds)}, {count}" if self.seconds else f"{self.source}: {count}"

    def table(self) -> list[list[str]]:
        """The cells of the printed table, its head first."""
        longest = sorted(self.people, key=lambda person: -person.seconds)[:MAX_ROWS]
        total = together(self.people, self.labels)
        names = sorted(self.labels, key=lambda name: -total.shares[name])[:MAX_COLUMNS]
        names = [name for name in self.labels if name in names]
        others = ["other"] if len(names) < len(self.labels) else []
        rows = [["face", "seen", *names, *others, "mostly", "changes/min", "certain"]]
        for person in [person for person in self.people if person in longest]:
            rows.append(_row(str(person.track), person, names, bool(others)))
        if len(self.people) > 1:
            rows.append(_row("all", total, names, bool(others)))
        return rows

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        import html

        head, *rows = self.table()
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        names = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<p>{html.escape(self.heading())}</p><table><tr>{names}</tr>{body}</table>"


class Summarizer:
    """Sums up a video frame by frame, in memory that grows with the changes of expression alone."""

    def __init__(self, labels: Sequence[str], uncertain_below: float):
        """Args:
        labels: names of the expressions in the model's order.
        uncertain_below: probability below which the model is not certain, see `Classifier.is_uncertain`.
        """
        self._labels = tuple(labels)
        self._uncertain_below = uncertain_below
        self._people: dict[tuple[int, int], _Timeline] = {}
        self._before: FrameResult | None = None
        self._period = 0.0  # between the last two frames
        self._seconds, self._frames = 0.0, 0

    def add(self, result: FrameResult) -> None:
        """Take in the next frame."""
        if self._before and not result.frame.starts:
            self._period = max(result.frame.time - self._before.frame.time, 0.0)
        self._close(result.frame.time if not result.frame.starts else None)
        self._before = result
        self._frames += 1

    def summary(self, source: str) -> Summary:
        """What happened until the last frame, which is taken to end after its duration; nothing can be added then."""
        self._close(None)
        people = [timeline.person() for timeline in self._people.values()]
        return Summary(source, self._seconds, self._frames, self._labels, tuple(people))

    def _close(self, end: float | None) -> None:
        """Count the frame before, which is shown until `end`, or as long as it says."""
        before, self._before = self._before, None
        if before is None:
            return
        still, start = before.frame.still, before.frame.time
        if still:
            start = end = 0.0
        elif end is None:
            end = start + (before.frame.duration or self._period)
        self._seconds += end - start
        size = np.array(before.frame.image.shape[1::-1])
        for face in before.faces:
            if face.doubtful or not face.found:
                continue
            key = (before.frame.index, face.track) if still else (0, face.track)
            if key not in self._people:
                track = len(self._people) if still else face.track
                self._people[key] = _Timeline(track, self._labels, self._uncertain_below)
            corners = np.concatenate([face.box[:2], size - face.box[:2] - face.box[2:]])
            self._people[key].add(start, end, face, bool((corners >= 0).all()))


@dataclasses.dataclass
class _Sample:
    start: float
    end: float
    probabilities: np.ndarray
    score: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


class _Timeline:
    """The expressions of one person: samples become segments as soon as what surrounds them is known."""

    def __init__(self, track: int, labels: Sequence[str], uncertain_below: float):
        self._track = track
        self._labels = labels
        self._uncertain_below = uncertain_below
        self._samples: collections.deque[_Sample] = collections.deque()
        self._decided = 0  # how many of them are in segments already
        self._steady = SteadyLabel()
        self._segments: list[list[float]] = []  # start, end, label, certain seconds
        self._thumbnail, self._area = b"", 0.0

    def add(self, start: float, end: float, face: TrackedFace, whole: bool) -> None:
        """Take in a face that is seen from `start` to `end`; `whole` is whether all of it lies within the frame."""
        if self._samples:
            gap = start - self._samples[-1].end
            if gap > SURVIVES_SECONDS:
                self._decide(np.inf)
                self._samples.clear()
                self._decided = 0
            elif gap > 0:  # missed in between
                self._samples[-1].end = start
        self._samples.append(_Sample(start, end, face.probabilities, face.score))
        self._decide(end - HALF_WINDOW_SECONDS)
        area = float(face.box[2] * face.box[3]) * (1.0 if whole else 0.1)
        if face.crop is not None and area > 1.2 * self._area:
            small = cv2.resize(face.crop, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
            self._thumbnail, self._area = cv2.imencode(".jpg", small)[1].tobytes(), area

    def _decide(self, until: float) -> None:
        """Put the samples whose middle is not after `until` into segments."""
        while self._decided < len(self._samples) and (sample := self._samples[self._decided]).middle <= until:
            first, last = sample.middle - HALF_WINDOW_SECONDS, sample.middle + HALF_WINDOW_SECONDS
            while self._samples[0].end < first:
                self._samples.popleft()
                self._decided -= 1
            weights = np.array([max(min(s.end, last) - max(s.start, first), 0.0) for s in self._samples])
            weights[self._decided] = weights[self._decided] or 1.0  # a picture has no duration
            mean = weights @ np.stack([s.probabilities for s in self._samples]) / weights.sum()
            self._append(sample, self._steady.update(mean, sample.middle), sample.score * mean.max())
            self._decided += 1

    def _append(self, sample: _Sample, label: int, probability: float) -> None:
        certain = (sample.end - sample.start) * bool(probability >= self._uncertain_below)
        if self._segments:
            segment = self._segments[-1]
            if segment[1] == sample.start < sample.end and segment[2] == label:
                segment[1], segment[3] = sample.end, segment[3] + certain
                return
        if sample.start == sample.end:
            certain = float(probability >= self._uncertain_below)
        self._segments.append([sample.start, sample.end, label, certain])

    def person(self) -> Person:
        self._decide(np.inf)
        segments = [
            Segment(start, end, self._labels[int(label)], certain / ((end - start) or 1.0))
            for start, end, label, certain in self._segments
        ]
        return _person(self._track, segments, self._labels, self._thumbnail)


def _person(track: int, segments: Sequence[Segment], labels: Sequence[str], thumbnail: bytes = b"") -> Person:
    seconds = sum(segment.end - segment.start for segment in segments)
    times = dict.fromkeys(labels, 0.0)
    certain = 0.0
    for segment in segments:
        share = (segment.end - segment.start) / seconds if seconds else 1 / len(segments)
        times[segment.label] += share
        certain += share * segment.certain
    changes = sum(first.label != second.label for first, second in itertools.pairwise(segments))
    rate = 60 * changes / seconds if seconds else 0.0
    return Person(
        track, seconds, times, max(times, key=times.__getitem__), changes, rate, certain, tuple(segments), thumbnail
    )


def together(people: Iterable[Person], labels: Sequence[str]) -> Person:
    """All people as one, each weighted by the time for which it was seen; track is 0, segments are left out."""
    people = list(people)
    seconds = sum(person.seconds for person in people)
    weights = [person.seconds / seconds if seconds else 1 / len(people) for person in people]
    shares = {name: sum(w * p.shares[name] for w, p in zip(weights, people, strict=True)) for name in labels}
    certain = sum(weight * person.certain for weight, person in zip(weights, people, strict=True))
    changes = sum(person.changes for person in people)
    rate = 60 * changes / seconds if seconds else 0.0
    return Person(0, seconds, shares, max(shares, key=shares.__getitem__), changes, rate, certain, ())


def _row(name: str, person: Person, names: Sequence[str], others: bool) -> list[str]:
    shares = [percent(person.shares[name]) for name in names]
    if others:
        shares.append(percent(max(1 - sum(person.shares[name] for name in names), 0.0)))
    seen = f"{person.seconds:.1f} s" if person.seconds else "-"
    rate = f"{person.changes_per_minute:.0f}" if person.seconds else "-"
    return [name, seen, *shares, person.dominant, rate, percent(person.certain)]


def _clock(seconds: float) -> str:
    """Such as 12.5 s, 3:05 min or 1:02:03 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value
