"""CK+ in both layouts: people, expressions, the last three frames, and sequences without a label."""

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data.sources import ckplus
from fer_jax.errors import UserError
from tests import datasets


def read(root):
    return datasets.read("ckplus", root, size=64)


@pytest.mark.parametrize("layout", ["folders", "original"])
def test_both_layouts_give_labels_and_people(tmp_path, layout):
    examples = read(datasets.write_ckplus(tmp_path, layout, people=2))
    assert len(examples) == 2 * 7 * 3
    assert examples.label_names == labels.CKPLUS
    assert examples.class_counts().tolist() == [6] * 7
    assert {str(name): int((examples.subjects == name).sum()) for name in np.unique(examples.subjects)} == {
        "S010": 21,
        "S011": 21,
    }
    assert examples.split_names == ("all",)
    # a person's pictures of one expression are the last three of four frames, in both layouts in that order
    drawn = datasets.faces(["surprise"] * 4, 64, seed=17)[1:]
    chosen = (examples.subjects == "S011") & (examples.labels == labels.CKPLUS.index("surprise"))
    np.testing.assert_array_equal(examples.images[chosen][..., 0], drawn)


def test_sequences_without_a_label_are_skipped_and_counted(tmp_path):
    root = datasets.write_ckplus(tmp_path, "original", people=3)
    assert read(root).description.endswith("; 3 sequences without a label are skipped")
    for path in (root / "Emotion" / "S010" / "001").iterdir():
        path.unlink()
    (root / "Emotion" / "S010" / "001").rmdir()  # without a folder either
    examples = read(root)
    assert examples.description.endswith("; 4 sequences without a label are skipped")
    assert len(examples) == 60


def test_a_sequence_shorter_than_three_frames_gives_what_it_has(tmp_path):
    assert len(read(datasets.write_ckplus(tmp_path, "original", people=1, frames=2))) == 14


def test_a_missing_expression_keeps_the_numbers_of_the_others(tmp_path):
    root = datasets.write_ckplus(tmp_path, people=1)
    for path in (root / "contempt").iterdir():
        path.unlink()
    (root / "contempt").rmdir()
    examples = read(root)
    assert examples.label_names == labels.CKPLUS
    assert examples.class_counts().tolist() == [3, 0, 3, 3, 3, 3, 3]


def test_other_words_for_the_expressions_are_understood(tmp_path):
    root = datasets.write_ckplus(tmp_path, people=1)
    (root / "anger").rename(root / "Angry")
    assert read(root).class_counts().tolist() == [3] * 7


def spoil_label(root, text):
    next((root / "Emotion" / "S010" / "004").glob("*.txt")).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("layout", "spoil", "message"),
    [
        ("folders", lambda root: (root / "anger").rename(root / "bored"), "bored: no expression of CK.*expected CK"),
        (
            "folders",
            lambda root: (root / "sadness" / "1.png").write_bytes(b""),
            r"sadness/1\.png: the name does not begin with person, sequence and frame, expected one as S010_004",
        ),
        ("folders", lambda root: (root / "sadness" / "S010_001_1.png").write_bytes(b""), "not an image"),
        ("original", lambda root: (root / "Emotion").rename(root / "labels"), "cohn-kanade-images/ without Emotion/"),
        (
            "original",
            lambda root: spoil_label(root, " 8.0000000e+00\n"),
            r"'8\.0000000e\+00', expected a number from 1 ",
        ),
        ("original", lambda root: spoil_label(root, "1.5"), "'1.5', expected a number from 1 .anger. to 7 .surprise."),
        ("original", lambda root: spoil_label(root, ""), "emotion.txt: '', expected a number"),
        ("original", lambda root: spoil_label(root, "nan"), "emotion.txt: 'nan', expected a number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, layout, spoil, message):
    root = datasets.write_ckplus(tmp_path, layout, people=1)
    spoil(root)
    with pytest.raises(UserError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)


def test_a_labeled_sequence_without_images_is_refused(tmp_path):
    root = datasets.write_ckplus(tmp_path, "original", people=1)
    for path in (root / "cohn-kanade-images" / "S010" / "003").glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"S010/003: no images, but S010_003_00000004_emotion\.txt labels them"):
        read(root)


def test_the_fingerprint_changes_with_a_label(tmp_path):
    data = datasets.config_of("ckplus", datasets.write_ckplus(tmp_path, "original", people=1)).data
    before = ckplus.fingerprint(data)
    assert before == ckplus.fingerprint(data)
    spoil_label(tmp_path, "1.0")
    assert ckplus.fingerprint(data) != before
