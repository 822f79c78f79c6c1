"""Recordings last as long as their source, play in browsers, and are checked before they get their name."""

import errno
import os
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve import recording
from fer_jax.serve.frames import Frame
from fer_jax.serve.recording import Recording, RecordingFolder
from tests import serving, videos


def frame(seconds=0.0, **given):
    return Frame(np.zeros((48, 64, 3), np.uint8), 0, seconds, 0.0, "clip.mp4", False, **given)


def record(path, times, rate=25.0, live=False, size=(64, 48), images=None, durations=None):
    made = Recording(path, rate, live)
    for i, (seconds, image) in enumerate(zip(times, images or videos.frames(len(times), size), strict=True)):
        made.write(image, frame(seconds, duration=durations[i] if durations else 0.0))
    made.close()
    return made


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".avi", ".mkv", ".mov", ".webm"])
def test_a_recording_has_the_source_s_frames_size_and_rate(tmp_path, suffix):
    made = Recording(tmp_path / "new" / f"out{suffix}", 12.5, live=False)
    for i in range(20):
        made.write(np.full((48, 64, 3), 10 * i, np.uint8), frame(i / 12.5))
    assert not made.path.exists(), "it has its name only when it is whole"
    made.close()
    frames = serving.frames_of(made.path)
    assert len(frames) == 20
    np.testing.assert_allclose([shown.mean() for shown in frames], np.arange(0, 200, 10), atol=8)
    assert cv2.VideoCapture(str(made.path)).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5, rel=0.01)
    assert frames[0].shape == (48, 64, 3)
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("rate", [0.5, 1.0, 7.3, 29.97, 60.0, 211.222, 239.76, 999.0])
def test_any_rate_can_be_recorded_and_lasts_as_long(tmp_path, suffix, rate):
    record(tmp_path / f"out{suffix}", [i / rate for i in range(30)], rate)
    assert len(videos.times_of(tmp_path / f"out{suffix}")) == 30
    assert videos.duration_of(tmp_path / f"out{suffix}") == pytest.approx(30 / rate, abs=2 / rate + 0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_variable_rates_keep_their_times_and_the_last_frame_its_duration(tmp_path, suffix):
    times = [0.0, 0.04, 0.5, 0.52, 1.7, 2.9]
    record(tmp_path / f"out{suffix}", times, durations=[0.04] * 5 + [1.5])
    np.testing.assert_allclose(videos.times_of(tmp_path / f"out{suffix}"), times, atol=2e-3)
    if suffix != ".webm":  # which has no place for the last frame's duration
        assert videos.duration_of(tmp_path / f"out{suffix}") == pytest.approx(4.4, abs=0.05)


def test_frames_of_one_time_are_all_written(tmp_path):
    record(tmp_path / "out.mp4", [0.0, 0.0, 0.0, 0.04])
    assert len(videos.times_of(tmp_path / "out.mp4")) == 4


def test_a_live_recording_keeps_its_times_and_cuts_pauses(tmp_path):
    record(tmp_path / "out.mp4", [0.0, 0.1, 0.5, 0.7, 60.0, 60.1], rate=10.0, live=True)
    np.testing.assert_allclose(videos.times_of(tmp_path / "out.mp4"), [0, 0.1, 0.5, 0.7, 0.8, 0.9], atol=1e-3)


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [(".mp4", "mp4", "h264"), (".mov", "mov", "h264"), (".mkv", "matroska", "h264"), (".webm", "webm", "vp8")],
)
def test_browsers_play_it(tmp_path, suffix, container, codec):
    """They play H.264 and VP8 with 4:2:0 colors; of an mp4 file from the first bytes on, if its index comes first."""
    record(tmp_path / f"out{suffix}", [0.0, 0.04])
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        stream = made.streams.video[0]
        assert container in made.format.name
        assert (stream.codec_context.name.replace("libvpx", "vp8"), stream.codec_context.pix_fmt) == (codec, "yuv420p")
    if suffix == ".mp4":
        data = (tmp_path / "out.mp4").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")


def test_without_an_encoder_that_browsers_know_it_says_so(tmp_path, monkeypatch, caplog):
    absent = recording.Encoder("no_such_encoder", {})
    made = recording.FORMATS[".mp4"]
    monkeypatch.setitem(recording.FORMATS, ".mp4", recording.Format(made.muxer, (absent, made.encoders[-1])))
    record(tmp_path / "out.mp4", [i / 25 for i in range(5)])
    assert "browsers do not play .mp4 with mpeg4" in caplog.text
    assert len(videos.times_of(tmp_path / "out.mp4")) == 5
    monkeypatch.setitem(recording.FORMATS, ".mp4", recording.Format(made.muxer, (absent,)))
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


def test_one_annotated_picture(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    record(tmp_path / "caf\udce9.png", [0.0], 1.0, images=[image])
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), image)


@pytest.mark.parametrize("name", ["a:b.mp4", "100%03d.mp4", "caf\udce9.webm", "100%03d.png"])
def test_names_of_any_characters(tmp_path, name):
    record(tmp_path / name, [0.0])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_keeps_its_place_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out.mp4").symlink_to(tmp_path / "far" / "real.mp4")
    record(tmp_path / "out.mp4", [0.0])
    assert (tmp_path / "out.mp4").is_symlink()
    assert len(videos.times_of(tmp_path / "far" / "real.mp4")) == 1


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
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(UserError, match=r"pipe\.mp4: is a pipe or device"):
            Recording(tmp_path / "pipe.mp4", 25.0, live=False)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".png"])
def test_a_full_disk_is_one_error_and_keeps_what_was_there(tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"before")
    script = (
        "import sys\nimport numpy as np\nfrom fer_jax.errors import UserError\n"
        "from fer_jax.serve.frames import Frame\nfrom fer_jax.serve.recording import Recording\n"
        "made = Recording(sys.argv[1], 25.0, False)\nrng = np.random.default_rng(0)\ntry:\n"
        "    for i in range(60):\n"
        "        image = rng.integers(0, 256, (240, 320, 3), np.uint8)\n"
        "        made.write(image, Frame(image, i, i / 25, 0.0, 'x', not i))\n"
        "    made.close()\nexcept UserError as error:\n    print(error)\n    made.close()\n    sys.exit(2)\n"
    )
    done = serving.run_on_full_disk(script, target, 20_000)
    assert done.returncode == 2, done.stderr
    (line,) = done.stdout.splitlines()
    assert "cannot be written" in line
    assert os.strerror(errno.EFBIG) in line
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_writer_that_loses_frames_is_found_out(tmp_path, monkeypatch):
    (tmp_path / "out.mp4").write_bytes(b"before")
    made = Recording(tmp_path / "out.mp4", 25.0, live=False)
    for i, image in enumerate(videos.frames(5)):
        made.write(image, frame(i / 25))
    mux = made._video._mux
    monkeypatch.setattr(made._video, "_mux", lambda packets: mux(packets[:-1]))  # the encoder still holds some
    with pytest.raises(UserError, match=r"out.mp4 cannot be written \(\d of 5 frames are in the file\)"):
        made.close()
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
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
    image = videos.frames(1)[0]
    for i, (name, still) in enumerate(
        [("a.jpg", True), ("a.bmp", True), ("b/a.png", True), ("c.webm", False), ("c.webm", False), ("d.mp4", False)]
    ):
        starts = still or i in (3, 5)
        made.write(image, Frame(image, i, i / 25, 0.0, name, starts, still=still))
    made.close()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-2.png", "a.jpg", "a.png", "c.mp4", "d.mp4"]
    assert videos.times_of(tmp_path / "out" / "c.mp4") == pytest.approx([0, 0.04])
    assert len(videos.times_of(tmp_path / "out" / "d.mp4")) == 1
