"""Fast max-pooling against `lax`."""

import functools

import flax.linen as nn
import numpy as np
import pytest

from fer_jax.ops import pooling


def plain(x, window, strides, padding):
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2), (3, 1), (4, 4), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("operation", [pooling.max_pool, pooling.max_pool_by_index])
def test_max_pool(agree, rng, size, window, strides, padding, operation):
    distinct = rng.normal(size=(3, *size, 2))
    x = np.concatenate([distinct, distinct > 0])  # and ties, as ReLU makes of a flat patch
    arguments = {"window": window, "strides": strides, "padding": padding}
    agree(functools.partial(operation, **arguments), functools.partial(plain, **arguments), x)


def test_one_channel_of_constant_images(agree, rng):
    x = rng.normal(size=(2, 1, 1, 1)).repeat(7, 1).repeat(7, 2)
    agree(lambda x: pooling.max_pool(x, 3, 2, "SAME"), lambda x: plain(x, 3, 2, "SAME"), x)
