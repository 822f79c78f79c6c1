"""Vectors of a state joined and apart again, in the families that are trained alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fer_jax.training import packing

PARAMS = {
    "conv": {"bias": np.array([1.0, 2.0]), "kernel": np.ones((1, 1, 2, 2))},
    "head": {"bias": np.array([9.0])},
    "norm": {"bias": np.array([3.0]), "scale": np.array([4.0])},
}


@pytest.mark.parametrize(
    ("groups", "joined"),
    [
        ({}, [[1.0, 2.0, 9.0, 3.0, 4.0], None, None, None]),
        ({"conv": "frozen", "norm": "frozen", "head": "head"}, [[1.0, 2.0, 3.0, 4.0], [9.0], None, None]),
    ],
)
def test_families_are_joined_where_the_first_of_them_was(groups, joined):
    packed = packing.pack(PARAMS, groups)
    found = [packed["conv"]["bias"], packed["head"]["bias"], packed["norm"]["bias"], packed["norm"]["scale"]]
    assert [None if isinstance(one, optax.MaskedNode) else one.tolist() for one in found] == joined
    assert packed["conv"]["kernel"] is PARAMS["conv"]["kernel"]


def test_what_an_optimizer_keeps_is_packed_as_the_parameters_are():
    optimizer = optax.partition(
        {"plain": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(0.1)},
        lambda params: jax.tree.map(lambda p: "adam" if p.ndim == 1 else "plain", params),
    )
    params = jax.tree.map(jnp.asarray, PARAMS)
    expected, state = optimizer.update(params, optimizer.init(params), params)
    packed = packing.pack(params, {})
    found, packed_state = optimizer.update(packed, packing.pack(optimizer.init(params), {}), packed)
    ours = packing.unpack(found, params, {}), packing.unpack(packed_state, state, {})
    assert jax.tree.structure(ours) == jax.tree.structure((expected, state))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), ours, (expected, state))


def test_the_gradient_of_packed_parameters_is_packed():
    def loss(packed):
        return sum((i + 1) * leaf.sum() for i, leaf in enumerate(jax.tree.leaves(packing.unpack(packed, PARAMS, {}))))

    gradient = jax.grad(loss)(packing.pack(PARAMS, {}))
    np.testing.assert_array_equal(gradient["conv"]["bias"], [1, 1, 3, 4, 5])
    np.testing.assert_array_equal(gradient["conv"]["kernel"], np.full((1, 1, 2, 2), 2.0))
