"""What a network takes is the same pixels in NumPy and in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.preprocess import scaling

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 1), np.uint8)


def test_the_central_square():
    np.testing.assert_array_equal(scaling.central_crop(IMAGES, 6), IMAGES[:, 3:9, 5:11])
    assert scaling.central_crop(IMAGES, 0) is IMAGES
    with pytest.raises(ValueError, match="a crop of 13 pixels does not fit into images of 12 x 16"):
        scaling.central_crop(IMAGES, 13)


def test_the_range_of_a_scaling():
    pixels = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    for name, low, high in (("signed", -1, 1), ("unit", 0, 1)):
        np.testing.assert_array_equal(scaling.network_input(pixels, name).ravel(), np.float32([low, high]))
    with pytest.raises(UserError, match="expected one of signed, unit"):
        scaling.network_input(IMAGES, "percent")


@pytest.mark.parametrize("name", ["signed", "unit"])
def test_numpy_and_jax_agree_to_rounding(name):
    here = scaling.network_input(IMAGES, name, 6)
    there = jax.jit(lambda x: scaling.network_input(x, name, 6))(jnp.asarray(IMAGES))
    assert here.dtype == there.dtype == np.float32
    assert here.shape == there.shape == (3, 6, 6, 1)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-6)
