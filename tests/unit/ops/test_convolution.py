"""Fast convolutions against `lax`, for every stride, padding and odd size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
        functools.partial(convolution.depthwise, strides=strides, padding=padding),
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
        functools.partial(convolution.dense, padding=padding),
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


@settings(deadline=None, max_examples=12)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.integers(1, 4),
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_channels_last(size, kernel, strides, padding):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weights = rng.normal(size=(2, *size, 3)), rng.normal(size=(*kernel, 3, 4))
        outcomes = []
        for function in (convolution.channels_last, plain):

            def value_and_gradients(x, weights, function=function):
                y, pullback = jax.vjp(lambda x, w: function(x, w, strides, padding), x, weights)
                return y, *pullback(jnp.sin(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))

            outcomes.append(jax.jit(value_and_gradients)(x, weights))  # one program, not one for each operation
    for ours, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_of_channels_last_keep_them_last(strides):
    """Permuted axes are what is slow inside a scan."""

    def loss(x, kernel):
        return convolution.channels_last(x, kernel, strides, "SAME").sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(np.zeros((2, 8, 8, 3)), np.zeros((3, 3, 3, 4)))
    convolutions = [equation for equation in jaxpr.eqns if equation.primitive.name == "conv_general_dilated"]
    found = [equation.params["dimension_numbers"] for equation in convolutions]
    expected = lax.conv_dimension_numbers((2, 8, 8, 3), (3, 3, 3, 4), convolution.CHANNELS_LAST)
    assert len(found) == 2
    assert set(found) == {expected}


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "strides"), [((3, 3, 32, 32), 1), ((3, 3, 32, 32), 2), ((3, 3, 8, 32), 1)])
def test_packed_and_what_is_not_packed(rng, agree, kernel, strides, padding):
    x, weights = rng.normal(size=(2, 5, 6, kernel[2])), rng.normal(size=kernel)
    reference = functools.partial(plain, strides=strides, padding=padding)
    agree(functools.partial(convolution.packed, strides=strides, padding=padding), reference, x, weights)
