"""The webcam tool as a user runs it."""

import contextlib
import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from fer_jax.labels import FER2013
from tests import serving, videos
from tests.conftest import run_commands
from tests.integration.conftest import REPOSITORY

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def brightness_bundle(tmp_path_factory):
    return serving.write_bundle(tmp_path_factory.mktemp("bundles") / "brightness")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """40 plain frames that are "happy" in the first half and "sad" in the second."""
    grays = [serving.brightness_of(FER2013.index(name)) for name in ("happy", "sad")]
    return serving.write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", np.repeat(grays, 20))


def _start(*args, before=(), **kwargs):
    """The tool, started: a process with pipes."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tools.webcam", *map(str, args)],
        text=True,
        encoding="utf-8",
        **{"cwd": REPOSITORY, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs,
    )


def _finished(tool, code=0):
    """What it wrote to standard output and standard error, once it ended with this exit code and no traceback."""
    output, errors = tool.communicate(timeout=PATIENCE_SECONDS)
    assert tool.returncode == code, errors
    assert "Traceback" not in errors
    return output, errors


def _plain(bundle, source, *flags, **kwargs):
    """The tool, started on whole pictures without a window."""
    return _start(f"--bundle={bundle}", f"--source={source}", "--headless", "--detector=none", *flags, **kwargs)


def _events(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_clip_gives_events_and_a_recording(brightness_bundle, clip, tmp_path):
    outputs = f"--record={tmp_path}/out.mp4", f"--events={tmp_path}/out.jsonl"
    output, errors = _finished(_plain(brightness_bundle, clip, *outputs))
    assert output == ""
    assert "40 frames, 1 face" in errors
    assert "without sound" in errors
    lines = _events(tmp_path / "out.jsonl")
    labels = [line["faces"][0]["label"] for line in lines]
    assert [line["frame"] for line in lines] == list(range(40))
    rows = [face["probabilities"] for line in lines for face in line["faces"]]
    assert [max(row, key=row.get) for row in rows] == ["happy"] * 20 + ["sad"] * 20
    assert labels == sorted(labels), "the shown name changes once"
    assert len(serving.frames_of(tmp_path / "out.mp4")) == 40


def test_the_group_video(real_data, brightness_bundle, tmp_path):
    yunet = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    flags = [f"--events={tmp_path}/out.csv", f"--record={tmp_path}/out.mp4", f"--save-faces={tmp_path}/faces"]
    flags += ["--headless", "--max-frames=60", f"--detector-model={yunet}", f"--source={real_data}/video/group_pan.mp4"]
    _finished(_start(f"--bundle={brightness_bundle}", *flags))
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({int(row["frame"]) for row in rows}) == 60
    assert len(rows) >= 3 * 60
    assert len({row["track"] for row in rows}) <= 12
    for row in rows:
        assert sum(float(row[name]) for name in FER2013) == pytest.approx(1, abs=1e-4)
    recorded = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    known = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT
    assert [recorded.get(key) for key in known] == [640, 480, 25, 60]
    assert len(list((tmp_path / "faces").iterdir())) == sum(row["found"] == "True" for row in rows)


def test_a_closed_pipe_ends_quietly(brightness_bundle, clip, tmp_path):
    tool = _plain(brightness_bundle, clip, "--events=-", f"--record={tmp_path}/out.mp4")
    first = json.loads(tool.stdout.readline())
    tool.stdout.close()
    errors = tool.stderr.read()
    assert first["frame"] == 0
    # all may have been written before the pipe was closed
    assert tool.wait(PATIENCE_SECONDS) in (0, 128 + signal.SIGPIPE)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    assert len(serving.frames_of(tmp_path / "out.mp4")) >= 1


def test_closed_standard_streams(brightness_bundle, clip, tmp_path):
    flags = f"--events={tmp_path}/out.jsonl", f"--record={tmp_path}/out.mp4"
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    assert _plain(brightness_bundle, clip, *flags, before=closed).wait(PATIENCE_SECONDS) == 0
    assert len(_events(tmp_path / "out.jsonl")) == len(serving.frames_of(tmp_path / "out.mp4")) == 40


@pytest.fixture
def endless(brightness_bundle, tmp_path):
    """`endless(*flags)` starts the tool on a video from a pipe that does not end."""
    data = videos.write(tmp_path / "part.ts", [i / 25 for i in range(50)]).read_bytes()
    (tmp_path / "part.ts").unlink()

    def start(*flags):
        tool = _plain(brightness_bundle, "-", *flags, stdin=subprocess.PIPE)

        def feed():
            with contextlib.suppress(OSError):
                while True:
                    tool.stdin.buffer.write(data)

        threading.Thread(target=feed, daemon=True).start()
        return tool

    return start


def test_control_c(endless, tmp_path):
    tool = endless(f"--events={tmp_path}/out.jsonl", f"--record={tmp_path}/out.avi")
    _wait_for(lambda: len(_whole_lines(tmp_path / "out.jsonl.part")) > 5)
    tool.send_signal(signal.SIGINT)
    _finished(tool, 128 + signal.SIGINT)
    assert len(_events(tmp_path / "out.jsonl")) > 5
    assert serving.frames_of(tmp_path / "out.avi")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.avi", "out.jsonl"]


def _whole_lines(path):
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def test_a_killed_run_leaves_nothing_that_looks_like_a_result_and_the_next_one_clears_it_away(
    brightness_bundle, endless, clip, tmp_path
):
    for name in ("out.mp4", "out.jsonl"):
        (tmp_path / name).write_text("before", encoding="utf-8")
    outputs = f"--events={tmp_path}/out.jsonl", f"--record={tmp_path}/out.mp4", f"--save-faces={tmp_path}"
    tool = endless(*outputs)
    # the encoder looks some frames ahead before it writes any
    _wait_for(lambda: len(_whole_lines(tmp_path / "out.jsonl.part")) > 5 and any(tmp_path.glob(".out.*")))
    tool.kill()
    tool.communicate(timeout=PATIENCE_SECONDS)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in ("out.mp4", "out.jsonl")] == ["before"] * 2
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix == ".part"]
    assert len(left) >= 2, "the recording and the events were being written"
    for path in tmp_path.glob("[0-9]*.png"):
        assert cv2.imread(str(path)) is not None, "a face is whole or not there"
    _finished(_plain(brightness_bundle, clip, *outputs))
    assert not [path for path in left if path.exists()]
    assert len(_events(tmp_path / "out.jsonl")) == len(videos.times_of(tmp_path / "out.mp4")) == 40


def test_a_browser_plays_the_recordings(brightness_bundle, tmp_path):
    """Chromium reads their sizes and durations, and shows a frame of the middle: a plain one of the gray it had."""
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("chromium and chromium-driver are not installed")
    times = [0.0, 0.04, 0.08, 0.5, 0.52, 1.7, 2.9]
    clip = videos.write(tmp_path / "clip.mkv", times, images=[np.full((48, 64, 3), 200, np.uint8)] * len(times))
    names = ["out.mp4", "out.mov", "out.webm", "out.mkv"]
    given = f"webcam --bundle={brightness_bundle} --source={clip} --headless --detector=haar"
    for done in run_commands(*(f"{given} --record={tmp_path}/{name}" for name in names)):
        assert done.returncode == 0, done.stderr
    (tmp_path / "page.html").write_text("<!doctype html><title>recordings</title>", encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files")
    for flag in (*flags, f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chromium:
        chromium.get((tmp_path / "page.html").as_uri())
        chromium.set_script_timeout(PATIENCE_SECONDS)
        for name in names:
            found = chromium.execute_async_script(PLAY, name)
            assert isinstance(found, list), f"{name}: {found}"
            width, height, duration, pixel = found
            assert (width, height) == (64, 48)
            assert duration == pytest.approx(2.94, abs=0.1)
            assert pixel == pytest.approx(200, abs=6)


PLAY = """
const [name, done] = arguments;
const video = document.createElement("video");
video.muted = true;
video.onerror = () => done("error: " + video.error.message);
video.onloadeddata = () => { video.currentTime = 1.0; };
video.onseeked = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const pixel = context.getImageData(32, 24, 1, 1).data[0];
  done([video.videoWidth, video.videoHeight, video.duration, pixel]);
};
video.src = name;
"""


def test_a_name_of_any_characters(brightness_bundle, clip, tmp_path):
    name = "caf\udce9 100%03d a:b.mp4"
    shutil.copy(clip, tmp_path / name)
    (tmp_path / "out").mkdir()
    output, _ = _finished(_plain(brightness_bundle, tmp_path / name, "--events=-", f"--record={tmp_path}/out/{name}"))
    assert {json.loads(line)["source"] for line in output.splitlines()} == {f"{tmp_path}/caf\\xe9 100%03d a:b.mp4"}
    assert len(videos.times_of(tmp_path / "out" / name)) == 40


def test_a_folder_of_pictures_and_a_video_gives_a_folder(brightness_bundle, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("photo2.png", "photo10.jpg"):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((60, 80, 3), 90, np.uint8))
    videos.write(tmp_path / "in" / "photo3.webm", [0.0, 0.04], codec="libvpx", tick=videos.MILLISECONDS)
    (tmp_path / "in" / "notes.txt").touch()
    flags = "--events=-", f"--record={tmp_path}/out/", "--mirror"
    output, errors = _finished(_plain(brightness_bundle, tmp_path / "in", *flags))
    assert "left out 1, neither pictures nor videos: notes.txt" in errors
    assert "4 frames, 3 faces" in errors
    names = [json.loads(line)["source"].rpartition("/")[2] for line in output.splitlines()]
    assert names == ["photo2.png", "photo3.webm", "photo3.webm", "photo10.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo10.jpg", "photo2.png", "photo3.mp4"]
    assert len(videos.times_of(tmp_path / "out" / "photo3.mp4")) == 2


def _wait_for(happened):
    """Wait until something has happened that cannot be waited for otherwise."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.05)
    return result


def test_mistakes_get_one_line(mistakes, brightness_bundle, clip, tmp_path):
    original = shutil.copy(clip, tmp_path / "talk.mp4")
    (tmp_path / "link.mp4").symlink_to(original)
    given, to_link = f"--bundle={brightness_bundle} --source={clip}", f"{tmp_path}/link.mp4 would overwrite the input"
    said = {
        f"--bundle={tmp_path} --source={clip} --headless": "no bundle at ",
        f"--bundle={brightness_bundle} --source={tmp_path}/none.mp4 --headless": "none.mp4: no such file or folder",
        f"{given} --record=/proc/out.mp4 --headless": "--record: /proc cannot be written",
        given: "no display to open a window on: say --headless",
        f"{given} --headless --detector=yunet": "YuNet is not fetched, since FER_JAX_OFFLINE is set",
        f"{given} --headless --view=both": "--view=both",
        f"{given} --headless --explain": "has no activation map",
    }
    for flag in ("--record", "--events", "--save-faces"):
        said[f"--source={original} {given.split()[0]} {flag}={tmp_path}/link.mp4"] = f"error: {flag}={to_link}"
    lines = [f"webcam --events={tmp_path}/out.jsonl {words}" for words in said]
    for error, words in zip(mistakes(*lines, DISPLAY=""), said.values(), strict=True):
        assert words in error
    assert not (tmp_path / "out.jsonl").exists(), "nothing is written"
    assert original.read_bytes() == clip.read_bytes()


@pytest.fixture
def display(tmp_path):
    """A virtual X display: its environment, and a function that takes its picture (BGR)."""
    for program in ("Xvfb", "xdotool"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp", "-fbdir", str(tmp_path)],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"

    def picture():
        # the X window dump format: a header of big-endian words, a color map, then the pixels
        data = (tmp_path / "Xvfb_screen0").read_bytes()
        words = struct.unpack(">25I", data[:100])
        header, width, height, stride, colors = words[0], words[4], words[5], words[12], words[19]
        start = header + 12 * colors
        rows = np.frombuffer(data[start : start + stride * height], np.uint8).reshape(height, stride // 4, 4)
        return rows[:, :width, :3].copy()

    yield {**os.environ, "DISPLAY": f":{number}"}, picture
    server.terminate()
    server.wait()


def test_the_window(display, brightness_bundle, tmp_path):
    """Every key and both views, on a screen whose picture is taken."""
    environment, picture = display
    image = np.full((400, 600, 3), serving.brightness_of(FER2013.index("happy")), np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), image)
    environment["PYTHONPATH"] = str(REPOSITORY)
    (tmp_path / "stills").mkdir()
    flags = [f"--bundle={brightness_bundle}", "--detector=none", f"--source={tmp_path}/face.png"]
    tool = _start(*flags, cwd=tmp_path / "stills", env=environment)

    def press(key):
        subprocess.run(["xdotool", "key", key], env=environment, check=True)

    def settled(differs_from=None):
        """The screen, once it is another one and two pictures of it are the same."""
        last = None

        def look():
            nonlocal last
            before, last = last, picture()
            changed = last.any() if differs_from is None else (last != differs_from).any()
            return changed and before is not None and (before == last).all()

        _wait_for(look)
        return last

    yellow = np.array((66, 228, 240))
    # the name stands on its color; before, the window may be there and empty
    _wait_for(lambda: ((np.abs(picture().astype(int) - yellow) < 20).all(axis=-1)).sum() > 500)
    multi = settled()
    for key in ("Left", "Right", "Up", "Delete", "F1", "Tab"):
        press(key)  # which do nothing; the left arrow's code ends in that of Q
    press("v")
    single = settled(multi)
    press("v")
    assert (settled(single) == multi).all()
    press("h")
    keys = settled(multi)
    press("h")
    assert (settled(keys) == multi).all()
    press("space")
    assert (settled(multi) != multi).any()
    press("s")
    (still,) = _wait_for(lambda: list((tmp_path / "stills").glob("still-*.png")))
    press("q")
    _, errors = _finished(tool)
    assert errors.splitlines()[0] == "1 frame, 1 face"
    assert cv2.imread(str(still)).shape == (400, 600, 3)


def test_the_same_pixels_give_the_same_probabilities_in_training_s_evaluation_and_here(command, tmp_path):
    """A network is evaluated as training does, and put into a bundle; pictures of its examples go through the tool."""
    import jax

    from configs import default
    from fer_jax.bundle import manifest
    from fer_jax.data.sources import synthetic
    from fer_jax.evaluation.evaluator import Evaluator
    from fer_jax.export import graph, onnx
    from fer_jax.export.graph import Source
    from fer_jax.models import registry

    config = default.get_config()
    config.model.args = {"block_features": (8, 16)}
    model = registry.create("mini_xception", 7, config.model.args)
    plain = registry.create("mini_xception", 7, config.model.args, implementation="plain")
    rng = np.random.default_rng(0)

    def draw(leaf):
        if leaf.ndim == 1:
            return rng.uniform(0.5, 1, leaf.shape).astype(np.float32)
        return rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)

    images = np.zeros((1, 48, 48, 1), np.float32)
    variables = jax.tree.map(draw, jax.eval_shape(lambda: model.init(jax.random.key(0), images, False)))
    faces = synthetic.draw(np.arange(14, dtype=np.int32) % 7, 48)
    evaluator = Evaluator(model, config, len(faces), jax.devices()[:1])
    # no class likelier than another, and sharp: what differs between the faces shows
    variables["params"]["classes_conv"]["bias"] -= evaluator.logits(variables, faces).mean(axis=0)
    logits = evaluator.logits(variables, faces)
    temperature = float(logits.std())
    expected = np.asarray(jax.nn.softmax(logits / temperature))
    assert np.ptp(expected, axis=0).max() > 0.1, "the faces must not all look the same to it"

    spec = manifest.Input(config.input.size, config.input.channels, config.input.scaling, config.input.resize)
    infer = graph.inference(plain, variables, spec)

    def save(path):
        onnx.save(path, Source(infer, spec, {}, path.parent))

    folder = serving.write_bundle(tmp_path / "bundle", spec=spec, temperature=temperature, graph=save)
    for i, image in enumerate(faces):
        cv2.imwrite(str(tmp_path / f"{i:02d}.png"), image)
    flags = ["--detector=none", "--headless", "--tta=none", "--events=-"]
    done = command("tools.webcam", f"--bundle={folder}", f"--source={tmp_path}/*.png", *flags)
    lines = map(json.loads, done.stdout.splitlines())
    found = [list(face["probabilities"].values()) for line in lines for face in line["faces"]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
