"""What happened in a video: shares of real time, changes where they happened."""

import json
import re

import numpy as np
import pytest

import fer_jax
from fer_jax.errors import UserError
from fer_jax.labels import FER2013
from fer_jax.serve.analysis import FrameResult
from fer_jax.serve.frames import Sampling
from fer_jax.serve.summary import BAR, BLOCK, MAX_ROWS, Summarizer, overview, together
from tests import serving, videos

LABELS = ("happy", "sad", "neutral")
# label, and the seconds for which it is shown
PLAY = (("happy", 3.0), ("sad", 1.0), ("neutral", 2.0), ("happy", 4.0))


def _face(track, label, probability=0.9, found=True):
    row = np.full(len(LABELS), (1 - probability) / (len(LABELS) - 1))
    row[LABELS.index(label)] = probability
    crop = np.zeros((20, 20, 3), np.uint8)
    return serving.tracked(track, [10, 10, 20, 20], 0, row, found=found, crop=crop)


def _summed(frames, below=0.5, still=False, labels=LABELS):
    """The summary of frames [(seconds, faces)]."""
    summarizer = Summarizer(labels, below)
    for i, (time, faces) in enumerate(frames):
        frame = serving.frame(i, time, name="talk.mp4", starts=not i or still, duration=0.04, still=still)
        summarizer.add(FrameResult(frame, faces))
    return summarizer.summary("talk.mp4")


def _played(seconds, play=PLAY):
    """The label at a time."""
    for label, lasts in play:
        if seconds < lasts:
            return label
        seconds -= lasts
    return play[-1][0]


def _written(path, times):
    """A video of one face that shows `PLAY`."""
    grays = [serving.brightness_of(FER2013.index(_played(time))) for time in times]
    return videos.write(path, times, images=[np.full((48, 64, 3), gray, np.uint8) for gray in grays])


def _check(person):
    total = sum(lasts for _, lasts in PLAY)
    for name in set(LABELS):
        expected = sum(lasts for label, lasts in PLAY if label == name) / total
        assert person.shares[name] == pytest.approx(expected, abs=0.05)
    assert [segment.label for segment in person.segments] == [label for label, _ in PLAY]
    starts = np.cumsum([0.0, *(lasts for _, lasts in PLAY)])
    np.testing.assert_allclose([segment.start for segment in person.segments], starts[:-1], atol=0.3)
    np.testing.assert_allclose(person.segments[-1].end, starts[-1], atol=0.3)
    assert (person.changes, person.dominant, person.certain) == (3, "happy", 1.0)
    assert person.seconds == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("options", [{}, {"every": 5}, {"fps": 5}, {"fps": 4}])
@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_shares_and_boundaries_of_a_video_with_known_labels(brightness_bundle, tmp_path, options, rate):
    times = np.arange(250) / 25
    if rate == "variable":  # as of a screen recorder: many frames, or few
        rng = np.random.default_rng(0)
        times = np.cumsum(rng.choice([0.02, 0.04, 0.12], 400))
        times = np.concatenate([[0.0], times[times < 10]])
    faces = fer_jax.Analyzer(brightness_bundle, "none")(_written(tmp_path / "talk.mp4", times), **options)
    [person] = faces.summary().people
    _check(person)
    assert faces.tracks() == {1: tuple(faces)}


def test_a_part_of_a_video(brightness_bundle, tmp_path):
    path = _written(tmp_path / "talk.mp4", np.arange(250) / 25)
    analyzer = fer_jax.Analyzer(brightness_bundle, "none")
    faces = analyzer(path, start=3.5, end=5.5)
    assert (faces[0].time, faces[0].frame, faces[-1].time) == (3.52, 88, 5.48)
    assert [segment.label for segment in faces.summary().people[0].segments] == ["sad", "neutral"]
    assert faces.summary().seconds == pytest.approx(2, abs=0.04)
    assert faces.summary().start == 3.52
    with pytest.raises(UserError, match="ends before 60 s: give an earlier start"):
        analyzer(path, start=60)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"every": 0}, "every is 0"),
        ({"fps": 0.0}, "fps is 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"start": -1.0}, "start is -1"),
        ({"start": 5.0, "end": 5.0}, "expected a later end"),
    ],
)
def test_samplings_that_cannot_be(options, word):
    with pytest.raises(UserError, match=word):
        Sampling(**options)


def test_who_is_gone_is_not_seen_and_a_short_miss_is():
    seen = [(i / 25, [_face(1, "happy")] if not 50 <= i < 60 and i < 100 else []) for i in range(200)]
    missed = [(time, faces or [_face(1, "happy", found=False)]) for time, faces in seen]
    for frames in (seen, missed):
        [person] = _summed(frames).people
        assert person.seconds == pytest.approx(4.0)
        assert [(s.start, s.end) for s in person.segments] == [(0.0, pytest.approx(4.0))]
    [person] = _summed([(i / 25, [_face(1, "sad")] if i % 100 < 50 else []) for i in range(200)]).people
    assert person.seconds == pytest.approx(4.0)
    assert [(s.start, s.end) for s in person.segments] == [(0.0, pytest.approx(2.0)), (4.0, pytest.approx(6.0))]


def test_a_frame_counts_for_as_long_as_it_is_shown():
    frames = [(0.0, [_face(1, "happy")]), (6.0, [_face(1, "sad")]), (7.0, [_face(1, "neutral")])]
    summary = _summed([*frames, (8.0, [])])
    assert summary.people[0].shares == pytest.approx({"happy": 0.75, "sad": 0.125, "neutral": 0.125})
    assert (summary.seconds, summary.frames) == (pytest.approx(8.04), 4)


def test_single_frames_change_nothing_and_uncertain_ones_are_told():
    rng = np.random.default_rng(0)
    frames = [
        (i / 25, [_face(1, "sad" if rng.random() < 0.15 else "happy", 0.9 if i < 125 else 0.4)]) for i in range(250)
    ]
    [person] = _summed(frames).people
    assert person.changes == 0
    assert person.certain == pytest.approx(0.5, abs=0.05)


def test_the_faces_of_pictures_have_no_time():
    summary = _summed([(0.0, [_face(1, "happy"), _face(2, "sad")]), (1.0, [_face(1, "sad", 0.4)])], still=True)
    assert (summary.seconds, [person.seconds for person in summary.people]) == (0.0, [0.0] * 3)
    assert [person.dominant for person in summary.people] == ["happy", "sad", "sad"]
    assert [person.certain for person in summary.people] == [1, 1, 0]
    assert "3 faces" in str(summary)
    assert "67%" in str(summary).splitlines()[-1]


def test_a_table_of_any_video_has_at_most_25_lines():
    crowd = [_face(i + 1, LABELS[i % 3]) for i in range(200)]
    lines = str(_summed([(i / 25, crowd) for i in range(10)])).splitlines()
    assert len(lines) == MAX_ROWS + 4 <= 25
    assert lines[0] == "talk.mp4: 0.4 s, 200 people"
    assert lines[-1] == f"and {200 - MAX_ROWS} more, see --summary"
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert str(_summed([(0.0, [])])) == "talk.mp4: 0.0 s, 0 people"


def test_a_table_fits_a_terminal_and_shows_shares_as_blocks():
    summary = _summed([(i / 25, [_face(1, "happy" if i < 75 else "sad"), _face(2, "neutral")]) for i in range(100)])
    head, *rows = summary.text(width=76, bars=True).splitlines()[1:]
    assert head.split() == ["face", "seen", "neutral", "other", "mostly", "changes/min", "certain"]
    visible = [re.sub("\x1b[^m]*m", "", row) for row in rows]
    assert {len(row) for row in visible} == {len(head)} and len(head) <= 76
    assert [row.count(BLOCK) for row in rows] == [BAR] * 3
    assert [part.count(BLOCK) for part in rows[0].split("\x1b[38;5;")[1:]] == [9, 3]


def test_several_videos_have_a_line_each():
    videos = [
        (name, len(summary.people), together(summary.people, LABELS))
        for name, summary in (
            ("a/x.mp4", _summed([(i / 25, [_face(1, "sad"), _face(2, "happy")]) for i in range(25)])),
            ("y.mp4", _summed([(0.0, []), (1.0, [])])),
        )
    ]
    head, first, second = overview(videos, LABELS).splitlines()
    assert head.split()[:5] == ["faces", "seen", "happy", "sad", "neutral"]
    assert first.split() == ["2", "2.0", "s", "50%", "50%", "0%", "happy", "0", "100%", "a/x.mp4"]
    assert second.split() == ["0", *["-"] * 7, "y.mp4"]


def test_many_expressions_share_a_column():
    row = np.full(300, 1e-4)
    row[7] = 0.9
    face = serving.tracked(1, [0, 0, 9, 9], 7, row)
    labels = tuple(f"class{i}" for i in range(300))
    head = _summed([(i / 25, [face]) for i in range(3)], labels=labels).table()[0]
    assert "class7" in head
    assert "other" in head
    assert len(head) < 15


def test_as_json_and_as_a_table():
    pandas = pytest.importorskip("pandas")
    summary = _summed([(i / 25, [_face(1, "happy"), _face(2, "sad")]) for i in range(25)])
    found = json.loads(summary.to_json())
    assert (found["source"], found["seconds"], found["frames"], found["labels"]) == ("talk.mp4", 1.0, 25, list(LABELS))
    first, _ = found["people"]
    assert first.keys() == {
        *("track", "seconds", "shares", "dominant", "changes", "changes_per_minute", "certain", "segments")
    }
    assert first["segments"] == [{"start": 0.0, "end": 1.0, "label": "happy", "certain": 1.0}]
    table = summary.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table["happy"]) == [1.0, 0.0]
    assert "<td>sad</td>" in summary._repr_html_()


def test_an_hour_takes_no_more_memory_than_its_changes():
    summarizer = Summarizer(LABELS, 0.5)
    for i in range(8000):
        summarizer.add(FrameResult(serving.frame(i), [_face(1, LABELS[i // 2000 % 3])]))
    [timeline] = summarizer._people.values()
    assert len(timeline._samples) < 40
    assert len(timeline._segments) == 4
