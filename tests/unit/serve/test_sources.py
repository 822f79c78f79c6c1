import itertools
import os
import sys

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources
from tests import serving


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


def test_a_video_file_gives_every_frame_with_its_time(tmp_path):
    source = sources.open_source(str(serving.write_clip(tmp_path / "clip.mp4", range(0, 250, 10), rate=12.5)))
    frames = list(source)
    source.close()
    assert (source.rate, source.length, source.live, source.still) == (12.5, 25, False, False)
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.starts for frame in frames] == [True] + [False] * 24
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(25) / 12.5, atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], range(0, 250, 10), atol=6)
    assert frames[0].image.shape == (48, 64, 3)


def _write_pictures(folder):
    folder.mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (10, 12), np.uint8)
    colour = np.random.default_rng(1).integers(0, 256, (10, 12, 3), np.uint8)
    cv2.imwrite(str(folder / "a_grey.png"), grey)
    cv2.imwrite(str(folder / "b_alpha.png"), np.dstack([colour, np.full((10, 12), 128, np.uint8)]))
    cv2.imwrite(str(folder / "c_deep.png"), colour.astype(np.uint16) * 256 + 77)
    cv2.imwrite(str(folder / "d_deep_alpha.png"), np.dstack([colour, grey]).astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "e_colour.bmp"), colour)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    return grey, colour


@pytest.mark.parametrize("spec", ["{}", "{}/*", "{}/../**/*.*"])
def test_pictures_of_any_depth_and_channels(tmp_path, spec):
    grey, colour = _write_pictures(tmp_path / "pictures")
    source = sources.open_source(spec.format(tmp_path / "pictures"))
    frames = list(source)
    assert source.still
    assert source.length == len(frames) == 5
    assert all(frame.starts for frame in frames)
    assert [os.path.basename(frame.name)[0] for frame in frames] == list("abcde")  # noqa: PTH119 a string
    np.testing.assert_array_equal(frames[0].image, np.repeat(grey[..., None], 3, axis=2))
    for frame in frames[1:]:
        assert frame.image.dtype == np.uint8
        np.testing.assert_array_equal(frame.image, colour)


def test_pictures_are_read_as_the_training_data_is(tmp_path):
    _write_pictures(tmp_path / "pictures")
    for frame in sources.open_source(str(tmp_path / "pictures")):
        np.testing.assert_array_equal(frame.image[..., ::-1], images.read(tmp_path / "pictures" / frame.name))


def test_a_picture_that_cannot_be_read_is_skipped_among_others_and_told(tmp_path, caplog):
    _write_pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "aa_broken.png").write_bytes(b"\x89PNG")
    frames = list(sources.open_source(str(tmp_path / "pictures")))
    assert [frame.index for frame in frames] == [0, 2, 3, 4, 5]
    assert "aa_broken.png: not an image" in caplog.text
    assert "skipped" in caplog.text
    with pytest.raises(UserError, match=r"aa_broken.png: not an image"):
        list(sources.open_source(str(tmp_path / "pictures" / "aa_broken.png")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"missing.mp4: no such file or folder: --source takes a camera's number"),
        (lambda path: path.write_bytes(b""), r"missing.mp4: the file is empty"),
        (lambda path: path.write_bytes(b"text" * 1000), r"missing.mp4: not a video that OpenCV can open"),
        (lambda path: path.mkdir(), r"missing.mp4: no pictures there: expected files ending in"),
    ],
)
def test_files_that_are_no_source(tmp_path, make, message):
    make(tmp_path / "missing.mp4")
    with pytest.raises(UserError, match=message):
        sources.open_source(str(tmp_path / "missing.mp4"))


def test_a_glob_that_matches_nothing(tmp_path):
    with pytest.raises(UserError, match=r"no pictures there"):
        sources.open_source(str(tmp_path / "*.png"))


def test_a_truncated_video_gives_what_it_has_and_then_says_so(tmp_path):
    rng = np.random.default_rng(0)
    whole = cv2.VideoWriter(str(tmp_path / "whole.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(60):
        whole.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    whole.release()
    data = (tmp_path / "whole.mp4").read_bytes()
    # an mp4 without its end does not open; with its index before the frames it would give the first ones
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"half.mp4: not a video that OpenCV can open: it may be truncated"):
        sources.open_source(str(tmp_path / "half.mp4"))
    whole = cv2.VideoWriter(str(tmp_path / "whole.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(60):
        whole.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    whole.release()
    data = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    source = sources.open_source(str(tmp_path / "half.avi"))
    frames = []
    with pytest.raises(UserError, match=r"half.avi: ends after \d+ of 60 frames: the file is truncated or damaged"):
        frames.extend(_collecting(source, frames))
    assert 20 < len(frames) < 40


def _collecting(source, into):
    for frame in source:
        into.append(frame)
    return ()


def test_a_video_without_frames():
    with pytest.raises(UserError, match=r"clip: no frame can be read: the file is empty, damaged or no video"):
        list(sources.Video(Capture(), "clip", live=False))


@pytest.mark.parametrize(
    "image",
    [
        np.full((6, 8), 7, np.uint8),
        np.full((6, 8, 1), 7, np.uint8),
        np.full((6, 8, 4), 7, np.uint8),
        np.full((6, 8), 7 * 256 + 99, np.uint16),
        np.full((6, 8, 4), 7 * 256, np.uint16),
    ],
)
def test_cameras_may_give_grey_alpha_or_sixteen_bits(image):
    frame = next(iter(sources.Video(Capture(1, image=image), "camera", live=True)))
    np.testing.assert_array_equal(frame.image, np.full((6, 8, 3), 7, np.uint8))


@pytest.mark.parametrize("rate", [0.0, float("nan"), -1.0, 90_000.0])
def test_a_rate_nobody_knows(rate):
    source = sources.Video(Capture(5, rate), "clip", live=False)
    assert source.rate == sources.USUAL_FRAMES_PER_SECOND
    np.testing.assert_allclose([frame.time for frame in itertools.islice(source, 5)], np.arange(5) / 30)


def test_a_live_source_that_breaks_off():
    source = sources.Video(Capture(3), "camera 0", live=True)
    frames = []
    with pytest.raises(UserError, match="camera 0 gave no frame after 3: it was unplugged, or the connection broke"):
        frames.extend(_collecting(source, frames))
    assert [frame.index for frame in frames] == [0, 1, 2]
    times = [frame.time for frame in frames]
    assert times[0] == 0
    assert times == sorted(times)


def _cameras(monkeypatch, tmp_path, opening):
    captures = []

    def open_camera(number, *args):
        captures.append(Capture(5, opens=number in opening))
        return captures[-1]

    monkeypatch.setattr(cv2, "VideoCapture", open_camera)
    monkeypatch.setattr(sys, "platform", "darwin")  # where they are tried one after the other
    return captures


def test_a_camera_that_opens(monkeypatch, tmp_path):
    _cameras(monkeypatch, tmp_path, {1})
    source = sources.open_source("1")
    assert (source.name, source.live, source.length) == ("camera 1", True, 0)


def test_a_camera_that_does_not_open_names_those_that_do(monkeypatch, tmp_path):
    captures = _cameras(monkeypatch, tmp_path, {1, 3})
    with pytest.raises(UserError, match="camera 0 does not open; cameras that do: 1, 3"):
        sources.open_source("0")
    assert all(capture.released for capture in captures[1:]), "a camera that was only tried must be free again"


def test_no_camera_at_all(monkeypatch, tmp_path):
    _cameras(monkeypatch, tmp_path, set())
    with pytest.raises(UserError, match="camera 0 does not open and no other does: is one connected, free and allowed"):
        sources.open_source("0")


def test_an_address_nothing_comes_from():
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/video: no video comes from there"):
        sources.open_source("http://127.0.0.1:9/video")


def test_closing_frees_the_device():
    capture = Capture(3)
    sources.Video(capture, "camera 0", live=True).close()
    assert capture.released
