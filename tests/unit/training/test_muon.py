"""Batched Muon against optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from fer_jax.training import muon, optim

SHAPES = {
    "stem": (3, 3, 8, 8),
    "depthwise": (3, 3, 1, 16),
    "pointwise": (1, 1, 16, 40),
    "same": (1, 1, 16, 40),
    "wide": (3, 3, 20, 7),
    "large": (200, 150),
    "scale": (16,),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def tree(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def optimizers(weight_decay=0.1):
    config = default.get_config().optim
    config.name, config.weight_decay = "muon", weight_decay
    return [optim.create(config, lambda step: 1e-2 / (step + 1), platform) for platform in ("cpu", "gpu")]


def test_updates_and_states_are_those_of_optax():
    params = tree(0)
    theirs, ours = optimizers()
    states = [theirs.init(params), ours.init(params)]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    for step in range(3):
        grads = tree(step + 1)
        expected, states[0] = jax.jit(theirs.update)(grads, states[0], params)
        found, states[1] = jax.jit(ours.update)(grads, states[1], params)
        for name in SHAPES:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-13, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), states[1], states[0])


def test_a_state_of_one_platform_goes_on_with_the_other():
    params, grads = tree(0), tree(1)
    theirs, ours = optimizers()
    _, state = theirs.update(grads, theirs.init(params), params)
    expected, _ = theirs.update(grads, state, params)
    found, _ = ours.update(grads, state, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13), found, expected)


def test_matrices_that_fill_as_many_tiles_are_one_batch():
    products = jax.make_jaxpr(lambda ms: muon.orthogonalized(ms, jnp.asarray(muon.COEFFICIENTS)))(
        [jnp.ones(shape) for shape in ((8, 16), (72, 8), (16, 128), (7, 1152), (1152, 9))]
    )
    batches = {e.invars[0].aval.shape[0] for e in products.eqns if e.primitive.name == "dot_general"}
    assert batches == {3, 2}
    assert sum(e.primitive.name == "dot_general" for e in products.eqns) == 2 * 3 * muon.STEPS
