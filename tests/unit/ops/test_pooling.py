"""Fast max-pooling against `lax`."""

import functools

import flax.linen as nn
import pytest

from fer_jax.ops import pooling


def plain(x, window, strides, padding):
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (8, 9)])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2), (3, 1), (4, 4), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("values", ["distinct", "ties"])
def test_max_pool(agree, rng, size, window, strides, padding, values):
    x = rng.normal(size=(3, *size, 2))
    if values == "ties":
        x = (x > 0).astype("float64")  # as ReLU makes of a flat patch
    arguments = {"window": window, "strides": strides}
    agree(functools.partial(pooling.max_pool, **arguments, padding_kind=padding),
          functools.partial(plain, **arguments, padding=padding), x)


def test_one_channel_of_constant_images(agree, rng):
    x = rng.normal(size=(2, 1, 1, 1)).repeat(7, 1).repeat(7, 2)
    agree(lambda x: pooling.max_pool(x, 3, 2, "SAME"), lambda x: plain(x, 3, 2, "SAME"), x)
