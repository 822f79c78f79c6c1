"""What the compiler makes of an isolated function."""

import jax
import jax.numpy as jnp
import numpy as np

from fer_jax.ops.cpu import fusion_barrier


def between(middle):
    def function(x):
        return jnp.tanh(middle(jnp.sin(x)))

    return function


def twice(x):
    return jnp.where(x > 0, x, 0) + jnp.where(x > 1, x, 0)  # two jitted functions of their own


def calls(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text().count(" call(")


def test_a_fusion_barrier_isolates_the_function_but_not_what_it_calls():
    x = jnp.linspace(-2, 2, 12)
    assert calls(between(twice), x) == 0
    assert calls(between(fusion_barrier(twice)), x) == 1
    np.testing.assert_array_equal(between(fusion_barrier(twice))(x), between(twice)(x))


def test_a_fusion_barrier_holds_for_several_models_and_in_loops():
    x = jnp.ones((3, 4))
    isolated = between(fusion_barrier(twice))
    assert calls(jax.vmap(isolated), x) == 1
    assert calls(lambda x: jax.lax.scan(lambda x, _: (isolated(x), None), x, None, length=9)[0], x) >= 1


def test_static_arguments():
    power = fusion_barrier(lambda x, exponent: x**exponent, static_argnums=(1,))
    np.testing.assert_array_equal(power(jnp.arange(3.0), 2), [0, 1, 4])
