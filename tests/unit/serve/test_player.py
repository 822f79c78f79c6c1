"""Playing a source: outputs, limits, signals and keys."""

import io
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
import types

import cv2
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.faces import detection, registry
from fer_jax.serve import Classifier, frames, player
from fer_jax.serve.analysis import FrameAnalyzer
from fer_jax.serve.outputs import Events, Recording
from fer_jax.serve.player import Player
from tests import serving
from tests.conftest import run_python


class Source(frames.Source):
    """Frames of one gray value, made when they are wanted."""

    name, rate = "made", 25.0

    def __init__(self, count, live=False, still=False, ends_with=None, size=(48, 64)):
        self.length, self.live, self.still = count, live, still
        self.ends_with = ends_with
        self.image = np.full((*size, 3), serving.brightness_of(3), np.uint8)
        self.closed = False

    def __iter__(self):
        for i in range(self.length):
            yield serving.frame(i, image=self.image, captured=time.perf_counter(), starts=self.still or not i)
        if self.ends_with:
            raise self.ends_with

    def close(self):
        self.closed = True


class Window:
    """A window without one: remembers what it was shown, and presses the next key after so many frames."""

    def __init__(self, keys=(), every=3):
        self.keys, self.every = list(keys), every
        self.shown, self.closed = [], False

    def show(self, image):
        self.shown.append(image.copy())

    def key(self, milliseconds):
        if self.keys and len(self.shown) >= self.every:
            self.shown_before, self.shown = self.shown, []
            return self.keys.pop(0)
        return ""

    def close(self):
        self.closed = True


@pytest.fixture
def analyzer(brightness_bundle):
    return FrameAnalyzer(Classifier(brightness_bundle), registry.create("none"))


@pytest.fixture
def outputs(analyzer, tmp_path):
    """A recording and events, as arguments of a player."""
    recording = Recording(tmp_path / "out.mp4", 25.0, False)
    return {"recording": recording, "events": Events(str(tmp_path / "out.jsonl"), analyzer.labels)}


def _events(folder):
    return [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_summary_counts_what_the_events_hold(brightness_bundle, outputs, tmp_path):
    """Numbers of tracks that never were shown are not among the events."""

    class Flickering:
        name = "haar"
        asked = 0

        def detect(self, frame):
            self.asked += 1
            boxes = [(2, 2, 20, 20)] + ([(40, 20, 20, 20)] if self.asked % 4 == 3 else [])
            return [detection.Face(np.array(box, float)) for box in boxes]

    analyzer = FrameAnalyzer(Classifier(brightness_bundle), Flickering())
    summary = Player(Source(30), analyzer, **outputs).play()
    lines = _events(tmp_path)
    assert summary.frames == len(lines) == len(serving.frames_of(tmp_path / "out.mp4")) == 30
    assert summary.faces == len({face["track"] for line in lines for face in line["faces"]}) == 1
    assert summary.stopped_by == 0


def test_an_output_that_fails_is_one_error_and_the_others_are_whole(analyzer, outputs, tmp_path, monkeypatch):
    recording, write = outputs["recording"], outputs["recording"].write

    def fails(image, frame):
        write(image, frame)
        if frame.index == 10:
            recording._fail(OSError(28, "No space left on device"))

    monkeypatch.setattr(recording, "write", fails)
    (tmp_path / "out.mp4").write_bytes(b"before")
    with pytest.raises(UserError, match=r"out.mp4 cannot be written \(No space left on device\)"):
        Player(Source(30), analyzer, **outputs).play()
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert len(_events(tmp_path)) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]


@pytest.mark.parametrize(("terminal", "window"), [(True, False), (True, True), (False, False)])
def test_a_bar_is_for_a_terminal_without_a_window(analyzer, monkeypatch, terminal, window):
    errors = io.StringIO()
    errors.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", errors)
    summary = Player(Source(30), analyzer, window=Window() if window else None, max_frames=7).play()
    assert summary.frames == 7
    assert ("frames/s" in errors.getvalue()) == (terminal and not window)


def test_what_the_first_frame_does_not_need_is_not_imported():
    code = (
        "import sys, fer_jax.cli, fer_jax.bundle.runtime;"
        "from fer_jax.serve import analysis, outputs, player, sources;"
        "print({'tqdm', 'urllib.request', 'importlib.metadata', 'scipy'} & set(sys.modules))"
    )
    done = run_python("-c", code, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("error", [UserError("camera 0 gave no frame after 20"), RuntimeError("a defect")])
def test_what_came_before_a_source_broke_off_is_kept(analyzer, outputs, tmp_path, error):
    source, window = Source(20, ends_with=error), Window()
    with pytest.raises(type(error), match=str(error)):
        Player(source, analyzer, window=window, **outputs).play()
    assert source.closed and window.closed
    assert len(serving.frames_of(tmp_path / "out.mp4")) == len(_events(tmp_path)) == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_with_all_files_closed(analyzer, outputs, tmp_path, number):
    class Interrupting(Source):
        def __iter__(self):
            for frame in super().__iter__():
                if frame.index == 20:
                    signal.pthread_kill(threading.main_thread().ident, number)
                yield frame

    before = signal.getsignal(number)
    summary = Player(Interrupting(100_000), analyzer, **outputs).play()
    assert summary.stopped_by == number
    assert 10 < summary.frames < 1000
    assert len(serving.frames_of(tmp_path / "out.mp4")) == summary.frames
    assert [line["frame"] for line in _events(tmp_path)] == list(range(summary.frames))
    assert signal.getsignal(number) == before


def test_nobody_reads_the_events_any_more(analyzer, outputs, tmp_path, monkeypatch):
    def broken(result):
        if result.frame.index == 4:
            raise BrokenPipeError

    monkeypatch.setattr(outputs["events"], "write", broken)
    summary = Player(Source(30), analyzer, **outputs).play()
    assert summary.stopped_by == signal.SIGPIPE
    assert len(serving.frames_of(tmp_path / "out.mp4")) == 5


@pytest.fixture
def last_shown(analyzer, tmp_path, monkeypatch):
    """What the window shows last after these keys, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def show(*keys, analyzer=analyzer, **start):
        window = Window([*keys, "q"])
        summary = Player(Source(100_000, live=True, size=(240, 320)), analyzer, window=window, **start).play()
        assert window.closed
        assert summary.frames < 1000
        return window.shown_before[-1].astype(int)

    return show


def test_each_key_changes_what_is_shown(last_shown, tmp_path):
    keys = ([], ["h"], ["v"], ["v", "v"], ["h", "h"])
    # without the line below, which counts
    plain, help_, single, both, neither = (last_shown(*pressed)[:200] for pressed in keys)
    assert np.abs(help_ - plain).max() > 50
    assert np.abs(single - plain).max() > 50
    np.testing.assert_array_equal(both, plain)
    np.testing.assert_array_equal(neither, plain)
    last_shown("h", "h", "v", "s")
    (still,) = tmp_path.glob("still-*.png")
    assert cv2.imread(str(still)).shape == (240, 320, 3)


def test_the_key_for_the_evidence_for_a_name(last_shown, map_bundle):
    with_maps = FrameAnalyzer(Classifier(map_bundle), registry.create("none"))
    plain, tinted, back = (last_shown(*keys, analyzer=with_maps)[100:200] for keys in ("", "e", "ee"))
    from_the_start = last_shown(analyzer=with_maps, explain=True)[100:200]
    assert np.abs(tinted - plain).max() > 50
    np.testing.assert_array_equal(back, plain)
    np.testing.assert_array_equal(from_the_start, tinted)
    told, silent = last_shown("e"), last_shown()
    np.testing.assert_array_equal(told[100:200], silent[100:200])
    assert (told[220:, :160] != silent[220:, :160]).any(), "the line below says that there is none"


def test_a_pause_shows_nothing_new_and_ends(analyzer):
    class Pausing(Window):
        asked = 0

        def key(self, milliseconds):
            self.asked += len(self.shown) >= 5
            if self.asked in (1, 20):
                self.seen = [*getattr(self, "seen", ()), len(self.shown)]
                return "space"
            return "q" if self.asked > 20 and len(self.shown) > 10 else ""

    window = Pausing()
    summary = Player(Source(100_000, live=True), analyzer, window=window).play()
    assert window.seen[1] <= window.seen[0] + 1, "only the word paused is new"
    assert summary.frames >= 9


def test_a_file_in_a_window_plays_in_its_own_time_and_pictures_stay_until_it_is_closed(analyzer):
    started = time.perf_counter()
    assert Player(Source(10), analyzer, window=Window()).play().frames == 10
    assert time.perf_counter() - started >= 9 / 25
    window = Window(["v", "h", "q"], every=1)
    assert Player(Source(1, still=True), analyzer, window=window).play().frames == 1
    assert window.keys == []


def test_thousands_of_frames_take_no_more_memory_than_hundreds(analyzer, tmp_path):
    class Measured(Source):
        peaks = ()

        def __iter__(self):
            for frame in super().__iter__():
                if frame.index in (500, 4999):
                    self.peaks = (*self.peaks, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
                yield frame

    source = Measured(5000)
    assert Player(source, analyzer, events=Events(str(tmp_path / "out.jsonl"), analyzer.labels)).play().frames == 5000
    unit = 1024 if sys.platform != "darwin" else 1
    grown = (source.peaks[1] - source.peaks[0]) * unit
    assert grown < 16 * 2**20, f"{grown / 2**20:.0f} MiB more; all frames together have 44"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
@pytest.mark.parametrize("display", ["", ":931", "localhost:931.0", "nonsense", ":x"])
def test_a_display_that_does_not_answer_and_one_that_does(monkeypatch, tmp_path, display):
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(UserError, match="no display to open a window on: say --headless"):
        player.Window("test")
    monkeypatch.setattr(player, "_X_SOCKETS", tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "X932"))
        server.listen()
        assert player._x_display_answers(":932")
        assert player._x_display_answers("unix:932.0")
        assert not player._x_display_answers(display)


@pytest.fixture
def highgui(monkeypatch):
    """OpenCV's window functions without a window: the key's `code`, `visible` or not, the `sizes` it was given."""
    state = types.SimpleNamespace(code=-1, visible=1.0, sizes=[])

    def wait(milliseconds):
        assert milliseconds >= 1, "0 would wait for ever"
        return state.code

    monkeypatch.setattr(player, "_x_display_answers", lambda display: True)
    monkeypatch.setattr(cv2, "namedWindow", lambda title, flags: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, image: None)
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, *size: state.sizes.append(size))
    monkeypatch.setattr(cv2, "waitKeyEx", wait)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, flag: state.visible)
    return state


KNOWN = {-1: "", 27: "q", 32: "space", ord("q"): "q", ord("V"): "v"}
KNOWN |= {0xFF1B: "q", 0x100000 | ord("h"): "h"}  # Escape of X, and with Num Lock
OTHERS = (0xFF51, 0xFF52, 0xFFFF, 0xFFBE, 0xFFE1, 0x6CA)  # of X: left, up, delete, F1, shift, a Cyrillic letter
OTHERS += (0x250000, 0x260000, 0x2E0000, 0x710000)  # of Windows: left, up, delete, F2
OTHERS += (0xF702, 0xF700, 0xF728, 0xF704, 9, 13, 8)  # of macOS: left, up, delete, F1; tab, return, backspace


def test_keys(highgui):
    """Cut down to 8 bits, X's left arrow is a Q, which quits."""
    opened = player.Window("test")
    assert opened.key(0) == "", "a window that has not shown anything was not closed either"
    opened.show(np.zeros((48, 64, 3), np.uint8))
    opened.show(np.zeros((48, 64, 3), np.uint8))
    assert highgui.sizes == [(64, 48)], "who resized the window wants it to stay so"
    for code, key in (KNOWN | dict.fromkeys(OTHERS, "")).items():
        highgui.code = code
        assert opened.key(0) == key, hex(code)
    highgui.code, highgui.visible = -1, 0.0
    assert opened.key(0) == "q", "its user closed it"


@pytest.fixture
def on_linux(highgui, monkeypatch, tmp_path):
    """A Linux with an X display and an OpenCV whose Qt has the platform xcb alone, as opencv-python has it."""
    (tmp_path / "libqxcb.so").touch()
    monkeypatch.setattr(player, "_QT_PLATFORMS", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    return monkeypatch


@pytest.mark.parametrize("wanted", ["wayland", "wayland-egl", "wayland;xcb"])
def test_a_wayland_session_shows_the_window_through_x_unless_opencv_has_the_system_s_library(
    on_linux, wanted, tmp_path
):
    on_linux.setenv("QT_QPA_PLATFORM", wanted)
    player.Window("test")
    assert os.environ["QT_QPA_PLATFORM"] == "xcb"
    (tmp_path / "libqxcb.so").unlink()
    on_linux.setenv("QT_QPA_PLATFORM", wanted)
    player.Window("test")
    assert os.environ["QT_QPA_PLATFORM"] == wanted


def _no_windows(monkeypatch):
    def refuse(title, flags):
        raise cv2.error("not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuse)


def _wayland_alone(monkeypatch):
    monkeypatch.setattr(player, "_x_display_answers", lambda display: False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *[
            (lambda patch, name=name: patch.setenv("QT_QPA_PLATFORM", name), f"={name} has no window .* xcb: unset it")
            for name in ("offscreen", "minimal", "vnc", "linuxfb:fb=/dev/fb0")  # Qt aborts the process
        ],
        (_wayland_alone, "this Wayland session has no X display.*: install XWayland or say"),
        (_no_windows, "this OpenCV cannot open windows: install opencv-python .* or say --headless"),
    ],
)
def test_windows_that_cannot_be_opened(on_linux, change, words):
    change(on_linux)
    with pytest.raises(UserError, match=words):
        player.Window("test")
