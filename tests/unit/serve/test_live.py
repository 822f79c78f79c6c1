"""Cameras and network streams: waiting, reconnecting, giving up."""

import sys

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve import live, sources, video


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
    return live.camera(0, "camera 0", size)


@pytest.mark.parametrize("rate", [0.0, float("nan"), -1.0, 90_000.0])
def test_a_rate_that_is_unknown(rate, monkeypatch):
    assert connection(Capture(5, rate), monkeypatch).rate == video.DEFAULT_RATE


def test_a_live_source_that_breaks_off(monkeypatch):
    source = connection(Capture(3), monkeypatch)
    frames = []
    with pytest.raises(UserError, match="camera 0 gave no frame after 3: it was unplugged, or the connection broke"):
        frames.extend(frame for frame in source if frames.append(frame))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.starts for frame in frames] == [True, False, False]
    times = [frame.time for frame in frames]
    assert times[0] == 0
    assert times == sorted(times)


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
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.001)
    broken = Broken(refusals=2)
    source = live.Live("rtsp://cam/live", broken.connect, patience=30.0)
    frames = iter(source)
    seen = [next(frames) for _ in range(7)]
    source.close()
    assert list(frames) == []
    assert [frame.starts for frame in seen] == [True, False, False, True, False, False, True]
    assert [frame.index for frame in seen] == list(range(7))
    assert broken.opened == broken.closed == 3
    assert "rtsp://cam/live: the connection broke, trying again for 30 s" in caplog.text


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.001)
    source = live.Live("rtsp://cam/live", Broken(refusals=10**6).connect, patience=0.02)
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


def test_a_camera_that_opens(monkeypatch):
    _cameras(monkeypatch, {1})
    source = sources.open_source("1")
    assert (source.name, source.live, source.length) == ("camera 1", True, 0)


def test_a_camera_that_does_not_open_names_those_that_do(monkeypatch):
    captures = _cameras(monkeypatch, {1, 3})
    with pytest.raises(UserError, match="camera 0 does not open; cameras that do: 1, 3"):
        sources.open_source("0")
    assert all(capture.released for capture in captures[1:]), "a camera that was only tried must be free again"


def test_no_camera_at_all(monkeypatch):
    _cameras(monkeypatch, set())
    with pytest.raises(UserError, match="camera 0 does not open and no other does: is one connected, free and allowed"):
        sources.open_source("0")


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


def test_closing_frees_the_device(monkeypatch):
    capture = Capture(3)
    connection(capture, monkeypatch).close()
    assert capture.released
