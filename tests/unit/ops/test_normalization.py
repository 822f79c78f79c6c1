"""Fast batch normalization against Flax' own, on one device and on eight."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from fer_jax.ops.normalization import batch_norm

EPSILON = 1e-3


def plain(x, scale, bias):
    variables = {"params": {"scale": scale, "bias": bias}}
    return nn.BatchNorm(use_running_average=False, epsilon=EPSILON).apply(variables, x, mutable=["batch_stats"])[0]


def fast(x, scale, bias):
    return batch_norm(x, scale, bias, EPSILON)[0]


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 5, 5, 1), (1, 1, 2, 3)])
def test_values_and_gradients(agree, rng, shape):
    agree(fast, plain, 3 + 2 * rng.normal(size=shape), rng.normal(size=shape[-1:]), rng.normal(size=shape[-1:]))


def test_a_constant_channel(agree):
    agree(fast, plain, jnp.full((2, 3, 3, 2), 5.0), jnp.ones(2), jnp.zeros(2))


def test_statistics(rng):
    x = rng.normal(size=(4, 3, 3, 2))
    _, mean, variance = batch_norm(x, jnp.ones(2), jnp.zeros(2), EPSILON)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
    np.testing.assert_allclose(variance, x.var((0, 1, 2)))


def test_statistics_are_float32_under_bfloat16(rng):
    x = jnp.asarray(100 + rng.normal(size=(64, 8, 8, 2)), jnp.bfloat16)
    y, mean, variance = batch_norm(x, jnp.ones(2, jnp.float32), jnp.zeros(2, jnp.float32), EPSILON)
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_allclose(mean, np.asarray(x, "float64").mean((0, 1, 2)), rtol=1e-6)


def mapped(api, function):
    """`function` of this device's x, run over eight; x is the first argument, the rest is replicated."""
    if api == "pmap":

        def run(x, *rest):
            return jax.pmap(function, "data", in_axes=(0, None, None, None))(x.reshape(8, -1, *x.shape[1:]), *rest)

        return run
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole, split = PartitionSpec(), PartitionSpec("data")

    def local(x, *rest):
        return jax.tree.map(lambda v: v[None], function(x, *rest))

    return jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(split, whole, whole, whole), out_specs=split, check_vma=False)
    )


@pytest.mark.parametrize("api", ["pmap", "shard_map"])
def test_eight_devices_are_one_with_the_same_batch(rng, api):
    x, weight = rng.normal(size=(2, 16, 3, 3, 4))
    scale, bias = rng.normal(size=(2, 4))

    def loss(x, scale, bias, weight, axis_name=None):
        y, mean, variance = batch_norm(x, scale, bias, EPSILON, axis_name)
        return (y**2 * weight[..., None, :]).sum(), (mean, variance)

    weight = weight[0, 0, :1]  # the same for every example: each device needs no part of it
    differentiated = functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
    (value, statistics), gradients = differentiated(loss)(x, scale, bias, weight)
    parts = mapped(api, differentiated(functools.partial(loss, axis_name="data")))
    (values, all_statistics), (dx, dscale, dbias) = parts(x, scale, bias, weight)
    np.testing.assert_allclose(values.sum(), value)
    for ours, expected in zip(all_statistics, statistics, strict=True):
        np.testing.assert_allclose(ours, np.broadcast_to(expected, (8, 4)))
    np.testing.assert_allclose(dx.reshape(x.shape), gradients[0], atol=1e-12)
    np.testing.assert_allclose(dscale.sum(0), gradients[1])
    np.testing.assert_allclose(dbias.sum(0), gradients[2])
