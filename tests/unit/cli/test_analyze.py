"""`fer-jax analyze` as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_jax.labels import FER2013
from tests import serving, videos
from tests.conftest import REPOSITORY, run_commands, run_python

HAPPY, SAD = (serving.brightness_of(FER2013.index(name)) for name in ("happy", "sad"))


@pytest.fixture
def analyze(brightness_bundle, tmp_path):
    """Runs it in a folder with a.png, happy, b.png, sad, c.mp4, both, and broken.png."""
    for name, gray in (("a", HAPPY), ("b", SAD)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((20, 30), gray, np.uint8))
    serving.write_clip(tmp_path / "c.mp4", [HAPPY] * 4)
    (tmp_path / "broken.png").write_bytes(b"broken")
    command = "-m", "fer_jax", "analyze", f"--bundle={brightness_bundle}"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments, detector="none"):
        return run_python(*command, f"--detector={detector}", *arguments, cwd=tmp_path, env=environment)

    run.command, run.environment = command, environment
    return run


def test_a_table_for_people_and_annotated_copies(analyze, tmp_path):
    done = analyze("a.png", "--out=annotated")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["expression", "sure", "left", "top", "width", "height", "source"]
    assert row.split()[0] == "happy"
    assert row.split()[2:] == ["0", "0", "30", "20", "a.png"]
    assert "no face" in analyze("a.png", detector="haar").stdout
    picture = cv2.imread(str(tmp_path / "annotated/a.png"))
    assert picture.shape == (20, 30, 3)
    assert (picture != HAPPY).any()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((20, 30), HAPPY, np.uint8))
    assert analyze("one", "two", "c.mp4", "--out=copies").returncode == 0
    names = ["a-2.png", "a.png", "c.mp4"]
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == names, "two pictures have one name"
    assert len(serving.frames_of(tmp_path / "copies/c.mp4")) == 4


def test_json_and_csv_of_pictures_globs_and_videos(analyze):
    lines = [json.loads(line) for line in analyze("--json", "[ab].png", "c.mp4").stdout.splitlines()]
    assert [(line["source"], line["frame"], line["label"]) for line in lines] == [
        ("a.png", 0, "happy"),
        ("b.png", 0, "sad"),
        *(("c.mp4", frame, "happy") for frame in range(4)),
    ]
    rows = list(csv.DictReader(analyze("--csv", "[ab].png").stdout.splitlines()))
    assert [row["label"] for row in rows] == ["happy", "sad"]
    assert float(rows[0]["happy"]) == pytest.approx(lines[0]["probabilities"]["happy"])


def test_json_and_csv_are_utf_8_whatever_the_terminal_is(analyze, tmp_path):
    (tmp_path / "a.png").rename(tmp_path / "über.png")
    for form in ("--json", "--csv"):
        command = [sys.executable, *analyze.command, "--detector=none", form, "über.png"]
        environment = analyze.environment | {"PYTHONIOENCODING": "latin-1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
        assert "über.png" in done.stdout.decode("utf-8")


def test_of_several_what_cannot_be_read_is_skipped_and_told(analyze):
    done = analyze(".")
    assert done.returncode == 1
    assert "broken.png: not an image" in done.stderr
    assert len(done.stdout.splitlines()) == 3 + 2, "two pictures and a video"


def test_what_happened_in_a_video(analyze, tmp_path):
    serving.write_clip(tmp_path / "d.mp4", [HAPPY] * 50 + [SAD] * 100)
    done = analyze("d.mp4", "--summary=d.json", "--plot=d.svg", "--thumbnails")
    assert (done.returncode, done.stderr) == (0, "")
    heading, columns, row = done.stdout.splitlines()
    assert heading == "d.mp4: 6.0 s, 1 person"
    person = dict(zip(columns.split(), row.replace(" s ", " ").split(), strict=True))
    assert (person["face"], person["mostly"]) == ("1", "sad")
    assert int(person["sad"].strip("%")) == pytest.approx(67, abs=5)
    written = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert written["people"][0]["shares"]["sad"] == pytest.approx(2 / 3, abs=0.05)
    assert (tmp_path / "d.svg").read_text(encoding="utf-8").count("<image") == 1
    rows = analyze("d.mp4", "--frames", "--fps=5", "--start=1", "--end=3").stdout.splitlines()
    assert (len(rows), rows[1].split()[0], rows[-1].split()[0]) == (1 + 10, "happy", "sad")
    assert rows[1].endswith("d.mp4 at 1.00 s, face 1")


def test_several_videos_have_a_line_and_a_file_each(analyze, tmp_path):
    serving.write_clip(tmp_path / "d.mp4", [SAD] * 10)
    done = analyze("c.mp4", "d.mp4", "a.png", "--summary=sums", "--plot=plots")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [
        ("expression", "source"),
        ("happy", "a.png"),
        ("faces", "source"),
        ("1", "c.mp4"),
        ("1", "d.mp4"),
    ]
    for folder, suffix in (("sums", "json"), ("plots", "svg")):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == [f"c.{suffix}", f"d.{suffix}"]


def test_what_comes_before_damage_is_shown(analyze, tmp_path):
    path = videos.write(tmp_path / "d.mkv", [i / 25 for i in range(250)], gop=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = analyze("d.mkv", "--summary=d.json")
    assert done.returncode == 2
    assert "truncated or damaged" in done.stderr
    assert "1 person" in done.stdout
    assert 3 < json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["seconds"] < 7


@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot be asked to end")
def test_a_signal_ends_it_with_what_was_seen(analyze, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    clip = videos.write(tmp_path / "d.mkv", [i / 25 for i in range(250)], gop=10).read_bytes()
    command = [sys.executable, *analyze.command, "--detector=none", "pipe", "--frames", "--out=copies"]
    environment = analyze.environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True) as running:
        with (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(clip)
            pipe.flush()
            assert "expression" in running.stdout.readline()
            running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["pipe.mp4"]


def test_mistakes_get_one_line(analyze, brightness_bundle, tmp_path):
    (tmp_path / "file").touch()
    said = {
        "": "nothing to analyze",
        "a.png --json --csv": "--json, --csv and --frames are forms of one output",
        "a.png --thumbnails": "--thumbnails belongs to --plot",
        "a.png --every=0": "every is 0",
        "a.png --out=": "--out is empty",
        "a.png --out=.": "--out=. would overwrite the input a.png",
        "a.png --out=file": "error: file is a file, expected a folder",
        "a.png b.png --out=/proc/annotated": "/proc",
        "a.png --plot=x.gif": "expected a name ending in .svg, .png, .html",
        "a.png --summary=x.json": "a.png is a picture",
        "a.png b.png --summary=x.json": "one file for 2: name a folder",
        "c.mp4 --plot=a.png": "not written here",
        "broken.png": "broken.png: not an image",
        "nowhere.png": "nowhere.png: no such file",
        "*.tiff": "*.tiff: no pictures or videos there",
        "a.png --jsn": "Did you mean: json",
    }
    lines = [f"analyze --bundle={brightness_bundle} --detector=none {words}" for words in said]
    before = "import cv2, onnxruntime, fer_jax.serve.analyzer"
    found = run_commands(*lines, before=before, cwd=tmp_path, env=analyze.environment)
    for done, message in zip(found, said.values(), strict=True):
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert message in line
