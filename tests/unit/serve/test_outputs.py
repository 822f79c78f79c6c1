"""Events, saved faces and recordings are written whole."""

import csv
import dataclasses
import errno
import io
import itertools
import json
import os
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve import outputs
from fer_jax.serve.analysis import FrameResult
from fer_jax.serve.outputs import Events, FaceFolder, Recording, RecordingFolder
from tests import serving, videos

LABELS = ("happy", "sad")


def _result(index=0, faces=2):
    boxes = [np.array([1.25, 2, 30, 40.06]) * track for track in range(1, faces + 1)]
    smoothed = np.float32([0.5, 0.5])
    return FrameResult(
        serving.frame(index),
        [
            serving.tracked(i, box, i % 2, [0.25, 0.75], smoothed=smoothed, crop=np.full((9, 9, 3), i, np.uint8))
            for i, box in enumerate(boxes, 1)
        ],
    )


@pytest.fixture
def places(tmp_path):
    """A folder with what no output can be: a file as a folder, a folder, a pipe."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (Recording, "file/below.mp4", "--record: .* cannot be written .*: name"),
        (Events, "file/below.mp4", "--events: .* cannot be written .*: name"),
        (FaceFolder, "file/below", "--save-faces: .* cannot be written .*: name"),
        (RecordingFolder, "file", r"--record: .*file cannot be written .*: name"),
        (Recording, "out.gif", r"record \.gif: expected a name ending in \.mp4"),
        (Recording, "out", "a file without suffix"),
        (Recording, "folder.mp4", r"folder\.mp4: is a folder"),
        (Recording, "pipe.mp4", r"pipe\.mp4: is a pipe or device"),
    ],
)
def test_places_that_cannot_be_written(make, name, words, places):
    arguments = {Recording: (25.0, False), RecordingFolder: (25.0,), Events: (LABELS,), FaceFolder: (LABELS,)}
    with pytest.raises(UserError, match=words):
        make(str(places / name), *arguments[make])
    outputs.check_writable("--record", places / "new" / "folder")
    assert not list((places / "new" / "folder").iterdir())


def _written(path, *results):
    """What the events of these results are as a file."""
    events = Events(str(path), LABELS)
    for result in results:
        events.write(result)
    events.close()
    return path.read_text(encoding="utf-8")


def test_events_as_json_lines(tmp_path):
    doubtful, second = _result(2).faces
    doubtful = dataclasses.replace(doubtful, doubtful=True)
    results = [_result(0), _result(1, faces=0), FrameResult(_result(2).frame, [doubtful, second])]
    first, empty, last = map(json.loads, _written(tmp_path / "new" / "out.jsonl", *results).splitlines())
    face = {"found": True, "uncertain": False, "probabilities": {"happy": 0.25, "sad": 0.75}}
    assert first == {
        "frame": 0,
        "time": 0.0,
        "source": "clip.mp4",
        "faces": [
            face | {"track": 1, "box": [1.2, 2.0, 30.0, 40.1], "label": "sad"},
            face | {"track": 2, "box": [2.5, 4.0, 60.0, 80.1], "label": "happy"},
        ],
    }
    assert empty == {"frame": 1, "time": 0.04, "source": "clip.mp4", "faces": []}
    assert [face["track"] for face in last["faces"]] == [2], "without what is hardly a face"


def test_events_as_csv(tmp_path):
    text = _written(tmp_path / "out.csv", _result(0), _result(1, faces=0), _result(2, faces=1))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["frame"], row["track"]) for row in rows] == [("0", "1"), ("0", "2"), ("2", "1")]
    columns = "frame time source track left top width height found label uncertain happy sad"
    values = "0 0.0 clip.mp4 1 1.2 2.0 30.0 40.1 True sad False 0.25 0.75"
    assert rows[0] == dict(zip(columns.split(), values.split(), strict=True))


def test_events_get_their_name_when_they_are_whole_and_keep_what_was_there(tmp_path):
    target, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    target.write_text("before", encoding="utf-8")
    part.write_text('{"frame": 0', encoding="utf-8")  # left by a run that was killed
    events = Events(str(target), LABELS)
    events.write(_result(0))
    assert target.read_text(encoding="utf-8") == "before"
    assert part.read_text(encoding="utf-8").endswith("\n"), "a reader must not wait for the end"
    events.close()
    Events(str(target), LABELS).close()  # without a frame nothing is replaced
    assert json.loads(target.read_text(encoding="utf-8"))["frame"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_full_disk_keeps_the_lines_that_are_whole_and_what_was_there(tmp_path, suffix):
    target, part = tmp_path / f"out{suffix}", tmp_path / f"out{suffix}.part"
    target.write_bytes(b"before")
    events = Events(str(target), LABELS)
    with serving.full_disk(5_000):
        with pytest.raises(UserError) as error:
            for i in range(1000):
                events.write(_result(i))
        events.close()
    assert str(error.value).startswith(f"--events={target} cannot be written ({os.strerror(errno.EFBIG)})")
    assert str(part) in str(error.value)
    assert target.read_bytes() == b"before"
    assert part.read_text(encoding="utf-8").endswith("\n")
    assert len(part.read_text(encoding="utf-8").splitlines()) > 5


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110
def test_a_device_is_written_as_it_is():
    events = Events("/dev/full", LABELS)
    with pytest.raises(UserError, match=r"--events=/dev/full cannot be written \(No space left on device\)"):
        events.write(_result(0))
    events.close()
    assert not os.path.exists("/dev/full.part")  # noqa: PTH110


def test_events_on_standard_output_whatever_its_encoding(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    events = Events("-", ("笑", "sad"))
    events.write(_result(0))
    events.close()
    assert json.loads(terminal.buffer.getvalue())["faces"][1]["label"] == "笑"
    assert not terminal.closed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "talk.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "talk.mp4")
    os.link(tmp_path / "talk.mp4", tmp_path / "hard.mp4")
    (tmp_path / "same").symlink_to(tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "flags", "names"),
    [
        (
            ["talk.mp4"],
            ["--record", "--events", "--save-faces"],
            ["talk.mp4", "link.mp4", "hard.mp4", "photos/../talk.mp4", "same/../talk.mp4"],
        ),
        (["photos", "photos/a.jpg"], ["--record", "--save-faces"], ["photos", "same"]),
        (["photos/a.jpg"], ["--record"], ["photos"]),
        (
            ["photos/below/b.jpg", "same/a.jpg"],
            ["--out", "--record"],
            ["photos", "same", "photos/", "same/../photos", "photos/below", "same/below", "same/../photos/below"],
        ),
    ],
)
def test_an_output_that_is_the_input_or_its_folder(folder, inputs, flags, names):
    for flag, name in itertools.product(flags, names):
        with pytest.raises(UserError, match=rf"{flag}=.* would overwrite the input .*(talk\.mp4|photos|same)"):
            outputs.refuse_conflicts([folder / path for path in inputs], {flag: f"{folder}/{name}"})


def test_outputs_that_are_each_other_and_faces_that_are_read(folder):
    (folder / "out").symlink_to(folder / "not_there_yet")
    given = {"--record": str(folder / "not_there_yet"), "--events": str(folder / "out"), "--save-faces": None}
    with pytest.raises(UserError, match=r"--events=.*out and --record=.*not_there_yet are the same place: name two"):
        outputs.refuse_conflicts([], given)
    FaceFolder(folder, LABELS).write(_result(0))
    with pytest.raises(UserError, match=r"--save-faces=.* would overwrite the input .*000000_001_sad\.png"):
        outputs.refuse_conflicts([folder / "000000_001_sad.png"], {"--save-faces": str(folder)})


@pytest.mark.parametrize(
    ("inputs", "given"),
    [
        (["talk.mp4", "photos"], {"--record": "{}/out.mp4", "--events": "-", "--save-faces": "{}/faces"}),
        (["photos/a.jpg"], {"--save-faces": "{}/photos"}),
        (["photos/below/b.jpg", "same/a.jpg"], {"--record": "{}/photos/new.mp4", "--out": "{}/elsewhere"}),
    ],
)
def test_outputs_that_are_apart(folder, inputs, given):
    given = {flag: name.format(folder) for flag, name in given.items()}
    outputs.refuse_conflicts([folder / path for path in inputs], given)


def test_a_write_protected_file_is_not_renamed_over(tmp_path, monkeypatch):
    protected = tmp_path / "out.mp4"
    protected.write_bytes(b"before")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # which an administrator's tests cannot show otherwise
    with pytest.raises(UserError, match=r"--record=.*out.mp4: is write-protected: name another place"):
        Recording(protected, 25.0, live=False)
    with pytest.raises(UserError, match=r"--events=.*out.mp4: is write-protected: name another place"):
        Events(str(protected), LABELS)
    assert protected.read_bytes() == b"before"
    outputs.check_target("--record", tmp_path / "new.mp4")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".mp4", ".mkv", ".webm", ".avi", ".mov"])
def test_what_was_not_written_here_is_kept_and_what_was_is_replaced(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record(path, [0.0])
    assert not outputs.is_foreign(path)
    record(path, [0.0])
    if suffix in (".png", ".jpg"):
        cv2.imwrite(str(path), videos.frames(1)[0])
    else:
        videos.write(path, [0.0], codec="libvpx" if suffix == ".webm" else "mpeg4", tick=videos.MILLISECONDS)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is a picture or video that was not written here"):
        record(path, [0.0])
    assert path.read_bytes() == before
    taken = set()
    names = [outputs.free_path(tmp_path, "a", suffix, taken).name for _ in range(2)]
    assert names == [f"a-2{suffix}", f"a-3{suffix}"]


def test_saved_faces_are_as_they_were_classified_and_those_of_one_run(tmp_path):
    (tmp_path / "notes.png").write_bytes(b"not of this program")
    for labels, indices in ((("happy", "sad"), (0, 1, 2)), (("joy/glee", "grief"), (1,))):
        faces = FaceFolder(tmp_path, labels)
        for index in indices:
            faces.write(_result(index))
    FaceFolder(tmp_path, LABELS)  # a run that ends before its first frame
    names = ["000001_001_grief.png", "000001_002_joy-glee.png", "notes.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / names[1])), np.full((9, 9, 3), 2))


@pytest.mark.parametrize(
    "content", [b"a text", cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()], ids=["text", "picture"]
)
def test_saved_faces_never_replace_what_was_not_written_here(tmp_path, content):
    (tmp_path / "000007_001_mine.png").write_bytes(content)
    with pytest.raises(UserError, match="mine\\.png was not written here"):
        FaceFolder(tmp_path, LABELS)
    assert (tmp_path / "000007_001_mine.png").read_bytes() == content


def record(path, times, rate=25.0, live=False, size=(64, 48), images=None, duration=0.0):
    """A recording of frames at these times, of which the last one says its `duration`."""
    made = Recording(path, rate, live)
    for seconds, image in zip(times, images or videos.frames(len(times), size), strict=True):
        made.write(image, serving.frame(time=seconds, duration=duration if seconds == times[-1] else 0.0))
    made.close()


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        *[(suffix, "mp4", "h264") for suffix in (".mp4", ".m4v")],
        (".mov", "mov", "h264"),
        (".mkv", "matroska", "h264"),
        (".webm", "webm", "vp8"),
        (".avi", "avi", "mpeg4"),
    ],
)
def test_a_recording_has_the_source_s_frames_size_and_rate_and_browsers_play_it(tmp_path, suffix, container, codec):
    """They play H.264 and VP8 with 4:2:0 colors; of an mp4 file from the first bytes on, if its index comes first."""
    made = Recording(tmp_path / "new" / f"out{suffix}", 12.5, live=False)
    for i in range(20):
        made.write(np.full((48, 64, 3), 10 * i, np.uint8), serving.frame(time=i / 12.5))
    assert not made.path.exists(), "it has its name only when it is whole"
    made.close()
    frames = serving.frames_of(made.path)
    assert len(frames) == 20
    np.testing.assert_allclose([shown.mean() for shown in frames], np.arange(0, 200, 10), atol=8)
    assert frames[0].shape == (48, 64, 3)
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    with av.open(str(made.path)) as written:
        stream = written.streams.video[0]
        assert container in written.format.name
        assert float(stream.average_rate) == pytest.approx(12.5, rel=0.01)
        assert (stream.codec_context.name.replace("libvpx", "vp8"), stream.codec_context.pix_fmt) == (codec, "yuv420p")
    data = made.path.read_bytes()
    assert container != "mp4" or data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("rate", [0.5, 7.3, 29.97, 211.222, 999.0])
def test_any_rate_can_be_recorded_and_lasts_as_long(tmp_path, suffix, rate):
    record(tmp_path / f"out{suffix}", [i / rate for i in range(30)], rate)
    assert len(videos.times_of(tmp_path / f"out{suffix}")) == 30
    assert videos.duration_of(tmp_path / f"out{suffix}") == pytest.approx(30 / rate, abs=2 / rate + 0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_variable_rates_keep_their_times_and_the_last_frame_its_duration(tmp_path, suffix):
    times = [0.0, 0.04, 0.5, 0.52, 1.7, 2.9]
    record(tmp_path / f"out{suffix}", times, duration=1.5)
    np.testing.assert_allclose(videos.times_of(tmp_path / f"out{suffix}"), times, atol=2e-3)
    if suffix != ".webm":  # which has no place for the last frame's duration
        assert videos.duration_of(tmp_path / f"out{suffix}") == pytest.approx(4.4, abs=0.05)


def test_frames_of_one_time_are_all_written_and_pauses_of_a_live_source_cut(tmp_path):
    record(tmp_path / "same.mp4", [0.0, 0.0, 0.0, 0.04])
    assert len(videos.times_of(tmp_path / "same.mp4")) == 4
    record(tmp_path / "out.mp4", [0.0, 0.1, 0.5, 0.7, 60.0, 60.1], rate=10.0, live=True)
    np.testing.assert_allclose(videos.times_of(tmp_path / "out.mp4"), [0, 0.1, 0.5, 0.7, 0.8, 0.9], atol=1e-3)


def test_without_an_encoder_that_browsers_know_it_says_so(tmp_path, monkeypatch, caplog):
    absent = outputs.Encoder("no_such_encoder", {})
    made = outputs.FORMATS[".mp4"]
    monkeypatch.setitem(outputs.FORMATS, ".mp4", outputs.Format(made.muxer, (absent, made.encoders[-1])))
    record(tmp_path / "out.mp4", [i / 25 for i in range(5)])
    assert "browsers do not play .mp4 with mpeg4" in caplog.text
    assert len(videos.times_of(tmp_path / "out.mp4")) == 5
    monkeypatch.setitem(outputs.FORMATS, ".mp4", outputs.Format(made.muxer, (absent,)))
    with pytest.raises(UserError, match=r"cannot be written \(this FFmpeg has none of the encoders no_such_encoder\)"):
        record(tmp_path / "none.mp4", [0.0])
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("size", [(65, 48), (64, 49), (1, 1), (1920, 20)])
def test_odd_and_narrow_sizes(tmp_path, size):
    record(tmp_path / "out.mp4", [0.0, 0.04], size=size)
    shown = serving.frames_of(tmp_path / "out.mp4")
    assert [image.shape[:2] for image in shown] == [(size[1] + size[1] % 2, size[0] + size[0] % 2)] * 2
    np.testing.assert_allclose(shown[0][: size[1], : size[0]].mean(), 20, atol=4)


def test_pictures_of_other_sizes_are_fitted_into_the_first_one_s(tmp_path):
    images = [np.full((*shape, 3), 200, np.uint8) for shape in ((48, 64), (100, 100), (10, 300))]
    record(tmp_path / "out.avi", [0.0, 1.0, 2.0], 1.0, images=images)
    frames = serving.frames_of(tmp_path / "out.avi")
    assert {image.shape for image in frames} == {(48, 64, 3)}
    assert frames[1][:, 32].min() > 180
    assert frames[1][:, :6].max() < 20


@pytest.mark.parametrize("name", ["a:b.mp4", "100%03d.mp4", "caf\udce9.webm", "100%03d.png", "caf\udce9.png"])
def test_names_of_any_characters(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    record(tmp_path / name, [0.0], images=[image])
    (path,) = tmp_path.iterdir()
    assert path.name == name
    if path.suffix == ".png":
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pixels, image)


def test_a_link_keeps_its_place_and_what_it_leads_to_is_written_if_there_is_a_frame(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real.mp4").write_bytes(b"before")
    (tmp_path / "out.mp4").symlink_to(tmp_path / "far" / "real.mp4")
    record(tmp_path / "out.mp4", [])
    assert [path.read_bytes() for path in (tmp_path / "far").iterdir()] == [b"before"]
    (tmp_path / "far" / "real.mp4").unlink()
    record(tmp_path / "out.mp4", [0.0])
    assert (tmp_path / "out.mp4").is_symlink()
    assert len(videos.times_of(tmp_path / "far" / "real.mp4")) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".png"])
def test_a_full_disk_is_one_error_and_keeps_what_was_there(tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"before")
    noise = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), np.uint8)
    made = Recording(target, 25.0, live=False)
    with serving.full_disk(20_000):
        with pytest.raises(UserError, match=rf"cannot be written .*{os.strerror(errno.EFBIG)}") as error:
            for i, image in enumerate(noise):
                made.write(image, serving.frame(i))
            made.close()
        made.close()
    assert len(str(error.value).splitlines()) == 1
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_writer_that_loses_frames_is_found_out(tmp_path, monkeypatch):
    (tmp_path / "out.mp4").write_bytes(b"before")
    made = Recording(tmp_path / "out.mp4", 25.0, live=False)
    for i, image in enumerate(videos.frames(5)):
        made.write(image, serving.frame(i))
    mux = made._video._mux
    monkeypatch.setattr(made._video, "_mux", lambda packets: mux(packets[:-1]))  # the encoder still holds some
    with pytest.raises(UserError, match=r"out.mp4 cannot be written \(\d of 5 frames are in the file\)"):
        made.close()
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_a_killed_recording_left_is_cleared_away(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    host = os.uname().nodename.partition(".")[0]
    stale = tmp_path / f".out.{host}-{child.pid}.tmp.mp4"
    running = tmp_path / f".out.{host}-{os.getppid()}.tmp.mp4"
    other = tmp_path / f".another.{host}-{child.pid}.tmp.mp4"
    for path in (stale, running, other):
        path.touch()
    Recording(tmp_path / "out.mp4", 25.0, live=False).close()
    assert sorted(tmp_path.iterdir()) == sorted([running, other])


def test_a_folder_gets_one_file_for_each_picture_and_video(tmp_path):
    made = RecordingFolder(tmp_path / "out", 25.0)
    for i, name in enumerate(["a.jpg", "a.bmp", "b/a.png", "c.webm", "c.webm", "d.mp4"]):
        made.write(videos.frames(1)[0], serving.frame(i, name=name, starts=i != 4, still=i < 3))
    made.close()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-2.png", "a.jpg", "a.png", "c.mp4", "d.mp4"]
    assert videos.times_of(tmp_path / "out" / "c.mp4") == pytest.approx([0, 0.04])
    assert len(videos.times_of(tmp_path / "out" / "d.mp4")) == 1
