"""Every visible frame of a video at its own time, whatever the container's header claims."""

import functools
import sys

import av
import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources, video
from fer_jax.serve.frames import Sampling
from tests import videos


def read(path):
    """A source, its frames, and the error at its end or None."""
    frames = []
    source = sources.open_source(str(path))
    try:
        frames.extend(frame for frame in source if frames.append(frame))
    except UserError as error:
        return source, frames, str(error)
    finally:
        source.close()
    return source, frames, None


def read_whole(path):
    """A source that ends without an error, and its frames."""
    source, frames, error = read(path)
    assert error is None
    return source, frames


def times(frames):
    return [frame.time for frame in frames]


VARIABLE = [0.0, 0.04, 0.08, 0.5, 0.52, 1.7, 2.9]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_variable_frame_rates_keep_the_frames_own_times(tmp_path, suffix):
    codec = "libvpx" if suffix == ".webm" else "libx264"
    path = videos.write(tmp_path / f"clip{suffix}", VARIABLE, codec=codec, tick=videos.MILLISECONDS)
    _, frames = read_whole(path)
    np.testing.assert_allclose(times(frames), VARIABLE, atol=2e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [20 + 5 * i for i in range(7)], atol=4)
    assert [frame.starts for frame in frames] == [True] + [False] * 6


def test_a_browser_s_recording_without_a_duration(tmp_path):
    stamps = np.cumsum([0.0, *[0.03, 0.17] * 20]).tolist()
    path = videos.write(tmp_path / "clip.webm", stamps, codec="libvpx", tick=videos.MILLISECONDS, live="1")
    with av.open(str(path)) as container:
        assert not container.duration
    source, frames = read_whole(path)
    assert source.rate < 100
    np.testing.assert_allclose(times(frames), stamps, atol=2e-3)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".webm", "libvpx")])
def test_a_variable_rate_is_not_called_truncated(tmp_path, suffix, codec):
    stamps = [*np.linspace(0, 0.8, 36).tolist(), 1.5, 2.2, 3.0, 3.8]
    _, frames = read_whole(videos.write(tmp_path / f"clip{suffix}", stamps, codec=codec, tick=videos.MILLISECONDS))
    assert len(frames) == 40
    assert times(frames)[-1] == pytest.approx(3.8, abs=0.01)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".ts"])
def test_a_clip_whose_time_stamps_begin_late_is_whole(tmp_path, suffix):
    stamps = [5 + i / 10 for i in range(20)]
    _, frames, error = read(videos.write(tmp_path / f"cut{suffix}", stamps, rate=10))
    assert (error, len(frames)) == (None, 20)
    assert times(frames)[:3] == pytest.approx([0, 0.1, 0.2], abs=2e-3)


@pytest.mark.parametrize("rate", [211.222, 239.76])
def test_slow_motion(tmp_path, rate):
    path = videos.write(tmp_path / "slow.mp4", [i / rate for i in range(100)], rate=rate)
    source, frames = read_whole(path)
    assert source.rate == pytest.approx(rate, rel=5e-3)
    np.testing.assert_allclose(times(frames), np.arange(100) / rate, atol=1e-4)


def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path):
    whole = videos.write(tmp_path / "whole.mp4", [i / 25 for i in range(75)], gop=25)
    path = videos.trimmed(whole, tmp_path / "trimmed.mp4", 1.2)
    _, frames = read_whole(path)
    assert len(frames) == 45
    np.testing.assert_allclose(times(frames), np.arange(45) / 25, atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames[:3]], [170, 175, 180], atol=4)


def test_transport_streams_put_together(tmp_path):
    one = videos.write(tmp_path / "one.ts", [i / 25 for i in range(50)])
    (tmp_path / "both.ts").write_bytes(one.read_bytes() * 2)
    _, frames = read_whole(tmp_path / "both.ts")
    assert len(frames) == 100
    np.testing.assert_allclose(times(frames), np.arange(100) / 25, atol=1e-3)


def test_the_cover_of_a_piece_of_music_and_a_gif_of_one_frame_are_pictures(tmp_path):
    (tmp_path / "still.gif").write_bytes(cv2.imencode(".gif", videos.frames(1)[0])[1].tobytes())
    for path in (videos.music_with_cover(tmp_path / "song.mp3"), tmp_path / "still.gif"):
        source, frames = read_whole(path)
        assert source.still
        assert [frame.image.shape for frame in frames] == [(48, 64, 3)]


def test_sound_that_goes_on_does_not_make_the_video_truncated(tmp_path):
    path = videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(50)], seconds_of_sound=8.0)
    _, frames = read_whole(path)
    assert len(frames) == 50


def test_music_without_a_picture(tmp_path):
    path = videos.write(tmp_path / "clip.m4v", [i / 25 for i in range(5)], seconds_of_sound=1.0)
    with av.open(str(path)) as given, av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        copy = container.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    with pytest.raises(UserError, match=r"song.m4a: sound only in this file: expected a video or a picture"):
        sources.open_source(str(tmp_path / "song.m4a"))


def test_a_file_that_is_cut_off_gives_what_it_has_and_then_says_so(tmp_path):
    images = list(np.random.default_rng(0).integers(0, 256, (100, 48, 64, 3), np.uint8))
    options = {"images": images, "movflags": "+faststart", "gop": 10}
    data = videos.write(tmp_path / "whole.mp4", [i / 25 for i in range(100)], **options).read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    _, frames, error = read(tmp_path / "half.mp4")
    assert 30 < len(frames) < 70
    for words in ("half.mp4: ends after", "of 4.0 s", "truncated or damaged"):
        assert words in error
    (tmp_path / "nearly.mp4").write_bytes(data[: len(data) * 9 // 10])
    read_whole(tmp_path / "nearly.mp4")  # less than a second is missing


def test_non_square_pixels_are_made_square(tmp_path):
    path = videos.write(tmp_path / "wide.mp4", [i / 25 for i in range(5)], pixel_aspect="16/11")
    _, frames, _ = read(path)
    assert frames[0].image.shape == (48, round(64 * 16 / 11), 3)


def test_frames_of_another_size_are_taken_and_those_of_too_many_pixels_refused(tmp_path, monkeypatch):
    parts = [videos.write(tmp_path / f"{size[0]}.ts", [0.0, 0.04], size=size) for size in ((64, 48), (96, 72))]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(video.VideoFile.of_path(tmp_path / "both.ts"))
    assert [frame.image.shape for frame in frames] == 2 * [(48, 64, 3)] + 2 * [(72, 96, 3)]
    monkeypatch.setattr(images, "check_pixels", functools.partial(images.check_pixels, limit=5000))
    with pytest.raises(UserError, match=r"both\.ts: 6,912 pixels, expected 5,000 at most"):
        list(video.VideoFile.of_path(tmp_path / "both.ts"))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_is_upright(tmp_path, rotation):
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    path = videos.write(tmp_path / "phone.mp4", [0.0, 0.04], images=[marked, marked], rotation=rotation)
    _, frames, _ = read(path)
    expected = cv2.VideoCapture(str(path)).read()[1]
    assert frames[0].image.shape == expected.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    np.testing.assert_allclose(frames[0].image.astype(int), expected, atol=3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_animation_with_exif_is_upright(tmp_path, orientation):
    # a kind of side data that PyAV does not know and would refuse with all others
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    first, second = PIL.Image.fromarray(marked), PIL.Image.fromarray(255 - marked)
    first.save(tmp_path / "still.png", exif=exif)
    for suffix, options in ((".png", {}), (".webp", {"lossless": True})):
        path = tmp_path / f"moving{suffix}"
        first.save(path, save_all=True, append_images=[second], duration=100, exif=exif, **options)
        _, frames = read_whole(path)
        assert len(frames) == 2
        np.testing.assert_array_equal(frames[0].image, images.read(tmp_path / "still.png"))


@pytest.mark.parametrize(("suffix", "codec"), [(".gif", "gif"), (".apng", "apng")])
def test_animations_are_videos(tmp_path, suffix, codec):
    options = {"plays": "0"} if codec == "apng" else {}
    options |= {"codec": codec, "rate": 10, "tick": videos.Fraction(1, 10)}
    path = videos.write(tmp_path / f"moving{suffix}", [i / 10 for i in range(8)], **options)
    source, frames = read_whole(path.rename(path.with_suffix(".png" if codec == "apng" else suffix)))
    assert not source.still
    assert len(frames) == 8
    np.testing.assert_allclose(times(frames), np.arange(8) / 10, atol=1e-2)


def test_an_animated_webp(tmp_path):
    source, frames = read_whole(videos.animated_webp(tmp_path / "moving.webp"))
    assert (source.still, source.rate, len(frames)) == (False, 10, 5)
    np.testing.assert_allclose(times(frames), np.arange(5) / 10)
    (tmp_path / "broken.webp").write_bytes((tmp_path / "moving.webp").read_bytes()[:60])
    with pytest.raises(UserError, match=r"broken.webp: "):
        sources.open_source(str(tmp_path / "broken.webp"))


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "100%03d.mp4", "caf\udce9.mp4", "-dash.mp4", "new\nline.mp4", "'quote.mp4"]
)
def test_names_of_any_characters(tmp_path, name):
    path = videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(5)]).rename(tmp_path / name)
    source, frames = read_whole(path)
    assert len(frames) == 5
    source.name.encode()  # valid Unicode: it goes into events and a window's title


def test_closing_ends_a_source_that_another_thread_reads(tmp_path):
    opened = sources.open_source(str(videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(5)])))
    assert isinstance(opened, video.VideoFile)
    frames = iter(opened)
    next(frames)
    opened.close()
    opened.close()
    assert list(frames) == []


class Capture:
    """What `cv2.VideoCapture` gives: so many frames, then nothing."""

    def __init__(self, frames=0, rate=30.0, count=-1, opens=True, image=None):
        self.left = frames
        self.properties = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: count}
        self.opens = opens
        self.image = np.zeros((6, 8, 3), np.uint8) if image is None else image
        self.released = False

    def isOpened(self):
        return self.opens

    def get(self, key):
        return self.properties.get(key, 0.0)

    def set(self, key, value):
        return False

    def read(self):
        self.left -= 1
        return (True, self.image) if self.left >= 0 else (False, None)

    def release(self):
        self.released = True


def connection(capture, monkeypatch, size=None):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: capture)
    return video.camera(0, "camera 0", size)


@pytest.mark.parametrize("rate", [0.0, float("nan"), -1.0, 90_000.0])
def test_a_rate_that_is_unknown(rate, monkeypatch):
    assert connection(Capture(5, rate), monkeypatch).rate == video.DEFAULT_RATE


def test_a_live_source_that_breaks_off(monkeypatch):
    capture = Capture(3)
    source = connection(capture, monkeypatch)
    frames = []
    with pytest.raises(UserError, match="camera 0 gave no frame after 3: it was unplugged, or the connection broke"):
        frames.extend(frame for frame in source if frames.append(frame))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.starts for frame in frames] == [True, False, False]
    assert times(frames)[0] == 0
    assert times(frames) == sorted(times(frames))
    source.close()
    assert capture.released


class Broken:
    """A connection that gives three images, and another one each time it is opened anew."""

    rate = 25.0

    def __init__(self, refusals=0):
        self.refusals = refusals
        self.opened = self.closed = 0
        self.left = 0

    def connect(self):
        if self.opened and self.refusals:
            self.refusals -= 1
            raise UserError("no answer")
        self.opened += 1
        self.left = 3
        return self

    def read(self):
        self.left -= 1
        return np.zeros((6, 8, 3), np.uint8) if self.left >= 0 else None

    def close(self):
        self.closed += 1


def test_a_broken_connection_is_tried_again_as_long_as_asked_for(monkeypatch, caplog):
    monkeypatch.setattr(video, "RETRY_SECONDS", 0.001)
    broken = Broken(refusals=2)
    source = video.Live("rtsp://cam/live", broken.connect, patience=30.0)
    frames = iter(source)
    seen = [next(frames) for _ in range(7)]
    source.close()
    assert list(frames) == []
    assert [frame.starts for frame in seen] == [True, False, False, True, False, False, True]
    assert [frame.index for frame in seen] == list(range(7))
    assert broken.opened == broken.closed == 3
    assert "rtsp://cam/live: the connection broke, trying again for 30 s" in caplog.text


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(video, "RETRY_SECONDS", 0.001)
    source = video.Live("rtsp://cam/live", Broken(refusals=10**6).connect, patience=0.02)
    with pytest.raises(UserError, match="rtsp://cam/live gave no frame after 3"):
        list(source)


def _cameras(monkeypatch, opening):
    captures = []

    def open_camera(number, *args):
        captures.append(Capture(5, opens=number in opening))
        return captures[-1]

    monkeypatch.setattr(cv2, "VideoCapture", open_camera)
    monkeypatch.setattr(sys, "platform", "darwin")  # where they are tried one after the other
    return captures


@pytest.mark.parametrize(
    ("opening", "words"),
    [
        ({1, 3}, "camera 0 does not open; cameras that do: 1, 3"),
        (set(), "camera 0 does not open and no other does: is one connected, free and allowed"),
    ],
)
def test_a_camera_that_does_not_open_names_those_that_do(monkeypatch, opening, words):
    captures = _cameras(monkeypatch, opening)
    with pytest.raises(UserError, match=words):
        sources.open_source("0")
    assert all(capture.released for capture in captures[1:]), "a camera that was only tried must be free again"
    _cameras(monkeypatch, {1})
    source = sources.open_source("1")
    assert (source.name, source.live, source.length) == ("camera 1", True, 0)


@pytest.mark.parametrize(("platform", "backend"), [("win32", cv2.CAP_DSHOW), ("linux", cv2.CAP_V4L2)])
def test_the_backend_of_each_system(monkeypatch, platform, backend):
    """By a fake platform: it was not run on Windows."""
    asked = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: asked.append(args) or Capture(1))
    monkeypatch.setattr(sys, "platform", platform)
    sources.open_source("2")
    assert asked == [(2, backend)]


class Sized(Capture):
    """A camera that offers one size."""

    def __init__(self, width, height):
        super().__init__(1)
        self.asked = {}
        self.offered = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height}

    def set(self, key, value):
        self.asked[key] = value
        return True

    def get(self, key):
        return self.offered.get(key, 30.0)


def test_the_size_of_a_camera(monkeypatch, caplog):
    camera = Sized(1280, 720)
    connection(camera, monkeypatch, (1280, 720))
    assert camera.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert camera.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert not caplog.text
    connection(Sized(640, 480), monkeypatch, (1280, 720))
    assert "camera 0 gives 640x480 pixels instead of the 1280x720 of --camera-size" in caplog.text


@pytest.mark.parametrize(("transfer", "white"), [(16, 148), (18, 191)])
def test_high_dynamic_range_is_brought_to_a_screen(tmp_path, transfer, white):
    """A white surface, 203 cd/m2, is at 0.58 of PQ's signal and at 0.75 of HLG's (ITU-R BT.2408)."""
    levels = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None], 48, axis=0)
    written = [np.dstack([levels] * 3)] * 3
    paths = [tmp_path / f"{tag}.mp4" for tag in (1, transfer)]
    for tag, path in zip((1, transfer), paths, strict=True):
        videos.write(path, [0.0, 0.04, 0.08], images=written, transfer=tag)
    usual, bright = (read_whole(path)[1][0] for path in paths)
    curve = video._screen_levels(transfer)
    np.testing.assert_array_equal(bright.image, curve[usual.image])
    assert (np.diff(curve.astype(int)) >= 0).all()
    assert (curve[0], curve[-1]) == (0, 255)
    assert curve[white] == pytest.approx(255, abs=2)
    assert curve[white // 2] < 120


def test_what_comes_before_the_start_is_not_decoded(tmp_path, monkeypatch):
    path = videos.write(tmp_path / "clip.mp4", np.arange(200) / 25, gop=25)
    whole = list(sources.open_source(path))
    decoded = []
    image = video._Decoder.image
    monkeypatch.setattr(video._Decoder, "image", lambda self, frame: decoded.append(frame.pts) or image(self, frame))
    part = list(sources.open_source(path, sampling=Sampling(start=4.5, end=5.0)))
    assert len(decoded) == len(part) == 12
    for frame, same in zip(part, whole[113:125], strict=True):
        assert (frame.index, frame.time) == (same.index, pytest.approx(same.time))
        np.testing.assert_array_equal(frame.image, same.image)


def test_frames_say_how_long_they_are_shown(tmp_path):
    path = videos.write(tmp_path / "clip.mkv", [0.0, 0.04, 0.5, 0.52, 2.0], tick=videos.MILLISECONDS)
    durations = [frame.duration for frame in sources.open_source(path)]
    np.testing.assert_allclose(durations[:4], [0.04, 0.46, 0.02, 1.48], atol=1e-3)
    [first, second] = sources.open_source(path, sampling=Sampling(every=3))
    assert (first.duration, second.time) == (pytest.approx(0.52), pytest.approx(0.52))
    assert second.duration >= 1.48
