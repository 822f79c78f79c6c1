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
        for name in ("namedWindow", "resizeWindow", "imshow", "waitKey", "getWindowProperty", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, getattr(self, name))

    def namedWindow(self, title, flags):
        pass

    def resizeWindow(self, title, width, height):
        self.sizes.append((width, height))

    def imshow(self, title, image):
        self.shown = image

    def waitKey(self, milliseconds):
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
    for code, key in ((-1, ""), (27, "q"), (32, "space"), (ord("q"), "q"), (ord("V"), "v"), (0x100000 | ord("h"), "h")):
        highgui.code = code
        assert opened.key(0) == key


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
