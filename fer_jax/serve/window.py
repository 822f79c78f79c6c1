"""The window, through OpenCV's own."""

from __future__ import annotations

import os
import pathlib
import socket
import sys

import cv2
import numpy as np

from fer_jax.errors import UserError

KEYS = (
    ("q, Esc", "quit"),
    ("space", "pause, go on"),
    ("s", "save a still"),
    ("v", "switch the view"),
    ("e", "show or hide what speaks for each name"),
    ("h", "show or hide these keys"),
)
_NAMES = {27: "q", 32: "space"}
_X_SOCKETS = pathlib.Path("/tmp/.X11-unix")
_X_FIRST_PORT = 6000


class Window:
    """One window that shows frames and tells which keys were pressed. Use it from the main thread."""

    def __init__(self, title: str):
        """Open it; UserError where there is no display or this OpenCV cannot draw windows."""
        if sys.platform == "linux" and not _x_display_answers(os.environ.get("DISPLAY", "")):
            # OpenCV's Qt would abort the process
            raise UserError("no display to open a window on: say --headless, or set DISPLAY to one that is reachable")
        # Qt complains that the wheel holds no fonts, which nothing here draws with
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise UserError(
                "this OpenCV cannot open windows: install opencv-python in place of "
                "opencv-python-headless, or say --headless"
            ) from error
        self._sized = False

    def show(self, image: np.ndarray) -> None:
        """Put a frame into the window, which takes the size of the first one."""
        if not self._sized:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(self._title, image)

    def key(self, milliseconds: int) -> str:
        """The key pressed within so many milliseconds, "q" when the window was closed, "" when none was."""
        code = cv2.waitKey(max(milliseconds, 1))
        if self._sized and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return "" if code < 0 else _NAMES.get(code & 0xFF, chr(code & 0xFF).lower())

    def close(self) -> None:
        """Take the window away."""
        cv2.destroyAllWindows()


def _x_display_answers(display: str) -> bool:
    """Whether an X server listens where DISPLAY says."""
    host, _, number = display.partition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return False
    local = _X_SOCKETS / f"X{number}"
    candidates = (
        [] if host and not host.startswith("unix") else [(socket.AF_UNIX, str(local)), (socket.AF_UNIX, f"\0{local}")]
    )
    if host and not host.startswith("unix"):
        candidates.append((socket.AF_INET, (host, _X_FIRST_PORT + int(number))))
    for family, address in candidates:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(3.0)
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return False
