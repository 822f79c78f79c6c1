"""Schedules, optimisers, plateau and early stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from configs import default
from fer_jax.training import optim


def config_of(**changes):
    config = default.get_config().optim
    config.update(changes)
    return config


def test_cosine_with_warm_up():
    cosine = config_of(schedule="cosine", learning_rate=0.4, warmup_epochs=2.0, final_fraction=0.1)
    rate = optim.schedule(cosine, 100, 10)
    np.testing.assert_allclose(
        [rate(0), rate(10), rate(20), rate(60), rate(100)], [0, 0.2, 0.4, 0.4 * (0.1 + 0.9 * 0.5), 0.04], rtol=1e-6
    )


def test_exponential_decays_once_an_epoch():
    rate = optim.schedule(config_of(schedule="exponential", learning_rate=1.0, decay_rate=0.5), 100, 10)
    np.testing.assert_allclose([rate(0), rate(10), rate(30)], [1, 0.5, 0.125], rtol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant(schedule):
    assert optim.schedule(config_of(schedule=schedule, learning_rate=0.3), 100, 10)(77) == pytest.approx(0.3)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimiser_descends_and_spares_biases_from_decay(name):
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


def test_clipping_bounds_the_global_norm():
    params = {"kernel": jnp.ones((2, 2))}
    tx = optim.create(config_of(name="sgd", clip_norm=1.0, momentum=0.0), lambda _: 1.0)
    updates, _ = tx.update({"kernel": jnp.full((2, 2), 50.0)}, tx.init(params), params)
    assert float(jnp.sqrt(jnp.sum(updates["kernel"] ** 2))) == pytest.approx(1.0, rel=1e-5)


def test_muon_orthogonalises_kernels_as_published_and_leaves_the_rest_to_adam():
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


def test_lookahead_restarts_half_way_from_the_slow_weights():
    params = {"kernel": jnp.full((2, 2), 1.0)}
    tx = optim.create(config_of(name="sgd", momentum=0.0, lookahead_steps=2), lambda _: 0.1)
    state, gradient, path = tx.init(params), {"kernel": jnp.ones((2, 2))}, []
    for _ in range(4):
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        path.append(float(params["kernel"][0, 0]))
    np.testing.assert_allclose(path, [0.9, 0.9, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, found in optim.OPTIMIZERS.items() if found.schedule_free])
def test_schedule_free_evaluates_the_mean_of_the_path(name):
    """In the paper's notation: x is the mean of all z, and the gradient is taken at y = 0.1 z + 0.9 x."""
    tx = optim.create(config_of(name=name, averaging="schedule_free"), lambda _: 0.1)
    y = {"kernel": jnp.full((2, 2), 3.0)}
    state, zs = tx.init(y), []
    for _ in range(5):
        updates, state = tx.update(y, state, y)
        y = optax.apply_updates(y, updates)
        zs.append(state.z["kernel"])
        x = optax.contrib.schedule_free_eval_params(state, y)["kernel"]
        np.testing.assert_allclose(x, np.mean(zs, axis=0), rtol=1e-5)
        np.testing.assert_allclose(y["kernel"], 0.1 * zs[-1] + 0.9 * x, rtol=1e-5)
    assert (x < 3).all()


def test_plateau_reduces_after_patience_and_not_below_the_floor():
    plateau = optim.Plateau(factor=0.1, patience=2, floor=0.05)
    assert [plateau.observe(v) for v in (1.0, 1.0, 1.0, 0.5, 0.6, 0.6)] == [1, 1, 0.1, 0.1, 0.1, 0.05]


def test_early_stop_counts_evaluations_without_improvement():
    stop = optim.EarlyStop(patience=2)
    assert [stop.observe(v) for v in (1.0, 1.1, 0.9, 0.9, 0.9)] == [False, False, False, False, True]
    never = optim.EarlyStop(patience=0)
    assert not any(never.observe(1.0) for _ in range(50))
