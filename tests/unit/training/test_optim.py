"""Schedules, optimizers, and accumulation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from fer_jax.training import optim


def config_of(**changes):
    config = default.get_config().optim
    config.update(changes)
    return config


def test_schedules():
    cosine = config_of(schedule="cosine", learning_rate=0.4, warmup_epochs=2.0)
    rate = optim.schedule(cosine, 100, 10)
    rates = [rate(step) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(rates, [0, 0.2, 0.4, 0.2, 0], rtol=1e-6, atol=1e-8)
    for name in ("constant", "plateau"):
        assert optim.schedule(config_of(schedule=name, learning_rate=0.3), 100, 10)(77) == pytest.approx(0.3)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_descends_and_spares_biases_from_decay(name):
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full((2,), 3.0)}
    tx = optim.create(config_of(name=name, learning_rate=0.01, weight_decay=0.5), lambda _: 0.01)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = tx.init(params)
    updates, _ = tx.update(zeros, state, params)
    assert (updates["kernel"] < 0).all(), "no gradient but decay"
    assert (updates["bias"] == 0).all()
    loss = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))  # noqa: E731
    start = loss(params)
    for _ in range(20):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
    assert loss(params) < start


def test_accumulated_batches_are_one_update_of_their_mean():
    params = {"kernel": jnp.ones((2, 2))}
    every = optim.create(config_of(name="sgd", accumulate_steps=2), lambda step: 0.1 * (1 + step))
    once = optim.create(config_of(name="sgd"), lambda _: 0.1)
    g1, g2 = {"kernel": jnp.full((2, 2), 1.0)}, {"kernel": jnp.full((2, 2), 3.0)}
    state = every.init(params)
    first, state = every.update(g1, state, params)
    second, state = every.update(g2, state, params)
    expected, _ = once.update({"kernel": jnp.full((2, 2), 2.0)}, once.init(params), params)
    np.testing.assert_array_equal(first["kernel"], 0)
    np.testing.assert_allclose(second["kernel"], expected["kernel"], rtol=1e-6)


def test_muon_orthogonalizes_kernels_as_published_and_leaves_the_rest_to_adam():
    params = {"kernel": jnp.ones((3, 3, 4, 8)), "depthwise": jnp.ones((3, 3, 1, 4)), "bias": jnp.ones(8)}
    gradients = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)
    found, _ = (tx := optim.create(config_of(name="muon"), lambda _: 0.1)).update(gradients, tx.init(params), params)
    x = np.asarray(gradients["kernel"], np.float64).reshape(36, 8).T
    x /= np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    np.testing.assert_allclose(found["kernel"].reshape(36, 8), -0.1 * 0.2 * np.sqrt(36) * x.T, rtol=1e-4, atol=1e-6)
    adam = optax.adam(0.1, nesterov=True)
    expected, _ = adam.update(gradients, adam.init(params), params)
    for name in ("depthwise", "bias"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


SHAPES = {
    "stem": (3, 3, 8, 8),
    "depthwise": (3, 3, 1, 16),
    "pointwise": (1, 1, 16, 40),
    "same": (1, 1, 16, 40),
    "wide": (3, 3, 20, 7),
    "large": (200, 150),
    "scale": (16,),
}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def tree(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def optimizers():
    config = config_of(name="muon", weight_decay=0.1)
    return [optim.create(config, lambda step: 1e-2 / (step + 1), platform) for platform in ("cpu", "gpu")]


def test_updates_and_states_of_batched_muon_are_those_of_optax(float64):
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


def test_a_state_of_muon_on_one_platform_goes_on_with_the_other(float64):
    params, grads = tree(0), tree(1)
    theirs, ours = optimizers()
    _, state = theirs.update(grads, theirs.init(params), params)
    expected, _ = theirs.update(grads, state, params)
    found, _ = ours.update(grads, state, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13), found, expected)


def test_matrices_that_fill_as_many_tiles_are_one_batch(float64):
    products = jax.make_jaxpr(lambda ms: optim.orthogonalized(ms, jnp.asarray(optim.COEFFICIENTS)))(
        [jnp.ones(shape) for shape in ((8, 16), (72, 8), (16, 128), (7, 1152), (1152, 9))]
    )
    batches = {e.invars[0].aval.shape[0] for e in products.eqns if e.primitive.name == "dot_general"}
    assert batches == {3, 2}
    assert sum(e.primitive.name == "dot_general" for e in products.eqns) == 2 * 3 * optim.STEPS
