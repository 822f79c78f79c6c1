"""Fast layers against plain ones, and plain ones against Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fer_jax.models import layers, registry


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def initialised(module, *arguments):
    """Variables in float64, off their initial values: zeros and ones would hide a missing term."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda s: jnp.asarray(0.5 + 0.1 * rng.normal(size=s.shape)), shapes)


def loss_and_gradients(module, variables, x, *arguments):
    def loss(variables, x):
        y, updated = module.apply(variables, x, *arguments, mutable=["batch_stats"])
        return (y**2).mean(), updated

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(variables, x)


def assert_same(tree, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), tree, expected)


LAYERS = {
    "conv": (layers.Conv(3), ()),
    "conv of even kernel": (layers.Conv(3, (4, 4), use_bias=False), ()),
    "conv of stride 2": (layers.Conv(3, strides=2, padding="VALID"), ()),
    "pointwise of stride 2": (layers.Conv(5, (1, 1), strides=2), ()),
    "separable": (layers.SeparableConv(6), ()),
    "norm in training": (layers.BatchNorm(), (True,)),
    "norm in evaluation": (layers.BatchNorm(), (False,)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_the_implementation_changes_nothing(case):
    layer, arguments = LAYERS[case]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9, 8, 5)))
    variables = initialised(layer, x, *arguments)
    results = [
        loss_and_gradients(layer.clone(implementation=name), variables, x, *arguments) for name in ("plain", "fast")
    ]
    assert_same(results[1], results[0])


@pytest.mark.parametrize(
    ("layer", "reference", "arguments"),
    [
        (layers.Conv(3, implementation="plain"), nn.Conv(3, (3, 3)), ((), ())),
        (layers.BatchNorm(implementation="plain"), nn.BatchNorm(epsilon=1e-3), ((True,), (False,))),
        (layers.BatchNorm(implementation="plain"), nn.BatchNorm(epsilon=1e-3), ((False,), (True,))),
    ],
    ids=["conv", "norm in training", "norm in evaluation"],
)
def test_the_parameters_are_those_of_flax(layer, reference, arguments):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 5)))
    variables = initialised(layer, x, *arguments[0])
    assert_same(
        loss_and_gradients(layer, variables, x, *arguments[0]),
        loss_and_gradients(reference, variables, x, *arguments[1]),
    )


def test_a_network_learns_the_same_from_one_batch():
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 22, 22, 1)))
    plain, fast = (
        registry.create("mini_xception", 7, {"block_features": (12, 16)}, implementation=name)
        for name in ("plain", "fast")
    )
    variables = initialised(plain, x, False)
    assert_same(loss_and_gradients(fast, variables, x, True), loss_and_gradients(plain, variables, x, True))
