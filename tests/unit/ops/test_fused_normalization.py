"""Batch normalization with and without pooling against Flax, on one device and on eight."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from fer_jax.ops.fused_normalization import Pool, batch_norm

EPSILON = 1e-3
POOLS = [None, Pool(3, 2, "SAME"), Pool(2, 2, "VALID"), Pool(3, 2, "SAME", by_index=True)]


def plain(x, scale, bias, pool):
    variables = {"params": {"scale": scale, "bias": bias}}
    norm = nn.BatchNorm(use_running_average=False, epsilon=EPSILON)
    y = norm.apply(variables, x, mutable=["batch_stats"])[0]
    return y if pool is None else pool(y)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 5, 5, 1)])
def test_values_and_gradients(agree, rng, shape, pool):
    agree(
        lambda x, scale, bias: batch_norm(x, scale, bias, EPSILON, None, pool)[0],
        functools.partial(plain, pool=pool),
        3 + 2 * rng.normal(size=shape),
        rng.normal(size=shape[-1:]),
        rng.normal(size=shape[-1:]),
    )


@pytest.mark.parametrize("pool", POOLS[:2])
def test_statistics_are_those_of_the_whole_image_whatever_the_sign_of_the_scale(rng, pool):
    x = rng.normal(size=(4, 5, 5, 2))
    _, mean, variance = batch_norm(x, jnp.asarray([1.0, -1.0]), jnp.zeros(2), EPSILON, None, pool)
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
    np.testing.assert_allclose(variance, x.var((0, 1, 2)))


def test_statistics_are_float32_under_bfloat16(rng):
    x = jnp.asarray(100 + rng.normal(size=(64, 8, 8, 2)), jnp.bfloat16)
    scale, bias = jnp.ones(2, jnp.float32), jnp.zeros(2, jnp.float32)
    y, mean, variance = batch_norm(x, scale, bias, EPSILON, None, Pool(3, 2, "SAME"))
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_allclose(mean, np.asarray(x, "float64").mean((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLS[:2])
def test_eight_devices_are_one_with_the_same_batch(rng, pool):
    x = rng.normal(size=(16, 6, 6, 4))
    scale, bias = rng.normal(size=(2, 4))

    def gradients(x, scale, bias, axis_name=None):
        def loss(x, scale, bias):
            return (batch_norm(x, scale, bias, EPSILON, axis_name, pool)[0] ** 3).sum()

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
