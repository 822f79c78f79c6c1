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
from collections.abc import Iterator
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


@dataclasses.dataclass
class Player:
    """Plays one source.

    Attributes:
      source: of the frames; closed at the end, like all that follows.
      analyzer: of the faces.
      view: a name in `overlay.VIEWS`, to begin with.
      explain: whether to show the evidence for each name, to begin with.
      window, recording, events, face_folder: outputs, None for none.
      max_frames: maximum number of frames; 0 is all of them.
    """

    source: Source
    analyzer: FrameAnalyzer
    _: dataclasses.KW_ONLY
    view: str = "multi"
    explain: bool = False
    window: Window | None = None
    recording: Recording | RecordingFolder | None = None
    events: Events | None = None
    face_folder: FaceFolder | None = None
    max_frames: int = 0

    def __post_init__(self):
        self._overlay = overlay.Overlay(self.analyzer.labels)
        self._result: FrameResult | None = None
        self._drawn: np.ndarray | None = None
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
        summary, tracks = Summary(), set()
        with ExitStack() as stack:
            for part in (self.source, self.recording, self.events, self.window):
                if part is not None:
                    stack.callback(part.close)
            stop = stack.enter_context(stopping_signals())
            pipeline = Pipeline(self.source, self.analyzer, self.source.live)
            stack.callback(pipeline.close)
            progress = self._progress(stack)
            try:
                for result in self._results(pipeline, stop):
                    self._put(result)
                    if progress is not None:
                        progress.update()
                    summary.frames += 1
                    tracks.update(face.track for face in result.faces)
                    summary.seconds = time.perf_counter() - self._first_shown
                    if summary.frames == self.max_frames:
                        break
                if self.source.still and self._result:  # the last picture stays until the window is closed
                    while self.window and not (stop or self._quit):
                        self._answer_key(POLL_SECONDS)
            except BrokenPipeError:
                stop.append(getattr(signal, "SIGPIPE", 13))
        summary.faces = len(tracks)
        summary.stopped_by = stop[0] if stop else 0
        return summary

    def _progress(self, stack: ExitStack) -> tqdm | None:
        """A bar, where standard error is a terminal and no window shows how far it is; None elsewhere."""
        if self.window or not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        return stack.enter_context(tqdm(total=self.source.length or None, unit=" frames", leave=False))

    def _results(self, pipeline: Pipeline, stop: list[int]) -> Iterator[FrameResult]:
        """Results as they come and are wanted; keys are answered in between."""
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
        if self.window or self.recording:
            self._draw()
        if self.recording and self._drawn is not None:
            self.recording.write(self._drawn, result.frame)
        if self.events:
            self.events.write(result)
        if self.face_folder:
            self.face_folder.write(result)
        self._first_shown = self._first_shown or time.perf_counter()
        if self.window:
            self._wait_until_due(result)
            self._count(result)
            self._refresh()

    def _draw(self) -> None:
        if self._result:
            self._drawn = self._overlay.draw(self._result, self.view, self.explain)

    def _wait_until_due(self, result: FrameResult) -> None:
        """A file plays in its own time, or slower where the machine is; what is live comes when it comes."""
        while not (self.source.live or self._quit):
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
        if self._drawn is None or self.window is None:
            return
        image = self._drawn.copy()
        span = self._shown[-1] - self._shown[0]
        rate = (len(self._shown) - 1) / span if span else 0.0
        parts = [f"{rate:.0f} frames/s"]
        if self.source.live:
            parts.append(f"delay {1000 * self._delay:.0f} ms")
        if self._paused:
            parts = ["paused"]
        if time.perf_counter() < self._note_until:
            parts.append(self._note)
        overlay.lines(image, ["  ".join(parts)], corner=True)
        if self._keys_shown:
            overlay.lines(image, [f"{key}: {meaning}" for key, meaning in KEYS])
        self.window.show(image)

    def _answer_key(self, seconds: float) -> None:
        """Wait for a key that long at most, and do what it says, see `KEYS`."""
        if not self.window:
            return
        match self.window.key(round(1000 * seconds)):
            case "q":
                self._quit = True
            case "space":
                self._paused = not self._paused
            case "s":
                self._save_still()
            case "v":
                self.view = overlay.VIEWS[overlay.VIEWS.index(self.view) - 1]
                self._draw()
            case "e" if not self.analyzer.has_maps:
                self._tell("this model has no activation map")
            case "e":
                self.explain = not self.explain
                self._draw()
            case "h":
                self._keys_shown = not self._keys_shown
            case _:
                return
        self._refresh()

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

    def _tell(self, note: str) -> None:
        self._note, self._note_until = note, time.perf_counter() + NOTE_SECONDS


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
