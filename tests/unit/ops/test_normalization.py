"""Fast batch normalization with and without pooling against Flax' own, on one device and on eight."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from fer_jax.ops.normalization import batch_norm, fused_batch_norm
from fer_jax.ops.pooling import Pool

EPSILON = 1e-3
POOLS = [None, Pool(3, 2, "SAME"), Pool(2, 2, "VALID"), Pool(3, 2, "SAME", by_index=True)]


def plain(x, scale, bias, pool=None):
    variables = {"params": {"scale": scale, "bias": bias}}
    norm = nn.BatchNorm(use_running_average=False, epsilon=EPSILON)
    y = norm.apply(variables, x, mutable=["batch_stats"])[0]
    return y if pool is None else pool(y)


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


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 5, 5, 1)])
def test_values_and_gradients_where_pooled_first(agree, rng, shape, pool):
    agree(
        lambda x, scale, bias: fused_batch_norm(x, scale, bias, EPSILON, None, pool)[0],
        functools.partial(plain, pool=pool),
        3 + 2 * rng.normal(size=shape),
        rng.normal(size=shape[-1:]),
        rng.normal(size=shape[-1:]),
    )


@pytest.mark.parametrize("pool", POOLS[:2])
def test_statistics_are_those_of_the_whole_image_whatever_the_sign_of_the_scale(rng, pool):
    x = rng.normal(size=(4, 5, 5, 2))
    _, mean, variance = fused_batch_norm(x, jnp.asarray([1.0, -1.0]), jnp.zeros(2), EPSILON, None, pool)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
    np.testing.assert_allclose(variance, x.var((0, 1, 2)))


def test_statistics_are_float32_under_bfloat16_where_pooled_first(rng):
    x = jnp.asarray(100 + rng.normal(size=(64, 8, 8, 2)), jnp.bfloat16)
    scale, bias = jnp.ones(2, jnp.float32), jnp.zeros(2, jnp.float32)
    y, mean, variance = fused_batch_norm(x, scale, bias, EPSILON, None, Pool(3, 2, "SAME"))
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_allclose(mean, np.asarray(x, "float64").mean((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLS[:2])
def test_eight_devices_are_one_where_pooled_first(rng, pool):
    x = rng.normal(size=(16, 6, 6, 4))
    scale, bias = rng.normal(size=(2, 4))

    def gradients(x, scale, bias, axis_name=None):
        def loss(x, scale, bias):
            return (fused_batch_norm(x, scale, bias, EPSILON, axis_name, pool)[0] ** 3).sum()

        dx, dscale, dbias = jax.grad(loss, argnums=(0, 1, 2))(x, scale, bias)
        return dx, dscale[None], dbias[None]

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole, split = PartitionSpec(), PartitionSpec("data")
    parts = jax.shard_map(
        functools.partial(gradients, axis_name="data"),
        mesh=mesh,
        in_specs=(split, whole, whole),
        out_specs=split,
        check_vma=False,
    )
    dx, dscale, dbias = jax.jit(parts)(x, scale, bias)
    for ours, expected in zip((dx, dscale.sum(0), dbias.sum(0)), gradients(x, scale, bias), strict=True):
        np.testing.assert_allclose(ours, np.asarray(expected).reshape(np.shape(ours)), atol=1e-10)
