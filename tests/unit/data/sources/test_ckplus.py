"""CK+ in both layouts: people, expressions, the last three frames, and sequences without a label."""

import shutil

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
    people, counts = np.unique(examples.subjects, return_counts=True)
    assert (people.tolist(), counts.tolist()) == (["S010", "S011"], [21, 21])
    assert examples.split_names == ("all",)
    # a person's pictures of one expression are the last three of four frames, in both layouts in that order
    drawn = datasets.faces(["surprise"] * 4, 64, seed=17)[1:]
    chosen = (examples.subjects == "S011") & (examples.labels == labels.CKPLUS.index("surprise"))
    np.testing.assert_array_equal(examples.images[chosen][..., 0], drawn)


def test_sequences_without_a_label_are_skipped_and_counted_and_short_ones_give_what_they_have(tmp_path):
    root = datasets.write_ckplus(tmp_path / "long", "original", people=3)
    assert read(root).description.endswith("; 3 sequences without a label are skipped")
    shutil.rmtree(root / "Emotion" / "S010" / "001")
    examples = read(root)
    assert examples.description.endswith("; 4 sequences without a label are skipped")
    assert len(examples) == 60
    assert len(read(datasets.write_ckplus(tmp_path / "short", "original", people=1, frames=2))) == 14


def test_a_missing_expression_keeps_the_numbers_of_the_others_and_other_words_are_understood(tmp_path):
    root = datasets.write_ckplus(tmp_path, people=1)
    (root / "anger").rename(root / "Angry")
    assert read(root).class_counts().tolist() == [3] * 7
    shutil.rmtree(root / "contempt")
    examples = read(root)
    assert examples.label_names == labels.CKPLUS
    assert examples.class_counts().tolist() == [3, 0, 3, 3, 3, 3, 3]


def label(text):
    """A change of CK+: what labels a sequence."""
    return lambda root: next((root / "Emotion/S010/004").glob("*.txt")).write_text(text, encoding="utf-8")


def unseen(root):
    for path in (root / "cohn-kanade-images" / "S010" / "003").glob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("layout", "spoil", "words"),
    [
        ("folders", lambda root: (root / "anger").rename(root / "bored"), "bored: no expression of CK.*expected CK"),
        ("folders", lambda root: (root / "sadness/1.png").touch(), r"sadness/1\.png: .*, expected one as S010_004"),
        ("folders", lambda root: (root / "sadness/S010_001_1.png").touch(), "not an image"),
        ("original", lambda root: (root / "Emotion").rename(root / "labels"), "cohn-kanade-images/ without Emotion/"),
        ("original", label(" 8.0000000e+00\n"), r"'8\.0000000e\+00', expected a number from 1 "),
        ("original", label("1.5"), "'1.5', expected a number from 1 .anger. to 7 .surprise."),
        ("original", label(""), "emotion.txt: '', expected a number"),
        ("original", label("nan"), "emotion.txt: 'nan', expected a number"),
        ("original", unseen, r"S010/003: no images, but S010_003_00000004_emotion\.txt labels them"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, layout, spoil, words):
    root = datasets.write_ckplus(tmp_path, layout, people=1)
    spoil(root)
    with pytest.raises(UserError, match=words) as error:
        read(root)
    assert "\n" not in str(error.value)


def test_the_fingerprint_changes_with_a_label(tmp_path):
    data = datasets.config_of("ckplus", datasets.write_ckplus(tmp_path, "original", people=1)).data
    before = ckplus.fingerprint(data)
    assert before == ckplus.fingerprint(data)
    label("1.0")(tmp_path)
    assert ckplus.fingerprint(data) != before
