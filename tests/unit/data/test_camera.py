"""The faults of cameras: their range, their independence, and JPEG as OpenCV encodes it."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fer_jax.data import camera

degrade = jax.jit(camera.degrade)  # one program, not one for each of its operations


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).normal(128, 60, (6, 48, 48))
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in noise])
    return ((smooth - 128) * 4 + 128).clip(0, 255).round().astype(np.float32)[..., None]


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(0), 6)


def test_every_fault_keeps_the_range_and_changes_the_image(images, keys):
    degraded = np.asarray(degrade(jnp.asarray(images), 1.0, keys))
    assert degraded.dtype == np.float32 and degraded.min() >= 0 and degraded.max() <= 255
    assert (np.abs(degraded - images).mean((1, 2, 3)) > 3).all()


def test_no_fault_is_the_image_but_for_rounding(images, keys):
    np.testing.assert_allclose(degrade(jnp.asarray(images), 0.0, keys), images, atol=1e-3)


def test_an_image_depends_on_its_own_key_alone(images, keys):
    together = degrade(jnp.asarray(images), 0.5, keys)
    alone = degrade(jnp.asarray(images[3:4]), 0.5, keys[3:4])
    np.testing.assert_allclose(alone[0], together[3], atol=1e-3)


def test_a_fault_happens_as_often_as_its_probability_says(images):
    keys = jax.random.split(jax.random.key(1), 2000)
    image = jnp.broadcast_to(jnp.asarray(images[:1, :16, :16]), (2000, 16, 16, 1))
    untouched = np.abs(degrade(image, 0.2, keys) - image).max((1, 2, 3)) < 1e-2
    assert untouched.mean() == pytest.approx(0.8**5, abs=0.03)


@pytest.mark.parametrize("quality", [10, 25, 50])
def test_jpeg_is_that_of_opencv(images, quality):
    encoded = cv2.imencode(".jpg", images[0, ..., 0], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    expected = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE).astype(np.float32)
    decoded = np.asarray(camera.through_jpeg(jnp.asarray(images[0]), 50 / quality))[..., 0]
    loss = np.abs(expected - images[0, ..., 0]).mean()
    assert np.abs(decoded.clip(0, 255).round() - expected).mean() < 0.1 * loss


@pytest.mark.parametrize("shape", [(48, 48, 1), (44, 40, 3), (9, 9, 1)])
def test_jpeg_of_a_flat_image_of_any_side_is_flat(shape):
    flat = jnp.full(shape, 100.0)
    decoded = camera.through_jpeg(flat, 1.0)
    assert decoded.shape == shape
    np.testing.assert_allclose(decoded, decoded[0, 0, 0], atol=1e-3)


@pytest.mark.parametrize("kind", np.linspace(0, 0.999, 9))
def test_softening_keeps_a_flat_image_and_removes_detail(images, kind):
    flat = camera.soften(jnp.full((48, 48, 1), 77.0), kind, 1.0, 0.0)
    np.testing.assert_allclose(flat, 77, atol=1e-3)
    checkers = jnp.asarray(np.indices((48, 48)).sum(0) % 2 * 255.0)[..., None]
    assert np.std(camera.soften(checkers, kind, 1.0, 0.0)) < 0.6 * np.std(checkers)


def test_side_light_is_brighter_on_one_side(images):
    light = np.asarray(camera.side_light((48, 48), 1.0, 0.0))[..., 0]
    assert light[:, -1].mean() == pytest.approx(1 + camera.SIDE_LIGHT)
    assert light.mean() == pytest.approx(1, abs=1e-4)
