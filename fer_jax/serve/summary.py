"""Summaries of videos: who was seen for how long, and with which expressions."""

from __future__ import annotations

import collections
import dataclasses
import html
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.serve.analysis import FrameResult, TrackedFace
from fer_jax.serve.overlay import colors, percent
from fer_jax.serve.tracker import SURVIVES_SECONDS, SteadyLabel

if TYPE_CHECKING:
    import pandas as pd

# Expressions are averaged over half a second around each moment. What comes after is known here, so that a change is
# where it happened; the average of a live video lags by about as much.
HALF_WINDOW_SECONDS = 0.25
THUMBNAIL_SIDE = 64  # pixels
MAX_ROWS = 18  # of a printed table
MAX_COLUMNS = 8  # expressions in it; the rest are "other"
BAR, BLOCK = 12, "\N{FULL BLOCK}"  # of a terminal, for the shares


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
    segments: tuple[Segment, ...] = dataclasses.field(repr=False)
    thumbnail: bytes = dataclasses.field(default=b"", repr=False)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The summary of a video, or of a picture.

    Attributes:
      source: what was analyzed: a path, or "<memory>".
      start: where that begins, in seconds from the first frame.
      seconds: its duration; 0 for a picture.
      frames: how many were analyzed.
      labels: names of the expressions in the model's order.
      people: in the order in which they appear.
    """

    source: str
    start: float
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
        plain = ("track", "seconds", "dominant", "changes", "changes_per_minute", "certain")
        rows = [{name: getattr(person, name) for name in plain} | person.shares for person in self.people]
        return data_frame(rows, [*plain, *self.labels])

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{self.heading()}>"

    def text(self, width: int = 0, bars: bool = False) -> str:
        """A table of at most `MAX_ROWS` people, those who are seen longest, with a line for all together.

        Args:
          width: columns of the terminal, into which the shares of fewer expressions may fit; 0 is without limit.
          bars: whether the shares stand at each line's end as blocks in the expressions' colors, for a terminal.
        """
        rows, total = self._rows()
        lines = [self.heading(), *(_laid_out("face", rows, total, self.labels, width, bars) if rows else [])]
        if len(self.people) > MAX_ROWS:
            lines.append(f"and {len(self.people) - MAX_ROWS} more, see --summary")
        return "\n".join(lines)

    def _rows(self) -> tuple[list[tuple[str, Person]], Person]:
        """The people of the table by number, with all together as the last, and these."""
        total = together(self.people, self.labels)
        rows = [(str(person.track), person) for person in self.longest(MAX_ROWS)]
        return [*rows, ("all", total)] if len(self.people) > 1 else rows, total

    def heading(self) -> str:
        """The name of the source without its folders, its duration and the number of its people in a line."""
        name = pathlib.PurePath(self.source).name or self.source
        one = len(self.people) == 1
        if not self.seconds:
            return f"{name}: {len(self.people)} face{'' if one else 's'}"
        return f"{name}: {_clock(self.seconds)}, {len(self.people)} {'person' if one else 'people'}"

    def longest(self, count: int) -> list[Person]:
        """The people who are seen longest, `count` at most, in the order in which they appear."""
        kept = {person.track for person in sorted(self.people, key=lambda person: -person.seconds)[:count]}
        return [person for person in self.people if person.track in kept]

    def table(self) -> list[list[str]]:
        """The cells of the printed table, its head first."""
        return _cells("face", *self._rows(), self.labels, MAX_COLUMNS)

    def _repr_html_(self) -> str:
        """The heading and the table, for a notebook."""
        return f"<p>{html.escape(self.heading())}</p>{self.html_table()}"

    def html_table(self) -> str:
        """The table as an HTML element."""
        rows = [[html.escape(cell) for cell in row] for row in self.table()]
        head = "".join(f"<th>{cell}</th>" for cell in rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows[1:])
        return f"<table><tr>{head}</tr>{body}</table>"


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
        self._start, self._seconds, self._frames = 0.0, 0.0, 0

    def add(self, result: FrameResult) -> None:
        """Take in the next frame."""
        if self._before and not result.frame.starts:
            self._period = max(result.frame.time - self._before.frame.time, 0.0)
        self._close(result.frame.time if not result.frame.starts else None)
        if not self._frames and not result.frame.still:
            self._start = result.frame.time
        self._before = result
        self._frames += 1

    def summary(self, source: str) -> Summary:
        """The summary until the last frame, which is taken to end after its duration; nothing can be added then."""
        self._close(None)
        people = [timeline.person() for timeline in self._people.values()]
        return Summary(source, self._start, self._seconds, self._frames, self._labels, tuple(people))

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
        height, width = before.frame.image.shape[:2]
        for face in before.faces:
            if face.doubtful or not face.found:
                continue
            key = (before.frame.index, face.track) if still else (0, face.track)
            if key not in self._people:
                track = len(self._people) if still else face.track
                self._people[key] = _Timeline(track, self._labels, self._uncertain_below)
            x, y, w, h = face.box.tolist()
            self._people[key].add(start, end, face, min(x, y, width - x - w, height - y - h) >= 0)


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
            probabilities = np.concatenate([s.probabilities for s in self._samples])
            mean = weights @ probabilities.reshape(len(weights), -1) / weights.sum()
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


def _person(track: int, segments: Sequence[Segment], labels: Sequence[str], thumbnail: bytes) -> Person:
    seconds = sum(segment.end - segment.start for segment in segments)
    times = dict.fromkeys(labels, 0.0)
    certain = 0.0
    for segment in segments:
        share = (segment.end - segment.start) / seconds if seconds else 1 / len(segments)
        times[segment.label] += share
        certain += share * segment.certain
    changes = sum(first.label != second.label for first, second in itertools.pairwise(segments))
    rate = 60 * changes / seconds if seconds else 0.0
    dominant = max(times, key=times.__getitem__)
    return Person(track, seconds, times, dominant, changes, rate, certain, tuple(segments), thumbnail)


def together(people: Iterable[Person], labels: Sequence[str]) -> Person:
    """All people as one, each weighted by the time for which it was seen: track 0, no segments, no dominant of none."""
    people = list(people)
    seconds = sum(person.seconds for person in people)
    weights = [person.seconds / seconds if seconds else 1 / len(people) for person in people]
    shares = {name: sum(w * p.shares[name] for w, p in zip(weights, people, strict=True)) for name in labels}
    certain = sum(weight * person.certain for weight, person in zip(weights, people, strict=True))
    changes = sum(person.changes for person in people)
    rate = 60 * changes / seconds if seconds else 0.0
    dominant = max(shares, key=shares.__getitem__) if people else ""
    return Person(0, seconds, shares, dominant, changes, rate, certain, ())


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """The rows as a table of pandas; UserError where that is not installed."""
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from None
    return pd.DataFrame(rows, columns=list(columns))


def overview(
    videos: Sequence[tuple[str, int, Person]], labels: Sequence[str], width: int = 0, bars: bool = False
) -> str:
    """A line for each of several videos: its people `together`, their number and the video's name.

    Args:
      videos: the name, the number of people, and all of them together.
      labels: names of the expressions in the model's order.
      width, bars: see `Summary.text`; the names are as long as they are.
    """
    rows = [(str(count), person) for _, count, person in videos]
    total = together([person for _, _, person in videos], labels)
    lines = _laid_out("faces", rows, total, labels, width, bars)
    names = ["source", *(name for name, _, _ in videos)]
    return "\n".join(f"{line}  {name}" for line, name in zip(lines, names, strict=True))


def _laid_out(
    first: str, rows: Sequence[tuple[str, Person]], total: Person, labels: Sequence[str], width: int, bars: bool
) -> list[str]:
    """The lines of a table, in columns, of as many expressions as fit into `width`."""
    for expressions in range(MAX_COLUMNS, 0, -1):
        cells = _cells(first, rows, total, labels, expressions)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        taken = sum(widths) + 2 * len(widths) - 2 + (BAR + 2) * bars
        if not width or taken <= width:
            break
    lines = ["  ".join(cell.rjust(wide) for cell, wide in zip(row, widths, strict=True)) for row in cells]
    if bars:
        ends = [" " * BAR, *(_blocks(person, labels) for _, person in rows)]
        lines = [f"{line}  {end}" for line, end in zip(lines, ends, strict=True)]
    return lines


def _cells(
    first: str, rows: Sequence[tuple[str, Person]], total: Person, labels: Sequence[str], expressions: int
) -> list[list[str]]:
    """The cells of a table, its head first: the shares of the most frequent expressions, and of the others together."""
    names = sorted(labels, key=lambda name: -total.shares[name])[:expressions]
    names = [name for name in labels if name in names]
    others = ["other"] if len(names) < len(labels) else []
    cells = [[first, "seen", *names, *others, "mostly", "changes/min", "certain"]]
    for name, person in rows:
        shares = [person.shares[name] for name in names]
        shares += [max(sum(person.shares.values()) - sum(shares), 0.0)] if others else []
        seen, rate = (f"{person.seconds:.1f} s", f"{person.changes_per_minute:.0f}") if person.seconds else ("-", "-")
        if person.dominant:
            cells.append([name, seen, *map(percent, shares), person.dominant, rate, percent(person.certain)])
        else:
            cells.append([name, *["-"] * (len(cells[0]) - 1)])
    return cells


def _blocks(person: Person, labels: Sequence[str]) -> str:
    """The shares as `BAR` blocks in the expressions' colors, of the 6x6x6 that terminals have from number 16 on."""
    text, start = "", 0
    ends = (round(BAR * end) for end in itertools.accumulate(person.shares[name] for name in labels))
    for color, end in zip(colors(labels), ends, strict=True):
        blue, green, red = (round(value / 51) for value in color)
        if end > start:
            text += f"\x1b[38;5;{16 + 36 * red + 6 * green + blue}m{BLOCK * (end - start)}"
        start = end
    return f"{text}\x1b[0m"


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
