"""Every example of a split is counted exactly once, in order."""

import jax
import numpy as np
import pytest

from configs import default
from fer_jax.evaluation import evaluator
from fer_jax.evaluation.evaluator import Evaluator
from fer_jax.models import registry


@pytest.fixture(scope="module")
def network(variables_of):
    model = registry.create("mini_xception", 7, {"block_features": (8,)})
    return model, variables_of(model, (16, 16, 1))


@pytest.mark.parametrize(("devices", "batch", "expected"), [(1, 8, 20), (8, 8, 21), (2, 4, 3)])
def test_every_example_is_counted_once_in_its_order(network, devices, batch, expected):
    model, variables = network
    config = default.get_config()
    config.batch_size = batch // 4
    made = Evaluator(model, config, expected, jax.devices()[:devices])
    images = np.random.default_rng(0).integers(0, 256, (2 * expected + 1, 16, 16, 1), dtype=np.uint8)
    for count in (1, expected, 2 * expected + 1):  # fewer than a batch, what it was made for, more than a dispatch
        logits = made.logits(variables, images[:count])
        reference = model.apply(variables, images[:count].astype(np.float32) / 127.5 - 1, False)
        assert logits.shape == (count, 7)
        np.testing.assert_allclose(logits, reference, atol=2e-5)


def test_a_large_split_is_placed_when_it_is_evaluated_and_gives_the_same_logits(network, monkeypatch):
    model, variables = network
    config = default.get_config()
    config.batch_size, config.input.size = 1, 16
    images = np.random.default_rng(0).integers(0, 256, (29, 16, 16, 1), dtype=np.uint8)
    expected = Evaluator(model, config, 29, jax.devices()[:1]).logits(variables, images)
    monkeypatch.setattr(evaluator, "MAX_PLACED_BYTES", 0)
    monkeypatch.setattr(evaluator, "MAX_DISPATCH_BYTES", 2 * 4 * 16 * 16)
    streaming = Evaluator(model, config, 29, jax.devices()[:1])
    placed = streaming.place(images)
    assert not isinstance(placed(), list) and len(list(placed())) == 4
    assert next(iter(placed())).shape[1:3] == (2, 4)
    for _ in range(2):
        np.testing.assert_allclose(streaming.logits(variables, placed, 29), expected, atol=1e-6)


IMAGES = np.arange(2 * 6 * 6, dtype=np.uint8).reshape(2, 6, 6, 1)


def test_flip_is_the_image_and_its_mirror_image():
    plain, mirrored = evaluator.views("flip", IMAGES, 0)
    np.testing.assert_array_equal(plain, IMAGES)
    np.testing.assert_array_equal(mirrored[0, :, :, 0], np.fliplr(IMAGES[0, :, :, 0]))


def test_ten_crops_are_corners_and_center_with_their_mirror_images():
    crops = evaluator.views("ten_crop", IMAGES, 4)
    assert len(crops) == 10
    assert {c.shape for c in crops} == {(2, 4, 4, 1)}
    np.testing.assert_array_equal(crops[0], IMAGES[:, 1:5, 1:5])
    np.testing.assert_array_equal(crops[2], IMAGES[:, :4, :4])
    np.testing.assert_array_equal(crops[8], IMAGES[:, 2:, 2:])
    np.testing.assert_array_equal(crops[9], IMAGES[:, 2:, 2:][:, :, ::-1])


def test_whole_images_are_shifted_and_completed_at_the_edge():
    images = np.random.default_rng(0).integers(0, 256, (1, 48, 48, 1), dtype=np.uint8)
    crops = evaluator.views("ten_crop", images, 0)
    assert {c.shape for c in crops} == {images.shape}
    np.testing.assert_array_equal(crops[0], images)
    np.testing.assert_array_equal(crops[2][0, 4:, 4:], images[0, :-4, :-4])
    assert (crops[2][0, :4, 4:] == images[0, :1, :-4]).all()


def test_logits_are_averaged():
    def first_pixel(images):
        return images.reshape(len(images), -1)[:, :1].astype(np.float32)

    np.testing.assert_allclose(
        evaluator.mean_logits(first_pixel, IMAGES, "flip", 0)[:, 0], [(0 + 5) / 2, (36 + 41) / 2]
    )
    np.testing.assert_allclose(evaluator.mean_logits(first_pixel, IMAGES, "", 0)[:, 0], [0, 36])
