"""The layers of every platform against plain ones, and plain ones against Flax."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import xception
from fer_jax.models import layers, registry


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def initialized(module, *arguments):
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
    "norm and pool in training": (layers.BatchNorm(pool=(3, 2, "SAME")), (True,)),
    "norm and pool in evaluation": (layers.BatchNorm(pool=(2, 2, "VALID")), (False,)),
}


@functools.cache
def plain_layer(case):
    """Variables, input and what the plain implementation makes of them: compiled once for all platforms."""
    layer, arguments = LAYERS[case]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9, 8, 5)))
    variables = initialized(layer, x, *arguments)
    return variables, x, loss_and_gradients(layer.clone(implementation="plain"), variables, x, *arguments)


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("implementation", ["cpu", "gpu", "tpu"])
def test_the_implementation_changes_nothing(case, implementation):
    layer, arguments = LAYERS[case]
    variables, x, expected = plain_layer(case)
    assert_same(loss_and_gradients(layer.clone(implementation=implementation), variables, x, *arguments), expected)


@pytest.mark.parametrize("implementation", ["cpu", "gpu", "tpu"])
def test_pooling_before_normalization_where_scales_are_negative(implementation):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9, 8, 5)))
    layer = layers.BatchNorm(pool=(3, 2, "SAME"))
    variables = initialized(layer, x, True)
    variables["params"]["scale"] = jnp.asarray([-1.0, 0.5, -0.25, 2.0, -3.0])
    plain, ours = (
        loss_and_gradients(layer.clone(implementation=name), variables, x, True) for name in ("plain", implementation)
    )
    assert_same(ours, plain)


@pytest.mark.parametrize("implementation", ["gpu", "tpu"])
def test_a_bias_before_batchnorm_has_no_gradient_and_is_added_all_the_same(implementation):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9, 8, 5)))
    layer = layers.Conv(3, before_norm=True)
    variables = initialized(layer, x)
    ours = layer.clone(implementation=implementation)
    _, (gradients, _) = loss_and_gradients(ours, variables, x)
    np.testing.assert_array_equal(gradients["params"]["bias"], 0)
    assert_same(ours.apply(variables, x), layer.clone(implementation="plain").apply(variables, x))


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_auto_is_that_of_the_platform_and_not_of_this_host(platform):
    config = xception.get_config()
    model = registry.from_config(config, 7, platform=platform)
    assert model.implementation == platform
    assert model.dtype == (None if platform == "cpu" else jnp.bfloat16)


@pytest.mark.parametrize(
    ("layer", "reference", "arguments"),
    [
        (layers.Conv(3, implementation="plain"), nn.Conv(3, (3, 3)), ((), ())),
        (layers.BatchNorm(implementation="plain"), nn.BatchNorm(momentum=0.0, epsilon=1e-3), ((True,), (False,))),
        (layers.BatchNorm(implementation="plain"), nn.BatchNorm(epsilon=1e-3), ((False,), (True,))),
    ],
    ids=["conv", "norm in training", "norm in evaluation"],
)
def test_the_parameters_are_those_of_flax(layer, reference, arguments):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 5)))
    variables = initialized(layer, x, *arguments[0])
    ours, theirs = arguments
    expected = loss_and_gradients(reference, variables, x, *theirs)
    assert_same(loss_and_gradients(layer, variables, x, *ours), expected)


NETWORKS = {
    "mini_xception": ({"block_features": (12, 16)}, 22),
    "vgg": ({"stage_features": (4, 6), "dense_features": (8,), "dropout": 0.0}, 8),
}


@functools.cache
def plain_network(name):
    """`plain_layer` of a network."""
    args, size = NETWORKS[name]
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, size, size, 1)))
    plain = registry.create(name, 7, args, implementation="plain")
    variables = initialized(plain, x, False)
    return variables, x, loss_and_gradients(plain, variables, x, True)


@pytest.mark.parametrize("implementation", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_the_same_from_one_batch(implementation, name):
    variables, x, expected = plain_network(name)
    ours = registry.create(name, 7, NETWORKS[name][0], implementation=implementation)
    assert_same(loss_and_gradients(ours, variables, x, True), expected)
