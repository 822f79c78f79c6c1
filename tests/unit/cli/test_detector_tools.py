"""The commands around detectors, in processes of their own."""

import csv
import os
import shutil

import cv2
import pytest

from tests.conftest import run_python
from tests.unit.faces.test_detection import PAVING_SEEDS, _paving


def _extract(folder, *flags, cache):
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}
    words = [f"--source={folder}/photographs", f"--out={folder}/faces", *flags]
    done = run_python("-m", "tools.extract_faces", *words, env=environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def cache(tmp_path, yunet_model):
    """A user's cache with YuNet's file."""
    folder = tmp_path / "cache" / "fer_jax"
    folder.mkdir(parents=True)
    shutil.copy(yunet_model, folder)
    return folder.parent


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("haar",), 0, "haar comes with OpenCV: there is nothing to fetch"),
        (("yunet", "haar"), 2, "error: unknown detector 'yunet haar': yunet can be fetched, haar comes with OpenCV"),
    ],
)
def test_what_cannot_be_fetched(words, code, line):
    done = run_python("-m", "tools.detector", *words)
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (code, line)


def test_no_paving_stone_is_extracted_where_a_better_detector_is_at_hand(tmp_path, cache, group_picture):
    (tmp_path / "photographs").mkdir()
    cv2.imwrite(str(tmp_path / "photographs" / "group.png"), group_picture)
    for seed in PAVING_SEEDS:
        cv2.imwrite(str(tmp_path / "photographs" / f"paving{seed}.png"), _paving(seed))
    done = _extract(tmp_path, "--faces=all", cache=cache)
    assert done.stdout.splitlines()[0].startswith("6 faces of 1 photographs")
    assert "boxes what is no face" not in done.stderr
    with (tmp_path / "faces" / "extracted.csv").open(encoding="utf-8") as file:
        findings = {row["photograph"]: row["finding"] for row in csv.DictReader(file)}
    assert findings == {"group.png": "face"} | {f"paving{seed}.png": "no face" for seed in PAVING_SEEDS}


def test_haar_s_faces_come_with_a_warning(tmp_path):
    (tmp_path / "photographs").mkdir()
    cv2.imwrite(str(tmp_path / "photographs" / "paving.png"), _paving(PAVING_SEEDS[0]))
    done = _extract(tmp_path, "--detector=haar", cache=tmp_path)
    assert done.stdout.splitlines()[0].startswith("0 faces of 0 photographs")
    assert "warning: Haar's cascade also boxes what is no face" in done.stderr
