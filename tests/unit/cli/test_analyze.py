"""`fer-jax analyze` as a user runs it."""

import csv
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_jax.labels import FER2013
from tests import serving
from tests.conftest import REPOSITORY

HAPPY, SAD = (serving.brightness_of(FER2013.index(name)) for name in ("happy", "sad"))


@pytest.fixture
def analyze(brightness_bundle, tmp_path):
    """Runs it in a folder with a.png, happy, b.png, sad, c.mp4, both, and broken.png."""
    for name, grey in (("a", HAPPY), ("b", SAD)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((20, 30), grey, np.uint8))
    serving.write_clip(tmp_path / "c.mp4", [HAPPY] * 4)
    (tmp_path / "broken.png").write_bytes(b"broken")
    command = sys.executable, "-m", "fer_jax", "analyze", f"--bundle={brightness_bundle}"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments, detector="none"):
        return subprocess.run(
            [*command, f"--detector={detector}", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    return run


def test_a_table_for_people(analyze):
    done = analyze("a.png")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["expression", "sure", "left", "top", "width", "height", "source"]
    assert row.split()[0] == "happy"
    assert row.split()[2:] == ["0", "0", "30", "20", "a.png"]
    assert "no face" in analyze("a.png", detector="haar").stdout


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


def test_annotated_copies(analyze, tmp_path):
    assert analyze("a.png", "c.mp4", "--out=annotated").returncode == 0
    picture = cv2.imread(str(tmp_path / "annotated/a.png"))
    assert picture.shape == (20, 30, 3)
    assert (picture != HAPPY).any()
    assert len(serving.frames_of(tmp_path / "annotated/c.mp4")) == 4
    done = analyze("a.png", "--out=.")
    assert done.returncode == 2
    assert "--out=. would overwrite the input a.png" in done.stderr


def test_pictures_of_one_name_have_a_copy_each(analyze, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((20, 30), HAPPY, np.uint8))
    assert analyze("one", "two", "--out=annotated").returncode == 0
    assert sorted(path.name for path in (tmp_path / "annotated").iterdir()) == ["a-2.png", "a.png"]
    (tmp_path / "file").touch()
    assert "error: --out: file cannot be written" in analyze("a.png", "--out=file").stderr.replace(f"{tmp_path}/", "")


def test_of_several_what_cannot_be_read_is_skipped_and_told(analyze):
    done = analyze(".")
    assert done.returncode == 1
    assert "warning: ./broken.png: not an image" in done.stderr or "broken.png: not an image" in done.stderr
    assert len(done.stdout.splitlines()) == 3 + 4, "two pictures and the frames of a video"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "what shall be analysed?"),
        (("a.png", "--json", "--csv"), "--json and --csv are two forms of one output"),
        (("broken.png",), "broken.png: not an image"),
        (("nowhere.png",), "nowhere.png: no such file"),
        (("*.tiff",), "*.tiff: no pictures or videos there"),
        (("a.png", "--jsn"), "Did you mean: json"),
    ],
)
def test_mistakes_get_one_line(analyze, arguments, message):
    done = analyze(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
