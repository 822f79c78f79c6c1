"""JAFFE: person and expression from the names of the files."""

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.errors import UserError
from tests import datasets


def read(root, size=64, channels=1):
    return datasets.read("jaffe", root, size, channels)


def test_person_and_expression_come_from_the_name(tmp_path):
    examples = read(datasets.write_jaffe(tmp_path, people=3, pictures=2))
    assert len(examples) == 42
    assert examples.label_names == labels.JAFFE
    assert examples.class_counts().tolist() == [6] * 7
    assert np.unique(examples.subjects).tolist() == ["KA", "KL", "KM"]
    assert examples.split_names == ("all",)
    # files in the order of their names: KA.AN1.1, KA.AN2.2, KA.DI1.3, ...
    np.testing.assert_array_equal(examples.images[3, ..., 0], datasets.faces(["disgust"] * 2, 64, seed=2)[1])
    assert labels.JAFFE[examples.labels[3]] == "disgust" and examples.subjects[3] == "KA"
    assert examples.description == f"JAFFE: 42 images of 3 people from {tmp_path.name}"


def test_images_are_brought_to_size_and_channels(tmp_path):
    examples = read(datasets.write_jaffe(tmp_path, people=1), size=32, channels=3)
    assert examples.images.shape == (7, 32, 32, 3)
    assert (examples.images == examples.images[..., :1]).all()


def test_names(tmp_path):
    datasets.write_jaffe(tmp_path, people=1)
    names = {"ym.ne3.213.TIF": "neutral", "NM.SU2.102.jpg": "surprise"}
    for path, name in zip(sorted(tmp_path.glob("*.tiff")), names, strict=False):
        path.rename(tmp_path / name)
    examples = read(tmp_path)
    for name, expression in names.items():
        assert examples.labels[examples.subjects == name[:2].upper()].tolist() == [labels.JAFFE.index(expression)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("KA.39.tiff", r"KA\.39\.tiff: the name has no person and expression: .* named as KA\.AN1"),
        ("KA.XX1.39.tiff", r"KA\.XX1\.39\.tiff: .* no expression, XX is none: expected one of AN, DI, FE, HA"),
        ("face.png", "the name has no person and expression"),
        ("KA.AN9.99.tiff", r"KA\.AN9\.99\.tiff: not an image"),
    ],
)
def test_a_file_that_is_none_of_jaffe_is_refused(tmp_path, name, words):
    datasets.write_jaffe(tmp_path, people=1)
    (tmp_path / name).write_bytes(b"II*\0")
    with pytest.raises(UserError, match=words):
        read(tmp_path)
