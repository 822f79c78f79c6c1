"""The values and gradients of lax, where channels are packed and where they are not."""

import functools

import pytest
from jax import lax

from fer_jax.ops import packed_convolution


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "strides"), [((3, 3, 32, 32), 1), ((3, 3, 32, 32), 2), ((3, 3, 8, 32), 1)])
def test_values_and_gradients_of_lax(rng, agree, kernel, strides, padding):
    x, weights = rng.normal(size=(2, 5, 6, kernel[2])), rng.normal(size=kernel)
    plain = functools.partial(
        lax.conv_general_dilated,
        window_strides=(strides, strides),
        padding=padding,
        dimension_numbers=packed_convolution.FLAT,
    )
    agree(functools.partial(packed_convolution.convolve, strides=strides, padding=padding), plain, x, weights)
