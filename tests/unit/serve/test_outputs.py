"""Events, saved faces and recordings are written whole."""

import csv
import dataclasses
import errno
import io
import json
import os
import sys

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve import outputs, recording
from fer_jax.serve.analysis import FrameResult, TrackedFace
from fer_jax.serve.frames import Frame
from fer_jax.serve.outputs import Events, FaceFolder
from fer_jax.serve.recording import Recording
from tests import serving, videos

LABELS = ("happy", "sad")


def _result(index=0, faces=2):
    frame = Frame(np.zeros((48, 64, 3), np.uint8), index, index / 25, 0.0, "clip.mp4", not index)
    faces = [
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
    return FrameResult(frame, faces)


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
    events.write(_result(0))
    first = (tmp_path / "new" / "out.jsonl.part").read_text(encoding="utf-8")
    assert first.endswith("\n"), "a reader must not wait for the end"
    events.write(_result(1, faces=0))
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_text(encoding="utf-8").splitlines()]
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


def test_events_leave_out_what_is_hardly_a_face(tmp_path):
    first, second = _result(0).faces
    events = Events(str(tmp_path / "out.jsonl"), LABELS)
    events.write(FrameResult(_result(0).frame, [dataclasses.replace(first, doubtful=True), second]))
    events.close()
    [face] = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["faces"]
    assert face["track"] == 2


def test_events_as_csv(tmp_path):
    events = Events(str(tmp_path / "out.csv"), LABELS)
    events.write(_result(0))
    events.write(_result(1, faces=0))
    events.write(_result(2, faces=1))
    events.close()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
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


def test_events_get_their_name_when_they_are_whole_and_keep_what_was_there(tmp_path):
    (tmp_path / "out.jsonl").write_text("before", encoding="utf-8")
    events = Events(str(tmp_path / "out.jsonl"), LABELS)
    events.write(_result(0))
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "before"
    events.close()
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["frame"] == 0
    Events(str(tmp_path / "out.jsonl"), LABELS).close()
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["frame"] == 0, (
        "without a frame nothing is replaced"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / "out.jsonl.part").write_text('{"frame": 0', encoding="utf-8")
    events = Events(str(tmp_path / "out.jsonl"), LABELS)
    events.write(_result(0, faces=0))
    events.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_full_disk_keeps_the_lines_that_are_whole_and_what_was_there(tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"before")
    script = (
        "import sys\nfrom fer_jax.errors import UserError\nfrom fer_jax.serve.outputs import Events\n"
        "from tests.unit.serve.test_outputs import LABELS, _result\nevents = Events(sys.argv[1], LABELS)\n"
        "try:\n    for i in range(1000):\n        events.write(_result(i))\nexcept UserError as error:\n"
        "    events.close()\n    print(error)\n    sys.exit(2)\n"
    )
    done = serving.run_on_full_disk(script, target, 5_000)
    assert done.returncode == 2, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"--events={target} cannot be written ({os.strerror(errno.EFBIG)})")
    assert target.read_bytes() == b"before"
    part = tmp_path / f"out{suffix}.part"
    assert part.read_text(encoding="utf-8").endswith("\n")
    assert len(part.read_text(encoding="utf-8").splitlines()) > 5
    assert str(part) in line


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110
def test_a_device_is_written_as_it_is():
    events = Events("/dev/full", LABELS)
    with pytest.raises(UserError, match=r"--events=/dev/full cannot be written \(No space left on device\)"):
        events.write(_result(0))
    events.close()
    assert not os.path.exists("/dev/full.part")  # noqa: PTH110


def test_a_label_with_a_slash(tmp_path):
    folder = FaceFolder(tmp_path / "faces", ("happy/glad", "sad"))
    folder.write(_result(0))
    assert "000000_002_happy-glad.png" in [path.name for path in (tmp_path / "faces").iterdir()]


def test_events_on_a_terminal_of_another_encoding(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    events = Events("-", ("笑", "sad"))
    events.write(_result(0))
    events.close()
    assert "笑" in terminal.buffer.getvalue().decode("utf-8")


def test_events_on_standard_output(capsys):
    events = Events("-", LABELS)
    events.write(_result(0))
    events.close()
    assert json.loads(capsys.readouterr().out)["frame"] == 0
    print("still open")


def test_faces_are_saved_as_they_were_classified(tmp_path):
    folder = FaceFolder(tmp_path / "faces", LABELS)
    folder.write(_result(7))
    folder.close()
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == ["000007_001_sad.png", "000007_002_happy.png"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "faces" / "000007_002_happy.png")), np.full((9, 9, 3), 2))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "talk.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "talk.mp4")
    os.link(tmp_path / "talk.mp4", tmp_path / "hard.mp4")
    (tmp_path / "same").symlink_to(tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize("name", ["talk.mp4", "link.mp4", "hard.mp4", "photos/../talk.mp4", "same/../talk.mp4"])
@pytest.mark.parametrize("flag", ["--record", "--events", "--save-faces"])
def test_an_output_that_is_the_input(folder, flag, name):
    with pytest.raises(UserError, match=rf"{flag}=.* would overwrite the input .*talk.mp4: name another place"):
        outputs.refuse_conflicts([folder / "talk.mp4"], {flag: str(folder / name)})


@pytest.mark.parametrize("flag", ["--record", "--save-faces"])
@pytest.mark.parametrize("name", ["photos", "same"])
def test_an_output_that_is_the_folder_of_the_input(folder, flag, name):
    with pytest.raises(UserError, match="would overwrite the input"):
        outputs.refuse_conflicts([folder / "photos", folder / "photos" / "a.jpg"], {flag: str(folder / name)})


def test_recordings_of_a_picture_go_to_another_folder(folder):
    with pytest.raises(UserError, match="would overwrite the input"):
        outputs.refuse_conflicts([folder / "photos" / "a.jpg"], {"--record": str(folder / "photos")})
    outputs.refuse_conflicts([folder / "photos" / "a.jpg"], {"--save-faces": str(folder / "photos")})


def test_outputs_that_are_each_other(folder):
    (folder / "out").symlink_to(folder / "not_there_yet")
    given = {"--record": str(folder / "not_there_yet"), "--events": str(folder / "out"), "--save-faces": None}
    with pytest.raises(UserError, match=r"--events=.*out and --record=.*not_there_yet are the same place: name two"):
        outputs.refuse_conflicts([], given)


def test_outputs_that_are_apart(folder):
    given = {"--record": str(folder / "out.mp4"), "--events": "-", "--save-faces": str(folder / "faces")}
    outputs.refuse_conflicts([folder / "talk.mp4", folder / "photos"], given)


def test_a_place_that_cannot_be_written(folder):
    with pytest.raises(UserError, match=r"--record: .*talk.mp4 cannot be written \(.*\): name a place where you may"):
        outputs.check_writable("--record", folder / "talk.mp4")
    outputs.check_writable("--record", folder / "new" / "folder")
    assert not list((folder / "new" / "folder").iterdir())


def test_a_write_protected_file_is_not_renamed_over(tmp_path, monkeypatch):
    protected = tmp_path / "out.mp4"
    protected.write_bytes(b"before")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # which an administrator's tests cannot show otherwise
    labels = ("happy", "sad")
    for make, flag in (
        (lambda: recording.Recording(protected, 25.0, live=False), "--record"),
        (lambda: outputs.Events(str(protected), labels), "--events"),
    ):
        with pytest.raises(UserError, match=f"{flag}=.*out.mp4: is write-protected: name another place"):
            make()
    assert protected.read_bytes() == b"before"
    outputs.check_target("--record", tmp_path / "new.mp4")


@pytest.mark.parametrize("value", ["photos", "same", "photos/", "same/../photos"])
def test_copies_go_to_no_folder_of_the_inputs(folder, value):
    (folder / "photos" / "below").mkdir()
    inputs = [folder / "photos" / "below" / "b.jpg", folder / "same" / "a.jpg"]
    for path in inputs:
        path.touch()
    for flag in ("--out", "--record"):
        with pytest.raises(UserError, match=f"{flag}=.* would overwrite the input"):
            outputs.refuse_conflicts(inputs, {flag: str(folder / value)})
        with pytest.raises(UserError, match="would overwrite the input"):
            outputs.refuse_conflicts(inputs, {flag: str(folder / value / "below")})
        outputs.refuse_conflicts(inputs, {flag: str(folder / "elsewhere")})
    outputs.refuse_conflicts(inputs, {"--record": str(folder / "photos" / "new.mp4")})


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".mp4", ".mkv", ".webm", ".avi", ".mov"])
def test_what_was_not_written_here_is_kept_and_what_was_is_replaced(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    image = np.full((48, 64, 3), 90, np.uint8)

    def record():
        made = recording.Recording(path, 25.0, live=False)
        made.write(image, Frame(image, 0, 0.0, 0.0, "x", True))
        made.close()

    record()
    assert not outputs.is_foreign(path)
    record()
    if suffix in (".png", ".jpg"):
        path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    else:
        videos.write(path, [0.0], codec="libvpx" if suffix == ".webm" else "mpeg4", tick=videos.MILLISECONDS)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is a picture or video that was not written here"):
        record()
    assert path.read_bytes() == before
    taken = set()
    assert recording.free_path(tmp_path, "a", suffix, taken) == tmp_path / f"a-2{suffix}"
    assert recording.free_path(tmp_path, "a", suffix, taken) == tmp_path / f"a-3{suffix}"


def test_saved_faces_of_an_earlier_run_are_replaced_and_other_pictures_kept(tmp_path):
    for labels in (("happy", "sad"), ("joy", "grief")):
        faces = FaceFolder(tmp_path, labels)
        faces.write(_result(0))
        faces.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000_001_grief.png", "000000_002_joy.png"]
    (tmp_path / "000007_001_mine.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    with pytest.raises(UserError, match="mine\\.png was not written here"):
        FaceFolder(tmp_path, ("happy", "sad"))
