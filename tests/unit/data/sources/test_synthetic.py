"""Synthetic faces: the same everywhere, balanced, and telling their expression."""

import hashlib

import cv2
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from fer_jax import labels
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from tests import datasets

# SHA-256 of ten synthetic faces of each emotion
GOLDEN = "0059b2b161ea4e7544c2f8cfd9cb4570771a681c1c49325c658c801c08ca1d5a"


def test_pixels_of_a_seed_are_the_same_everywhere():
    images = synthetic.draw(np.arange(70) % 7, 48)
    assert hashlib.sha256(images.tobytes()).hexdigest() == GOLDEN, (
        "the drawing changed: raise synthetic.VERSION, look at the faces, measure configs/quickstart.py again, then "
        "put the new hash here; without a change of the drawing, an operation is not exact on this machine"
    )


def test_a_face_depends_on_its_place_and_seed_not_on_the_number_drawn(monkeypatch):
    faces = synthetic.draw(np.arange(20) % 7, 24)
    np.testing.assert_array_equal(synthetic.draw(np.arange(9) % 7, 24), faces[:9])
    assert (synthetic.draw(np.arange(20) % 7, 24, seed=1) != faces).mean() > 0.5
    monkeypatch.setattr(synthetic, "_PIXELS_AT_ONCE", 24 * 24 * 3)
    np.testing.assert_array_equal(synthetic.draw(np.arange(20) % 7, 24), faces)


@pytest.mark.parametrize("size", [8, 31, 128])
def test_any_size_and_color(size):
    gray = synthetic.draw([3, 5], size, noise=0)
    color = synthetic.draw([3, 5], size, channels=3, noise=0)
    assert gray.shape == (2, size, size, 1) and color.shape == (2, size, size, 3)
    # clipping to 0..255 comes after the light, so bright pixels may differ
    inside = (color > 0).all(-1) & (color < 255).all(-1)
    luma = color @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(gray[..., 0][inside], luma[inside], atol=1.01)


def test_zoom_shrinks_the_head_without_leaving_the_number_range():
    def moved(zoom):
        """Share of the picture's side over which another expression of the same head changes pixels."""
        with np.errstate(all="raise", under="ignore"):
            first, second = (synthetic.draw([emotion] * 9, 96, zoom=zoom) for emotion in (3, 5))
        rows = np.flatnonzero((first != second).any(axis=(0, 2, 3)))
        return (rows[-1] - rows[0]) / 96

    assert moved(0.4) == pytest.approx(0.4 * moved(1.0), abs=0.05)


def test_read_is_balanced_in_every_split():
    examples = datasets.read("synthetic", "", examples=700)
    assert examples.images.shape == (700, 48, 48, 1) and examples.label_names == labels.FER2013
    for split, count in (("Training", 560), ("PublicTest", 70), ("PrivateTest", 70)):
        assert examples.of_split(split).class_counts().tolist() == [count // 7] * 7


def test_too_few_examples_are_refused():
    with pytest.raises(UserError, match=r"config.data.args.examples is 69: .* at least 70"):
        datasets.read("synthetic", "", examples=69)


def test_expressions_can_be_learned_from_shape_but_not_from_mean_gray():
    expressions = np.arange(840) % 7
    images = synthetic.draw(expressions, 48, seed=2)
    hog = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)
    shape = np.stack([hog.compute(image).ravel() for image in images])
    model = RidgeClassifier(alpha=1.0).fit(shape[:640], expressions[:640])
    assert model.score(shape[640:], expressions[640:]) > 0.75
    gray = images.reshape(840, -1).mean(axis=1, keepdims=True)
    model = RidgeClassifier().fit(gray[:640], expressions[:640])
    assert model.score(gray[640:], expressions[640:]) < 0.25
