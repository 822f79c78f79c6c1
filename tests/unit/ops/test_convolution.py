"""Fast convolutions against `lax`."""

import functools

import jax
import numpy as np
import pytest
from jax import lax

from fer_jax.ops import convolution


def plain(x, kernel, strides=1, padding="SAME", groups=1):
    return lax.conv_general_dilated(
        x, kernel, (strides, strides), padding, feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


SIZES = [(6, 8), (7, 5)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("strides", "channels"), [(1, 1), (1, 4), (2, 4), (3, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_depthwise(agree, rng, size, strides, padding, channels):
    agree(
        functools.partial(convolution.depthwise, strides=strides, padding_kind=padding),
        functools.partial(plain, strides=strides, padding=padding, groups=channels),
        rng.normal(size=(3, *size, channels)),
        rng.normal(size=(3, 3, 1, channels)),
    )


@pytest.mark.parametrize(("kernel", "strides"), [((1, 1), 2), ((2, 4), 1), ((5, 3), 2)])
def test_depthwise_with_other_kernels(agree, rng, kernel, strides):
    agree(
        functools.partial(convolution.depthwise, strides=strides),
        functools.partial(plain, strides=strides, groups=2),
        rng.normal(size=(2, 7, 8, 2)),
        rng.normal(size=(*kernel, 1, 2)),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("strides", "channels", "features"), [(1, 3, 5), (2, 4, 1), (3, 1, 3)])
def test_pointwise(agree, rng, size, strides, channels, features):
    agree(
        functools.partial(convolution.pointwise, strides=strides),
        functools.partial(plain, strides=strides),
        rng.normal(size=(3, *size, channels)),
        rng.normal(size=(1, 1, channels, features)),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [(3, 3), (4, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("channels", "features"), [(1, 3), (4, 2)], ids=["all rows gathered", "one row gathered"])
def test_dense(agree, rng, size, kernel, padding, channels, features):
    agree(
        functools.partial(convolution.dense, padding_kind=padding),
        functools.partial(plain, padding=padding),
        rng.normal(size=(3, *size, channels)),
        rng.normal(size=(*kernel, channels, features)),
    )


@pytest.mark.parametrize("operation", [convolution.depthwise, convolution.pointwise, convolution.dense])
def test_several_models_at_once_and_in_a_scan(rng, operation):
    shape = {convolution.depthwise: (3, 3, 1, 3), convolution.pointwise: (1, 1, 3, 3), convolution.dense: (3, 3, 3, 3)}
    x, kernels = rng.normal(size=(2, 6, 6, 3)), rng.normal(size=(4, *shape[operation]))

    def gradient(kernel):
        return jax.grad(lambda kernel: (operation(x, kernel) ** 2).sum())(kernel)

    each = np.stack([gradient(kernel) for kernel in kernels])
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(kernels), each, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda ks: lax.map(gradient, ks))(kernels), each, rtol=1e-12)
