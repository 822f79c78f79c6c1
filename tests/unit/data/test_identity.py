"""What a run keeps of its data: enough to tell other data from its own, and its splits."""

import dataclasses

import numpy as np
import pytest

from fer_jax.data import identity
from fer_jax.errors import UserError
from tests import datasets

SPLITS = ["Training"] * 6 + ["PublicTest"] * 3


def some_examples(**changes):
    made = datasets.noise(SPLITS, size=8, classes=3)
    given = {"labels": np.arange(9, dtype=np.int32) % 3, "label_names": ("angry", "happy", "sad")}
    return dataclasses.replace(made, **given | changes)


def identity_of(examples):
    return identity.of(examples, examples.split, "Training", 3)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def test_what_is_written_is_read_again(tmp_path):
    made = identity_of(some_examples())
    assert identity.load(tmp_path) is None
    made.save(tmp_path)
    read = identity.load(tmp_path)
    assert read.difference(made) == "" and read.fingerprint == made.fingerprint
    assert (read.seed, read.read.tolist()) == (3, SPLITS)
    np.testing.assert_array_equal(read.trained, made.trained)
    assert len(read.trained) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_names": ("cat", "dog", "mouse")}, "its classes are angry, happy, sad, those of the data cat, dog, m"),
        ({"label_names": ("happy", "angry", "sad")}, "its classes are angry, happy, sad, those of the data happy"),
        ({"images": changed(some_examples().images, (0, 0, 0, 0), 7)}, "images or labels of Training are others"),
        ({"labels": changed(some_examples().labels, 8, 0)}, "images or labels of PublicTest are others"),
        ({"split": changed(np.array(SPLITS), 8, "Training")}, "1 of 9 images are in another split"),
        ({"images": some_examples().images[::-1].copy()}, "images or labels of Training, PublicTest are others"),
        ({"votes": np.full((9, 3), 1 / 3, np.float32)}, "images or labels of Training, PublicTest are others"),
    ],
)
def test_the_difference_is_named(changes, message):
    own, other = identity_of(some_examples()), identity_of(some_examples(**changes))
    assert message in own.difference(other)
    assert own.fingerprint != other.fingerprint


def test_more_images_are_counted():
    examples = some_examples()
    fewer = examples.take(np.arange(7))
    assert identity_of(fewer).difference(identity_of(examples)) == "it had 7 images, the data has 9"
    cleaned = identity.of(examples.take(np.arange(7)), examples.split, "Training", 3)
    assert identity_of(examples).difference(cleaned) == "its PublicTest had 3 images, the data's has 1"


def test_equal_images_have_equal_hashes_and_one_pixel_makes_another():
    images = some_examples().images
    hashes = identity.hashes(np.concatenate([images, images]))
    np.testing.assert_array_equal(hashes[:9], hashes[9:])
    assert len(np.unique(hashes)) == 9
    assert identity.hashes(changed(images, (4, 7, 7, 0), images[4, 7, 7, 0] ^ 1))[4] != hashes[4]


@pytest.mark.parametrize("damage", ["data.json", "splits.npz", "missing", "format"])
def test_a_damaged_record_is_one_line(tmp_path, damage):
    identity_of(some_examples()).save(tmp_path)
    if damage == "missing":
        (tmp_path / "splits.npz").unlink()
    elif damage == "format":
        (tmp_path / "data.json").write_text('{"format": 99}', encoding="utf-8")
    else:
        path = tmp_path / damage
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="use another --workdir") as error:
        identity.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
