"""Frozen layers: found by name, left as they are, and not paid for in the backward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fer_jax.errors import UserError
from fer_jax.models import network as networks
from fer_jax.models import registry

SHAPE = (24, 24, 1)


def test_groups_follow_the_order_of_the_calls():
    groups = networks.layer_groups(registry.create("vgg16", 7), (32, 32, 3), "block5")
    assert list(groups)[:3] == ["block1_conv1", "block1_conv2", "block2_conv1"]
    backbone = [name for name, group in groups.items() if group == "backbone"]
    assert backbone == ["block5_conv1", "block5_conv2", "block5_conv3"]
    assert [name for name, group in groups.items() if group == "head"] == ["classes"]
    assert groups["block4_conv3"] == "frozen"
    groups = networks.layer_groups(registry.create("mini_xception", 7), SHAPE, "")
    assert set(groups.values()) == {"backbone", "head"}
    with pytest.raises(UserError, match="'block6': expected last, or the beginning of one of block1_conv1, "):
        networks.layer_groups(registry.create("vgg16", 7), (32, 32, 3), "block6")


@pytest.mark.parametrize(("name", "first"), [("vgg16", "block5_conv1"), ("mini_xception", "block4_residual_conv")])
def test_last_trains_the_last_stage_and_the_head(name, first):
    groups = networks.layer_groups(registry.create(name, 7), (48, 48, 1), "last")
    trained = [layer for layer, group in groups.items() if group != "frozen"]
    assert trained[0] == first and groups[trained[-1]] == "head"


@pytest.fixture(scope="module")
def network(variables_of):
    model = registry.create("mini_xception", 7, {"block_features": (4, 6)}, implementation="plain")
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    return model, images, variables_of(model, images.shape[1:])


def test_frozen_layers_keep_their_statistics_and_get_no_gradient(network):
    model, images, variables = network
    groups = networks.layer_groups(model, SHAPE, "block2")

    def loss(params):
        with networks.frozen_layers(groups):
            logits, updated = model.apply({**variables, "params": params}, images, True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(4)).mean(), updated["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for layer, group in groups.items():
        moved = any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients[layer]))
        assert moved == (group != "frozen"), layer
        if layer in statistics:
            same = jax.tree.map(np.array_equal, statistics[layer], variables["batch_stats"][layer])
            assert all(jax.tree.leaves(same)) == (group == "frozen"), layer


def test_frozen_layers_compute_as_in_evaluation(network):
    model, images, variables = network
    groups = dict.fromkeys(networks.layer_groups(model, SHAPE, ""), "frozen")

    @jax.jit
    def train(variables):
        with networks.frozen_layers(groups):
            return model.apply(variables, images, True, mutable=["batch_stats"])[0]

    expected = jax.jit(lambda variables: model.apply(variables, images, False))(variables)
    np.testing.assert_allclose(train(variables), expected, rtol=1e-5, atol=1e-6)


def test_backward_pass_ends_where_the_trained_layers_begin():
    model = registry.create("vgg16", 7)
    images = jnp.zeros((8, 32, 32, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images, False)

    def flops(trainable_from):
        groups = networks.layer_groups(model, images.shape[1:], trainable_from)

        def loss(variables):
            with networks.frozen_layers(groups):
                return model.apply(variables, images, True).sum()

        return jax.jit(jax.grad(loss)).lower(variables).cost_analysis()["flops"]

    forward = jax.jit(lambda v: model.apply(v, images, False)).lower(variables).cost_analysis()["flops"]
    assert flops("classes") == pytest.approx(forward, rel=0.01)
    assert flops("") > 2.9 * forward


def test_labels_for_the_optimizer(network):
    model, _, variables = network
    groups = networks.layer_groups(model, SHAPE, "classes")
    optimizer = optax.multi_transform(
        {"frozen": optax.set_to_zero(), "backbone": optax.adam(1.0), "head": optax.adam(1.0)},
        networks.labels_of_groups(variables["params"], groups),
    )
    state = optimizer.init(variables["params"])
    kept = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert kept == 2 * (9 * 6 * 7 + 7)  # Adam's two moments, of the head alone
