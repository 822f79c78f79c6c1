"""Every visible frame of a video at its own time, whatever the container's header claims."""

import contextlib
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
    with contextlib.closing(sources.open_source(str(path))) as source:
        try:
            frames.extend(frame for frame in source if frames.append(frame))
        except UserError as error:
            return source, frames, str(error)
    return source, frames, None


def read_whole(path):
    """A source that ends without an error, and its frames."""
    source, frames, error = read(path)
    assert error is None
    return source, frames


def times(frames):
    return [frame.time for frame in frames]


MS = {"tick": videos.MILLISECONDS}
VP8 = {"codec": "libvpx", **MS}
VARIABLE = [0.0, 0.04, 0.08, 0.5, 0.52, 1.7, 2.9]
SLOW_AT_THE_END = [*np.linspace(0, 0.8, 36), 1.5, 2.2, 3.0, 3.8]  # by its mean rate it would seem truncated
LATE = 5 + np.arange(20) / 10


@pytest.mark.parametrize(
    ("name", "stamps", "options"),
    [
        *[(f"clip{suffix}", VARIABLE, MS) for suffix in (".mp4", ".mkv", ".mov")],
        ("clip.webm", VARIABLE, VP8),
        ("browser.webm", np.cumsum([0.0, *[0.03, 0.17] * 20]), VP8 | {"live": "1"}),  # which has no duration
        ("clip.mp4", SLOW_AT_THE_END, MS),
        ("clip.webm", SLOW_AT_THE_END, VP8),
        *[(f"cut{suffix}", LATE, {"rate": 10}) for suffix in (".mkv", ".mp4", ".ts")],
        *[("slow_motion.mp4", np.arange(100) / rate, {"rate": rate}) for rate in (211.222, 239.76)],
        ("long_sound.mp4", np.arange(50) / 25, {"seconds_of_sound": 8.0}),
        ("moving.gif", np.arange(8) / 10, {"codec": "gif", "rate": 10, "tick": videos.Fraction(1, 10)}),
        ("new\nline.mp4", [0.0, 0.04], {}),
        *[(f"{name}.mp4", [0.0, 0.04], {}) for name in ("a:b", "100%03d", "caf\udce9", "-dash", "'quote")],
    ],
)
def test_every_frame_at_its_own_time(tmp_path, name, stamps, options):
    path = videos.write(tmp_path / f"clip{name[name.rindex('.') :]}", stamps, **options).rename(tmp_path / name)
    source, frames = read_whole(path)
    assert not source.still
    assert source.rate == pytest.approx(options.get("rate", source.rate), rel=5e-3)
    assert source.rate < 300
    np.testing.assert_allclose(times(frames), np.subtract(stamps, stamps[0]), atol=3e-3)
    assert [frame.starts for frame in frames] == [True] + [False] * (len(stamps) - 1)
    np.testing.assert_allclose(
        [frame.image.mean() for frame in frames[:7]], 20 + 5 * np.arange(len(frames[:7])), atol=5
    )
    source.name.encode()  # valid Unicode: it goes into events and a window's title


def test_an_avi_whose_time_stamps_begin_late_is_whole(tmp_path):
    _, frames = read_whole(videos.write(tmp_path / "cut.avi", LATE, rate=10))
    assert len(frames) == 20
    assert times(frames)[:3] == pytest.approx([0, 0.1, 0.2], abs=2e-3)


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


def test_a_gif_that_is_cut_off_within_a_picture_does_not_show_it(tmp_path):
    images = list(np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8))
    path = videos.write(tmp_path / "moving.gif", np.arange(4) / 10, codec="gif", rate=10, images=images)
    data = path.read_bytes()
    path.write_bytes(data[:-1])  # the end of the file is missing, and of no picture
    assert len(read_whole(path)[1]) == 4
    path.write_bytes(data[: len(data) * 5 // 8])
    _, frames, error = read(path)
    assert len(frames) == 2
    assert "ends within a picture after 2 whole ones: the file is truncated" in error
    path.write_bytes(data[: len(data) // 8])
    assert "moving.gif: no frame can be read" in read(path)[2]


def test_non_square_pixels_are_made_square(tmp_path):
    _, frames = read_whole(videos.write(tmp_path / "wide.mp4", [0.0, 0.04], pixel_aspect="16/11"))
    assert frames[0].image.shape == (48, round(64 * 16 / 11), 3)


def test_frames_of_another_size_are_taken_and_those_of_too_many_pixels_refused(tmp_path, monkeypatch):
    parts = [videos.write(tmp_path / f"{size[0]}.ts", [0.0, 0.04], size=size) for size in ((64, 48), (96, 72))]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(video.VideoFile.from_path(tmp_path / "both.ts"))
    assert [frame.image.shape for frame in frames] == 2 * [(48, 64, 3)] + 2 * [(72, 96, 3)]
    monkeypatch.setattr(images, "check_pixels", functools.partial(images.check_pixels, limit=5000))
    with pytest.raises(UserError, match=r"both\.ts: 6,912 pixels, expected 5,000 at most"):
        list(video.VideoFile.from_path(tmp_path / "both.ts"))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_is_upright(tmp_path, rotation):
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    path = videos.write(tmp_path / "phone.mp4", [0.0, 0.04], images=[marked, marked], rotation=rotation)
    _, frames = read_whole(path)
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


def test_an_animated_png_and_an_animated_webp(tmp_path):
    options = {"plays": "0", "codec": "apng", "rate": 10, "tick": videos.Fraction(1, 10)}
    animated = videos.write(tmp_path / "moving.apng", np.arange(5) / 10, **options).rename(tmp_path / "moving.png")
    for path in (animated, videos.animated_webp(tmp_path / "moving.webp")):
        source, frames = read_whole(path)
        assert (source.still, source.rate) == (False, 10)
        np.testing.assert_allclose(times(frames), np.arange(5) / 10, atol=1e-2)
    assert [(frame.index, frame.duration) for frame in frames] == [(i, 0.1) for i in range(5)]
    part = sources.open_source(path, sampling=Sampling(every=2, end=0.35))
    assert [frame.index for frame in part] == [0, 2]
    whole = path.read_bytes()
    for size in (60, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"moving\.webp: (ends after|no frame can be read)"):
            list(sources.open_source(path))


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

    def __init__(self, frames=0, rate=30.0, opens=True, size=(8, 6)):
        self.left, self.opens, self.released = frames, opens, False
        self.asked = {}
        self.properties = {cv2.CAP_PROP_FPS: rate}
        self.properties |= dict(zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size, strict=True))

    def isOpened(self):
        return self.opens

    def get(self, key):
        return self.properties[key]

    def set(self, key, value):
        self.asked[key] = value

    def read(self):
        self.left -= 1
        return (True, np.zeros((6, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.released = True


def connection(capture, monkeypatch, size=None):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: capture)
    return video.camera(0, "camera 0", size)


@pytest.mark.parametrize("rate", [0.0, float("nan"), -1.0, 90_000.0])
def test_a_live_source_of_unknown_rate_that_breaks_off(rate, monkeypatch):
    capture = Capture(3, rate)
    source = connection(capture, monkeypatch)
    assert source.rate == video.DEFAULT_RATE
    frames = iter(source)
    seen = [next(frames) for _ in range(3)]
    with pytest.raises(UserError, match="camera 0 gave no frame after 3: it was unplugged, or the connection broke"):
        next(frames)
    assert [(frame.index, frame.starts) for frame in seen] == [(0, True), (1, False), (2, False)]
    assert times(seen)[0] == 0
    assert times(seen) == sorted(times(seen))
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
    with pytest.raises(UserError, match="rtsp://cam/live gave no frame after 3"):
        list(video.Live("rtsp://cam/live", Broken(refusals=10**6).connect, patience=0.02))


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


def test_the_size_of_a_camera(monkeypatch, caplog):
    camera = Capture(1, size=(1280, 720))
    connection(camera, monkeypatch, (1280, 720))
    assert camera.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert camera.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert not caplog.text
    connection(Capture(1, size=(640, 480)), monkeypatch, (1280, 720))
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
    source = sources.open_source(path)
    whole = list(source)
    assert (source.rate, source.length, source.live, source.still) == (25, 200, False, False)
    assert [frame.index for frame in whole] == list(range(200))
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
