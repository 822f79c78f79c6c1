"""The camera's main loop: results go into the window and the outputs until something ends it."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import overlay
from fer_jax.serve.analysis import FrameAnalyzer, FrameResult, Pipeline
from fer_jax.serve.frames import Source
from fer_jax.serve.outputs import Events, FaceFolder, Recording, RecordingFolder

if TYPE_CHECKING:
    from tqdm import tqdm

POLL_SECONDS = 0.05  # a key or a signal waits no longer for an answer
RATE_WINDOW_SECONDS = 2.0  # frames a second are counted over
NOTE_SECONDS = 2.0  # a message stays in the window

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


@dataclasses.dataclass
class Summary:
    """The end of a source.

    Attributes:
      frames: that were shown or written.
      faces: different tracks in them.
      seconds: from the first frame to the last.
      stopped_by: number of the signal that ended it; SIGPIPE when the events had no reader any more; 0 for none.
    """

    frames: int = 0
    faces: int = 0
    seconds: float = 0.0
    stopped_by: int = 0


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
    """Return whether an X server listens where DISPLAY says."""
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


class Player:
    """Plays one source."""

    def __init__(
        self,
        source: Source,
        analyzer: FrameAnalyzer,
        *,
        view: str = "multi",
        explain: bool = False,
        window: Window | None = None,
        recording: Recording | RecordingFolder | None = None,
        events: Events | None = None,
        face_folder: FaceFolder | None = None,
        max_frames: int = 0,
    ):
        """Args:
        source: of the frames; closed at the end, like all that follows.
        analyzer: of the faces.
        view: at the start, a name in `overlay.VIEWS`.
        explain: at the start, whether to show the evidence for each name.
        window, recording, events, face_folder: outputs, None for none.
        max_frames: maximum number of frames; 0 is all of them.
        """
        self._source = source
        self._analyzer = analyzer
        self._view = view
        self._explain = explain
        self._window = window
        self._recording = recording
        self._events = events
        self._face_folder = face_folder
        self._max_frames = max_frames
        self._overlay = overlay.Overlay(analyzer.labels)
        self._result: FrameResult | None = None
        self._drawn: np.ndarray | None = None
        self._tracks: set[int] = set()
        self._actions: dict[str, Callable[[], None]] = {
            "q": self._stop,
            "space": self._pause,
            "s": self._save_still,
            "v": self._switch_view,
            "e": self._switch_explanation,
            "h": self._show_keys,
        }
        self._paused = self._keys_shown = self._quit = False
        self._note, self._note_until = "", 0.0
        self._shown: collections.deque[float] = collections.deque()
        self._first_shown = 0.0
        self._behind = 0.0  # seconds that a file in a window is behind its own clock, by pauses and slow frames
        self._delay = 0.0

    def play(self) -> Summary:
        """Play to the end. However it comes, the outputs are closed and readable afterwards.

        Raises:
          UserError: the source broke off, and what came before that is kept; or an output failed.
        """
        summary = Summary()
        with ExitStack() as stack:
            for part in (self._source, self._recording, self._events, self._face_folder, self._window):
                if part is not None:
                    stack.callback(part.close)
            stop = stack.enter_context(stopping_signals())
            pipeline = Pipeline(self._source, self._analyzer, self._source.live)
            stack.callback(pipeline.close)
            progress = self._progress(stack)
            try:
                for result in self._results(pipeline, stop):
                    self._put(result)
                    if progress is not None:
                        progress.update()
                    summary.frames += 1
                    self._tracks.update(face.track for face in result.faces)
                    summary.seconds = time.perf_counter() - self._first_shown
                    if summary.frames == self._max_frames:
                        break
                if self._source.still:
                    self._hold(stop)
            except BrokenPipeError:
                stop.append(getattr(signal, "SIGPIPE", 13))
        summary.faces = len(self._tracks)
        summary.stopped_by = stop[0] if stop else 0
        return summary

    def _progress(self, stack: ExitStack) -> tqdm | None:
        """A bar, where standard error is a terminal and no window shows how far it is; None elsewhere."""
        if self._window or not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        return stack.enter_context(tqdm(total=self._source.length or None, unit=" frames", leave=False))

    def _results(self, pipeline: Pipeline, stop: list[int]) -> Iterator[FrameResult]:
        """Scenes as they come and are wanted; keys are answered in between."""
        while not (stop or self._quit):
            if self._paused:
                self._answer_key(POLL_SECONDS)
                continue
            try:
                result = pipeline.take(POLL_SECONDS)
            except StopIteration:
                return
            if result is not None:
                yield result
            self._answer_key(0.0)

    def _put(self, result: FrameResult) -> None:
        """Draw a result where it is looked at, and write it to the outputs."""
        self._result = result
        drawn = self._draw(result) if self._window or self._recording else None
        if self._recording and drawn is not None:
            self._recording.write(drawn, result.frame)
        if self._events:
            self._events.write(result)
        if self._face_folder:
            self._face_folder.write(result)
        if not self._first_shown:
            self._first_shown = time.perf_counter()
        if self._window:
            self._wait_until_due(result)
            self._count(result)
            self._refresh()

    def _draw(self, result: FrameResult) -> np.ndarray:
        self._drawn = self._overlay.draw(result, self._view, self._explain)
        return self._drawn

    def _wait_until_due(self, result: FrameResult) -> None:
        """A file plays in its own time, or slower where the machine is; what is live comes when it comes."""
        while not (self._source.live or self._quit):
            early = self._first_shown + self._behind + result.frame.time - time.perf_counter()
            if early <= 0:
                self._behind -= early
                return
            self._answer_key(min(early, POLL_SECONDS))

    def _count(self, result: FrameResult) -> None:
        now = time.perf_counter()
        self._shown.append(now)
        while now - self._shown[0] > RATE_WINDOW_SECONDS:
            self._shown.popleft()
        self._delay += 0.1 * (now - result.frame.captured - self._delay)  # an average, so that it can be read

    def _refresh(self) -> None:
        """Show the last result with the window's own lines."""
        if self._drawn is None or self._window is None:
            return
        image = self._drawn.copy()
        span = self._shown[-1] - self._shown[0]
        rate = (len(self._shown) - 1) / span if span else 0.0
        parts = [f"{rate:.0f} frames/s"]
        if self._source.live:
            parts.append(f"delay {1000 * self._delay:.0f} ms")
        if self._paused:
            parts = ["paused"]
        if time.perf_counter() < self._note_until:
            parts.append(self._note)
        overlay.status(image, "  ".join(parts))
        if self._keys_shown:
            overlay.lines(image, [f"{key}: {meaning}" for key, meaning in KEYS])
        self._window.show(image)

    def _answer_key(self, seconds: float) -> None:
        """Wait for a key that long at most, and do what it says."""
        if not self._window:
            return
        key = self._window.key(round(1000 * seconds))
        if key in self._actions:
            self._actions[key]()
            self._refresh()

    def _stop(self) -> None:
        self._quit = True

    def _pause(self) -> None:
        self._paused = not self._paused

    def _show_keys(self) -> None:
        self._keys_shown = not self._keys_shown

    def _switch_view(self) -> None:
        self._view = overlay.VIEWS[(overlay.VIEWS.index(self._view) + 1) % len(overlay.VIEWS)]
        self._redraw()

    def _switch_explanation(self) -> None:
        if not self._analyzer.has_maps:
            self._tell("this model has no activation map")
        elif self._result:
            self._explain = not self._explain
            self._redraw()

    def _save_still(self) -> None:
        if self._drawn is None:
            return
        path = pathlib.Path(f"still-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}.png").absolute()
        try:
            images.write(path, self._drawn)
        except UserError as error:
            self._tell(str(error))
        else:
            self._tell(f"saved {path.name}")

    def _redraw(self) -> None:
        if self._result:
            self._draw(self._result)

    def _tell(self, note: str) -> None:
        self._note, self._note_until = note, time.perf_counter() + NOTE_SECONDS

    def _hold(self, stop: list[int]) -> None:
        """Leave the last picture in the window until it is closed."""
        while self._window and self._drawn is not None and not (stop or self._quit):
            self._answer_key(POLL_SECONDS)


@contextmanager
def stopping_signals() -> Iterator[list[int]]:
    """A list that receives the first Ctrl-C, SIGTERM or SIGHUP, in place of its usual effect; a second one has it."""
    stop: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}

    def note(number: int, _: object) -> None:
        stop.append(number)
        signal.signal(number, before[number])

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows knows no SIGHUP
            number = getattr(signal, name)
            before[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
