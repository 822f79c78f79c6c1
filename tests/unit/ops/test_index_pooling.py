"""Max-pooling that keeps where its maxima were, against `lax`."""

import functools

import flax.linen as nn
import numpy as np
import pytest

from fer_jax.ops import index_pooling


def plain(x, window, strides, padding):
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2), (3, 1), (4, 4), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_values_and_gradients(agree, rng, size, window, strides, padding):
    distinct = rng.normal(size=(3, *size, 2))
    x = np.concatenate([distinct, distinct > 0])  # and ties, as ReLU makes of a flat patch
    arguments = {"window": window, "strides": strides, "padding": padding}
    agree(functools.partial(index_pooling.max_pool, **arguments), functools.partial(plain, **arguments), x)
