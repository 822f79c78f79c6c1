import csv
import json

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve.analysis import FrameResult, TrackedFace
from fer_jax.serve.outputs import Events, FaceFolder, Recording
from fer_jax.serve.sources import Frame
from tests import serving

LABELS = ("happy", "sad")


def _scene(index=0, faces=2):
    frame = Frame(np.zeros((48, 64, 3), np.uint8), index, index / 25, 0.0, "clip.mp4", not index)
    readings = [
        TrackedFace(
            track,
            np.array([1.25, 2, 30, 40.06]) * track,
            track % 2,
            np.float32([0.25, 0.75]),
            np.float32([0.5, 0.5]),
            False,
            True,
            np.full((9, 9, 3), track, np.uint8),
        )
        for track in range(1, faces + 1)
    ]
    return FrameResult(frame, readings)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".webm"])
def test_a_recording_has_the_source_s_frames_size_and_rate(tmp_path, suffix):
    recording = Recording(tmp_path / "new" / f"out{suffix}", 12.5, live=False)
    for i in range(20):
        recording.write(np.full((48, 64, 3), 10 * i, np.uint8), i / 12.5)
    assert not recording.path.exists(), "it has its name only when it is whole"
    recording.close()
    frames = serving.frames_of(recording.path)
    assert len(frames) == 20
    np.testing.assert_allclose([frame.mean() for frame in frames], np.arange(0, 200, 10), atol=8)
    capture = cv2.VideoCapture(str(recording.path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5, rel=0.01)
    assert frames[0].shape == (48, 64, 3)
    assert [path.name for path in recording.path.parent.iterdir()] == [recording.path.name]


def test_a_live_recording_lasts_as_long_as_what_it_shows_and_cuts_pauses(tmp_path):
    recording = Recording(tmp_path / "out.mp4", 10.0, live=True)
    for time in (0.0, 0.1, 0.5, 0.52, 0.7, 60.0, 60.1):
        recording.write(np.full((48, 64, 3), 100, np.uint8), time)
    recording.close()
    # 0.2 to 0.4 and 0.6 are filled, 0.52 comes too early for a frame of its own, and a minute's pause takes no time
    assert len(serving.frames_of(tmp_path / "out.mp4")) == 8 + 2


def test_pictures_of_other_sizes_are_fitted_into_the_first_one_s(tmp_path):
    recording = Recording(tmp_path / "out.avi", 1.0, live=False)
    for shape in ((48, 64), (100, 100), (10, 300)):
        recording.write(np.full((*shape, 3), 200, np.uint8), 0.0)
    recording.close()
    frames = serving.frames_of(tmp_path / "out.avi")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert frames[1][:, 32].min() > 180
    assert frames[1][:, :6].max() < 20


def test_one_annotated_picture(tmp_path):
    recording = Recording(tmp_path / "out.png", 1.0, live=False)
    image = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    recording.write(image, 0.0)
    recording.close()
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png")), image)


def test_without_a_frame_there_is_no_recording_and_what_was_there_stays(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"before")
    Recording(tmp_path / "out.mp4", 25.0, live=False).close()
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_recordings_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match=r"cannot record \.gif: expected a name ending in \.mp4"):
        Recording(tmp_path / "out.gif", 25.0, live=False)
    with pytest.raises(UserError, match="cannot record a file without suffix"):
        Recording(tmp_path / "out", 25.0, live=False)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match=r"folder\.mp4: is a folder"):
        Recording(tmp_path / "folder.mp4", 25.0, live=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Recording(path, 25.0, live=False),
        lambda path: Events(str(path), LABELS),
        lambda path: FaceFolder(path, LABELS),
    ],
)
def test_places_that_cannot_be_written(make, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--(record|events|save-faces): .* cannot be written \(.*\): name a place"):
        make(tmp_path / "file" / "below.mp4")


def test_events_as_json_lines(tmp_path):
    events = Events(str(tmp_path / "new" / "out.jsonl"), LABELS)
    events.write(_scene(0))
    first = (tmp_path / "new" / "out.jsonl").read_text()
    assert first.endswith("\n"), "a reader must not wait for the end"
    events.write(_scene(1, faces=0))
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "frame": 0,
        "time": 0.0,
        "source": "clip.mp4",
        "faces": [
            {
                "track": 1,
                "box": [1.2, 2.0, 30.0, 40.1],
                "found": True,
                "label": "sad",
                "uncertain": False,
                "probabilities": {"happy": 0.25, "sad": 0.75},
            },
            {
                "track": 2,
                "box": [2.5, 4.0, 60.0, 80.1],
                "found": True,
                "label": "happy",
                "uncertain": False,
                "probabilities": {"happy": 0.25, "sad": 0.75},
            },
        ],
    }
    assert lines[1] == {"frame": 1, "time": 0.04, "source": "clip.mp4", "faces": []}


def test_events_as_csv(tmp_path):
    events = Events(str(tmp_path / "out.csv"), LABELS)
    events.write(_scene(0))
    events.write(_scene(1, faces=0))
    events.write(_scene(2, faces=1))
    events.close()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["track"]) for row in rows] == [("0", "1"), ("0", "2"), ("2", "1")]
    assert rows[0] == {
        "frame": "0",
        "time": "0.0",
        "source": "clip.mp4",
        "track": "1",
        "left": "1.2",
        "top": "2.0",
        "width": "30.0",
        "height": "40.1",
        "found": "True",
        "label": "sad",
        "uncertain": "False",
        "happy": "0.25",
        "sad": "0.75",
    }


def test_events_on_standard_output(capsys):
    events = Events("-", LABELS)
    events.write(_scene(0))
    events.close()
    assert json.loads(capsys.readouterr().out)["frame"] == 0
    print("still open")


def test_faces_are_saved_as_they_were_classified(tmp_path):
    folder = FaceFolder(tmp_path / "faces", LABELS)
    folder.write(_scene(7))
    folder.close()
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == ["000007_001_sad.png", "000007_002_happy.png"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "faces" / "000007_002_happy.png")), np.full((9, 9, 3), 2))
