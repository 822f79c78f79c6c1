"""The window, through OpenCV's own."""

from __future__ import annotations

import os
import pathlib
import socket
import sys
from typing import Any

import cv2
import numpy as np

from fer_jax.errors import UserError

KEYS = (
    ("q, Esc", "quit"),
    ("space", "pause, go on"),
    ("s", "save a still"),
    ("v", "switch the view"),
    ("e", "show or hide the evidence for each name"),
    ("h", "show or hide these keys"),
)
# Escape is a character of its own to some of OpenCV's window libraries, and to Qt a symbol of X
_NAMES = {27: "q", 0xFF1B: "q", 32: "space"}
_SYMBOL_BITS = 0xFFFF  # of a key's code; above them stand the modifiers, or the special keys of Windows
_X_SOCKETS = pathlib.Path("/tmp/.X11-unix")
_X_FIRST_PORT = 6000
_QT_PLATFORMS = pathlib.Path(cv2.__file__ or "").parent / "qt" / "plugins" / "platforms"  # of opencv-python on Linux


class Window:
    """One window that shows frames and tells which keys were pressed. Use it from the main thread."""

    def __init__(self, title: str):
        """Open it; UserError where there is no display or this OpenCV cannot draw windows."""
        if sys.platform == "linux":
            _prepare_linux()
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
        """Put a uint8 BGR frame into the window, which takes the size of the first one."""
        if not self._sized:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(self._title, image)

    def key(self, milliseconds: int) -> str:
        """The key pressed within `milliseconds`: a lower-case ASCII character, "space", "q" also for Escape and when
        the window was closed, "" for any other key and for none.
        """
        # not waitKey, which cuts a code down to 8 bits: the left arrow, 0xff51, becomes "Q"
        code = cv2.waitKeyEx(max(milliseconds, 1))
        if self._sized and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        symbol = code & _SYMBOL_BITS
        if code < 0 or (symbol not in _NAMES and not 32 < symbol < 127):
            return ""
        return _NAMES.get(symbol, chr(symbol).lower())

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def _prepare_linux() -> None:
    """See to it that OpenCV's Qt can open a window: where it cannot, it aborts the process."""
    if not _x_display_answers(os.environ.get("DISPLAY", "")):
        if os.environ.get("WAYLAND_DISPLAY"):
            raise UserError(
                "this Wayland session has no X display, which OpenCV's window needs: install XWayland or say --headless"
            )
        raise UserError("no display to open a window on: say --headless, or set DISPLAY to one that is reachable")
    bundled = {path.stem.removeprefix("libq") for path in _QT_PLATFORMS.glob("libq*.so")}
    wanted = [name.partition(":")[0] for name in os.environ.get("QT_QPA_PLATFORM", "").split(";") if name]
    if not bundled or not wanted or wanted[0] in bundled:  # no Qt of its own, or Qt will find what it looks for
        return
    if not wanted[0].startswith("wayland"):
        raise UserError(
            f"QT_QPA_PLATFORM={os.environ['QT_QPA_PLATFORM']} has no window that OpenCV can open, whose Qt knows "
            f"{', '.join(sorted(bundled))}: unset it, or say --headless"
        )
    os.environ["QT_QPA_PLATFORM"] = "xcb"  # Wayland sessions show windows of X too


def _x_display_answers(display: str) -> bool:
    """Whether an X server listens where DISPLAY says."""
    host, _, number = display.partition(":")
    number = number.partition(".")[0]
    if sys.platform == "win32" or not number.isdecimal():
        return False
    local = _X_SOCKETS / f"X{number}"
    candidates: list[tuple[int, Any]] = [(socket.AF_UNIX, str(local)), (socket.AF_UNIX, f"\0{local}")]
    if host and not host.startswith("unix"):
        candidates = [(socket.AF_INET, (host, _X_FIRST_PORT + int(number)))]
    for family, address in candidates:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(3.0)
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return False
