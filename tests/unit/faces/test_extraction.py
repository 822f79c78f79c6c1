"""Faces out of drawn photographs: found, cut as in serving, straightened, kept in their folders."""

import csv
import dataclasses
import pathlib

import cv2
import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, extraction
from tests import datasets

HAPPY, SAD, NEUTRAL = (labels.FER2013.index(name) for name in ("happy", "sad", "neutral"))


def photograph(path, *expressions, seed=1, roll=0.0):
    """Write drawn heads side by side, the first one larger, on a background of their own."""
    heads = []
    for i, expression in enumerate(expressions):
        head = synthetic.draw([expression], 160 if i else 220, 3, seed + i, zoom=0.75)[0]
        heads.append(np.pad(head, ((0, 220 - len(head)), (0, 0), (0, 0)), constant_values=60))
    picture = np.concatenate(heads, axis=1)
    turn = cv2.getRotationMatrix2D((110, 110), -roll, 1.0)
    picture = cv2.warpAffine(picture, turn, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


def listing(out):
    with (out / extraction.LISTING).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photographs(tmp_path):
    root = tmp_path / "photographs"
    photograph(root / "happy" / "one.jpg", HAPPY)
    photograph(root / "happy" / "two.png", HAPPY, NEUTRAL, seed=3)
    photograph(root / "sad" / "one.png", SAD, seed=5)
    (root / "sad" / ".DS_Store").write_bytes(b"\0")
    return root


def test_the_result_is_a_folder_to_train_on(photographs, tmp_path):
    result = extraction.extract(photographs, tmp_path / "faces", detection.Haar(), size=48)
    assert result == extraction.Extraction(("happy/one.jpg", "happy/two.png", "sad/one.png"), (), (), 3)
    examples = datasets.read("folder", tmp_path / "faces")
    assert examples.label_names == ("happy", "sad") and examples.class_counts().tolist() == [2, 1]


def test_faces_are_cut_as_in_serving(photographs, tmp_path):
    detector = detection.Haar()
    extraction.extract(photographs, tmp_path / "faces", detector)
    frame = cv2.imread(str(photographs / "sad" / "one.png"))
    (face,) = detector.detect(frame)
    served = cropping.cut(frame, face.box, cropping.CropPolicy.of(cropping.CROP, "haar"))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "faces" / "sad" / "one.png")), served)
    row = listing(tmp_path / "faces")[-1]
    assert [float(row[key]) for key in ("left", "top", "width", "height")] == pytest.approx(face.box, abs=0.05)


def test_the_largest_face_or_all(photographs, tmp_path):
    extraction.extract(photographs, tmp_path / "one", detection.Haar(), size=32)
    result = extraction.extract(photographs, tmp_path / "all", detection.Haar(), every_face=True, size=32)
    assert result.faces == 4
    rows = [row for row in listing(tmp_path / "all") if row["photograph"] == "happy/two.png"]
    assert [row["face"] for row in rows] == ["happy/two.png", "happy/two_2.png"]
    assert float(rows[0]["width"]) > float(rows[1]["width"])
    assert not (tmp_path / "one" / "happy" / "two_2.png").exists()


def test_a_tilted_head_is_leveled_and_its_roll_listed(tmp_path):
    class Tilted:
        """Haar's boxes, with the slope that a detector with landmarks would measure."""

        name, roll = "haar", 12.0

        def detect(self, frame):
            return [dataclasses.replace(face, roll=self.roll) for face in detection.Haar().detect(frame)]

    photograph(tmp_path / "tilted" / "face.png", NEUTRAL, seed=2, roll=12.0)
    photograph(tmp_path / "level" / "face.png", NEUTRAL, seed=2)
    extraction.extract(tmp_path / "tilted", tmp_path / "tilted_faces", Tilted(), size=96)
    extraction.extract(tmp_path / "level", tmp_path / "level_faces", detection.Haar(), size=96)
    assert [listing(tmp_path / f"{name}_faces")[0]["roll_degrees"] for name in ("tilted", "level")] == ["12.0", ""]
    tilted, level = (cv2.imread(str(tmp_path / f"{name}_faces" / "face.png"), 0) for name in ("tilted", "level"))
    assert np.corrcoef(tilted.ravel(), level.ravel())[0, 1] > 0.85


def test_photographs_without_a_face_and_unreadable_files_are_listed(photographs, tmp_path):
    cv2.imwrite(str(photographs / "sad" / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    (photographs / "sad" / "broken.jpg").write_bytes(b"no image")
    result = extraction.extract(photographs, tmp_path / "faces", detection.Haar())
    assert result.without_face == ("sad/wall.png",) and result.unreadable == ("sad/broken.jpg",)
    findings = {row["photograph"]: row["finding"] for row in listing(tmp_path / "faces")}
    assert findings["sad/wall.png"] == "no face" and findings["sad/broken.jpg"] == "unreadable"
    assert not (tmp_path / "faces" / "sad" / "wall.png").exists()


def test_photographs_that_differ_in_their_suffix_only_keep_apart(photographs, tmp_path):
    photograph(photographs / "happy" / "one.png", HAPPY, seed=9)
    extraction.extract(photographs, tmp_path / "faces", detection.Haar(), size=16)
    names = sorted(path.name for path in (tmp_path / "faces" / "happy").iterdir())
    assert names == ["one.png", "one_png.png", "two.png"]


def test_bad_folders_are_refused_and_nothing_is_lost(photographs, tmp_path):
    for name in ("full", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep", encoding="utf-8")
    for source, out, message in (
        (tmp_path / "nowhere", tmp_path / "out", "nowhere is no folder: expected photographs"),
        (photographs, photographs / "faces", "is within --source"),
        (photographs, tmp_path / "full", "is there already and not empty"),
        (tmp_path / "empty", tmp_path / "out", "has no files"),
    ):
        with pytest.raises(UserError, match=message):
            extraction.extract(source, out, detection.Haar())
    assert (tmp_path / "full" / "mine.txt").read_text(encoding="utf-8") == "keep"
    assert not (tmp_path / "out").exists()


def test_what_was_found_before_an_error_is_kept(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "photos" / name), np.zeros((8, 8, 3), np.uint8))

    class BreaksOff(detection.WholeImage):
        """Finds a face in the first photograph, and is interrupted at the second."""

        faces = iter([[detection.Face(np.array([0, 0, 8, 8]))]])

        def detect(self, frame):
            for found in self.faces:
                return found
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extraction.extract(tmp_path / "photos", tmp_path / "faces", BreaksOff())
    assert (tmp_path / "faces" / "a.png").is_file()
    assert "a.png,face" in (tmp_path / "faces" / extraction.LISTING).read_text(encoding="utf-8")


def test_names_are_shortened_to_what_a_file_system_takes_and_each_face_has_its_own():
    written = set()
    names = [extraction._target(pathlib.Path(f"{'a' * 251}.jpg"), number, written).name for number in (1, 2, 1)]
    assert [len(name) for name in names] == [255] * 3
    assert [name.lstrip("a") for name in names] == [".png", "_2.png", "_jpg.png"]
    written = set()
    for name in ("a.jpg", "a_jpg.png") * 3:
        extraction._target(pathlib.Path(name), 1, written)
    assert len(written) == 6
