"""Test-time augmentation: which images are averaged, and how."""

import numpy as np

from fer_jax.evaluation import tta

IMAGES = np.arange(2 * 6 * 6, dtype=np.uint8).reshape(2, 6, 6, 1)


def test_flip_is_the_image_and_its_mirror_image():
    plain, mirrored = tta.of("flip", IMAGES, 0)
    np.testing.assert_array_equal(plain, IMAGES)
    np.testing.assert_array_equal(mirrored[0, :, :, 0], np.fliplr(IMAGES[0, :, :, 0]))


def test_ten_crops_are_corners_and_center_with_their_mirror_images():
    crops = tta.of("ten_crop", IMAGES, 4)
    assert len(crops) == 10
    assert {c.shape for c in crops} == {(2, 4, 4, 1)}
    np.testing.assert_array_equal(crops[0], IMAGES[:, 1:5, 1:5])
    np.testing.assert_array_equal(crops[2], IMAGES[:, :4, :4])
    np.testing.assert_array_equal(crops[8], IMAGES[:, 2:, 2:])
    np.testing.assert_array_equal(crops[9], IMAGES[:, 2:, 2:][:, :, ::-1])


def test_whole_images_are_shifted_and_completed_at_the_edge():
    images = np.random.default_rng(0).integers(0, 256, (1, 48, 48, 1), dtype=np.uint8)
    crops = tta.of("ten_crop", images, 0)
    assert {c.shape for c in crops} == {images.shape}
    np.testing.assert_array_equal(crops[0], images)
    np.testing.assert_array_equal(crops[2][0, 4:, 4:], images[0, :-4, :-4])
    assert (crops[2][0, :4, 4:] == images[0, :1, :-4]).all()


def test_logits_are_averaged():
    def first_pixel(images):
        return images.reshape(len(images), -1)[:, :1].astype(np.float32)

    np.testing.assert_allclose(tta.mean_logits(first_pixel, IMAGES, "flip", 0)[:, 0], [(0 + 5) / 2, (36 + 41) / 2])
    np.testing.assert_allclose(tta.mean_logits(first_pixel, IMAGES, "", 0)[:, 0], [0, 36])
