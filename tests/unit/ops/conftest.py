"""Exactness is tested in float64, where a wrong term is not mistaken for rounding."""

import jax
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def agree(rng):
    """Asserts equal values, and equal gradients of a random linear function of them."""

    def check(fast, plain, *arguments, tolerance=1e-12):
        cotangent = rng.normal(size=jax.eval_shape(plain, *arguments).shape)

        @jax.jit
        def value_and_gradients(arguments, cotangent):
            results = []
            for function in fast, plain:
                value, transposed = jax.vjp(function, *arguments)
                results.append((value, *transposed(cotangent)))
            return results

        for ours, expected in zip(*value_and_gradients(arguments, cotangent), strict=True):
            assert ours.dtype == expected.dtype == np.float64
            np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))

    return check
