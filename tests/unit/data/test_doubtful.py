"""Likely wrong labels are found by what networks say about images that they have not seen."""

import numpy as np
import pytest

from fer_jax.data import doubtful, identity
from fer_jax.data.examples import Examples
from fer_jax.errors import UserError


def made(n=300, wrong=30, seed=0):
    """Probabilities of a network that is right about 4 of 5 images, labels of which the first are wrong, the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3)) + 2.5 * np.eye(3)[truth]
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + rng.integers(1, 3, wrong)) % 3
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels, truth


def test_wrong_labels_come_first_with_the_right_class_in_their_place():
    probabilities, labels, truth = made()
    places, suggested = doubtful.find(probabilities, labels)
    assert 20 <= len(places) < 60
    assert np.mean(places[:15] < 30) >= 0.9
    assert np.mean(suggested[:15] == truth[places[:15]]) >= 0.9
    own = probabilities[places, labels[places]]
    assert (np.diff(own) >= 0).all() and (suggested != labels[places]).all()


def test_a_class_is_measured_by_its_own_average():
    """A label is not doubtful because its class gets small probabilities: here class 1 gets 0.4 at most."""
    labels = np.array([0] * 5 + [1] * 5)
    probabilities = np.array([[0.9, 0.1]] * 5 + [[0.6, 0.4]] * 5)
    assert not len(doubtful.find(probabilities, labels)[0])
    labels[0] = 1
    assert doubtful.find(probabilities, labels)[0].tolist() == [0]


def test_a_class_without_examples_is_not_suggested():
    probabilities = np.array([[0.2, 0.1, 0.7]] * 4)
    places, suggested = doubtful.find(probabilities, np.array([0, 1, 0, 1]))
    assert places.tolist() == [1, 3] and suggested.tolist() == [0, 0]


@pytest.fixture
def examples():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6, 4, 4, 1), np.uint8)
    return Examples(images, np.arange(6, dtype=np.int32) % 2, np.full(6, "Training"), ("angry", "happy"))


def test_the_csv_comes_back_by_images_and_labels(examples, tmp_path):
    hashes = identity.digests(examples)
    doubtful.write(
        tmp_path / "a.csv", [doubtful.Row(f"{hashes[i]:016x}", "Anger", "joy", 0.1, 0.8, "") for i in (4, 0, 3)]
    )
    places, suggested = doubtful.read(tmp_path / "a.csv", examples.take(np.array([5, 4, 3, 0])))
    assert places.tolist() == [1, 3] and suggested.tolist() == [1, 1]  # number 3 is not angry


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("image,label,suggested\n00,angry,happy\n", "none of its 1 images is in the data"),
        ("image,label,suggested\n00,angry,cat\n", "line 2: expected image, label, suggested"),
        ("image,label,suggested\nxy,angry,happy\n", "line 2"),
        ("image,label\n00,angry\n", "line 2"),
        ("", "none of its 0 images"),
    ],
)
def test_another_csv_is_one_line(examples, tmp_path, text, word):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=word) as error:
        doubtful.read(tmp_path / "a.csv", examples)
    assert "\n" not in str(error.value)
