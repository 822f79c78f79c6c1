"""The window and its keys, with and without a display."""

import os
import socket
import sys
import types

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.serve import window


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
@pytest.mark.parametrize("display", ["", ":931", "localhost:931.0", "nonsense", ":x"])
def test_without_a_display(monkeypatch, display):
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(UserError, match="no display to open a window on: say --headless"):
        window.Window("test")


def test_a_display_that_answers(monkeypatch, tmp_path):
    monkeypatch.setattr(window, "_X_SOCKETS", tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "X932"))
        server.listen()
        assert window._x_display_answers(":932")
        assert window._x_display_answers("unix:932.0")
        assert not window._x_display_answers(":933")


class Highgui:
    """OpenCV's window functions, without a window."""

    def __init__(self, monkeypatch):
        self.code, self.visible, self.shown = -1, 1.0, None
        self.sizes = []
        monkeypatch.setattr(window, "_x_display_answers", lambda display: True)
        for name in ("namedWindow", "resizeWindow", "imshow", "waitKeyEx", "getWindowProperty", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, getattr(self, name))

    def namedWindow(self, title, flags):
        pass

    def resizeWindow(self, title, width, height):
        self.sizes.append((width, height))

    def imshow(self, title, image):
        self.shown = image

    def waitKeyEx(self, milliseconds):
        assert milliseconds >= 1, "0 would wait for ever"
        return self.code

    def getWindowProperty(self, title, flag):
        return self.visible

    def destroyAllWindows(self):
        self.visible = 0.0


def test_keys(monkeypatch):
    highgui = Highgui(monkeypatch)
    opened = window.Window("test")
    opened.show(np.zeros((48, 64, 3), np.uint8))
    opened.show(np.zeros((48, 64, 3), np.uint8))
    assert highgui.sizes == [(64, 48)], "who resized the window wants it to stay so"
    for code, key in (
        (-1, ""),
        (27, "q"),
        (0xFF1B, "q"),  # Escape of X
        (32, "space"),
        (ord("q"), "q"),
        (ord("V"), "v"),
        (0x100000 | ord("h"), "h"),  # with Num Lock
    ):
        highgui.code = code
        assert opened.key(0) == key


@pytest.mark.parametrize(
    ("system", "codes"),
    [
        ("X", {"left": 0xFF51, "up": 0xFF52, "delete": 0xFFFF, "F1": 0xFFBE, "shift": 0xFFE1, "й": 0x6CA}),
        ("Windows", {"left": 0x250000, "up": 0x260000, "delete": 0x2E0000, "F2": 0x710000}),
        ("macOS", {"left": 0xF702, "up": 0xF700, "delete": 0xF728, "F1": 0xF704}),
        ("all", {"tab": 9, "return": 13, "backspace": 8}),
    ],
)
def test_keys_that_mean_nothing_do_nothing(monkeypatch, system, codes):
    """Cut down to 8 bits, X's left arrow is a Q, which quits."""
    highgui = Highgui(monkeypatch)
    opened = window.Window("test")
    for name, code in codes.items():
        highgui.code = code
        assert opened.key(0) == "", f"{name} of {system}"


@pytest.fixture
def on_linux(monkeypatch, tmp_path):
    """A Linux with an X display and an OpenCV whose Qt has the platform xcb alone, as opencv-python has it."""
    Highgui(monkeypatch)
    (tmp_path / "libqxcb.so").touch()
    monkeypatch.setattr(window, "_QT_PLATFORMS", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    return monkeypatch


@pytest.mark.parametrize("wanted", ["wayland", "wayland-egl", "wayland;xcb"])
def test_a_wayland_session_shows_the_window_through_x(on_linux, wanted):
    on_linux.setenv("QT_QPA_PLATFORM", wanted)
    window.Window("test")
    assert os.environ["QT_QPA_PLATFORM"] == "xcb"


@pytest.mark.parametrize("wanted", ["offscreen", "minimal", "vnc", "linuxfb:fb=/dev/fb0"])
def test_a_qt_platform_that_is_not_there_gets_one_line(on_linux, wanted):
    """Qt aborts the process."""
    on_linux.setenv("QT_QPA_PLATFORM", wanted)
    with pytest.raises(UserError, match=rf"QT_QPA_PLATFORM={wanted} has no window .* knows xcb: unset it"):
        window.Window("test")


def test_wayland_without_x(on_linux):
    on_linux.setattr(window, "_x_display_answers", lambda display: False)
    on_linux.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(UserError, match=r"this Wayland session has no X display.*: install XWayland or say"):
        window.Window("test")


def test_an_opencv_with_a_window_library_of_the_system_is_left_alone(on_linux, tmp_path):
    (tmp_path / "libqxcb.so").unlink()
    on_linux.setenv("QT_QPA_PLATFORM", "wayland")
    window.Window("test")
    assert os.environ["QT_QPA_PLATFORM"] == "wayland"


def test_closing_the_window_quits(monkeypatch):
    highgui = Highgui(monkeypatch)
    opened = window.Window("test")
    assert opened.key(0) == "", "a window that has not shown anything was not closed either"
    opened.show(np.zeros((48, 64, 3), np.uint8))
    highgui.visible = 0.0
    assert opened.key(0) == "q"


def test_an_opencv_without_windows(monkeypatch):
    def refuse(title, flags):
        raise cv2.error("not implemented")

    Highgui(monkeypatch)
    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(UserError, match=r"this OpenCV cannot open windows: install opencv-python .* or say --headless"):
        window.Window("test")


def test_the_help_names_every_key():
    assert types.MappingProxyType(dict(window.KEYS)).keys() == {"q, Esc", "space", "s", "v", "e", "h"}
