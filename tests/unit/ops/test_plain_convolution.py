"""The values and gradients of lax, for every stride, padding and odd size, and no slow loop inside a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from fer_jax.ops.plain_convolution import CHANNELS_LAST, convolve


def reference(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, (strides, strides), padding, dimension_numbers=CHANNELS_LAST)


@settings(deadline=None, max_examples=12)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.integers(1, 4),
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_values_and_gradients_of_lax(size, kernel, strides, padding):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weights = rng.normal(size=(2, *size, 3)), rng.normal(size=(*kernel, 3, 4))
        outcomes = []
        for function in (convolve, reference):

            def value_and_gradients(x, weights, function=function):
                y, pullback = jax.vjp(lambda x, w: function(x, w, strides, padding), x, weights)
                return y, *pullback(jnp.sin(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))

            outcomes.append(jax.jit(value_and_gradients)(x, weights))  # one program, not one for each operation
    for ours, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("strides", [1, 2])
def test_gradients_keep_the_channels_last(strides):
    """Permuted axes are what is slow inside a scan."""

    def loss(x, kernel):
        return convolve(x, kernel, strides, "SAME").sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(np.zeros((2, 8, 8, 3)), np.zeros((3, 3, 3, 4)))
    convolutions = [equation for equation in jaxpr.eqns if equation.primitive.name == "conv_general_dilated"]
    found = [equation.params["dimension_numbers"] for equation in convolutions]
    plain = lax.conv_dimension_numbers((2, 8, 8, 3), (3, 3, 3, 4), CHANNELS_LAST)
    assert len(found) == 2
    assert set(found) == {plain}
