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


@pytest.mark.parametrize(
    ("name", "code"), [("KA.AN1.39.tiff", "angry"), ("ym.ne3.213.TIF", "neutral"), ("NM.SU2.102.jpg", "surprise")]
)
def test_names(tmp_path, name, code):
    datasets.write_jaffe(tmp_path, people=1)
    next(tmp_path.glob("*.tiff")).rename(tmp_path / name)
    examples = read(tmp_path)
    person = name[:2].upper()
    assert code in {labels.JAFFE[label] for label in examples.labels[examples.subjects == person]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "KA.39.tiff",
            r"KA\.39\.tiff: the name has no person and expression: expected JAFFE's images, named as KA\.AN1",
        ),
        (
            "KA.XX1.39.tiff",
            r"KA\.XX1\.39\.tiff: the name has no expression, XX is none: expected one of AN, DI, FE, HA",
        ),
        ("face.png", "the name has no person and expression"),
    ],
)
def test_a_name_without_an_expression_is_refused(tmp_path, name, message):
    datasets.write_jaffe(tmp_path, people=1)
    next(tmp_path.glob("*.tiff")).rename(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    datasets.write_jaffe(tmp_path, people=1)
    (tmp_path / "KA.AN9.99.tiff").write_bytes(b"II*\0")
    with pytest.raises(UserError, match=r"KA\.AN9\.99\.tiff: not an image"):
        read(tmp_path)
