"""Layers with the parameters and results of Flax' own, whose implementation can be chosen.

`implementation="plain"` uses `lax` operations as Flax does: the reference, and what is exported. "cpu", "gpu" and "tpu"
use what `fer_jax.ops` has for that platform, the fastest measured there or, for TPUs and GPUs, the fastest by their
compilers' estimates. "auto" is the one of JAX's default backend; `fer_jax.models.registry` replaces it by that of the
devices a program is made for. Parameter names and shapes do not depend on it.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from fer_jax import ops
from fer_jax.ops import convolution, normalization, pooling

Dtype = Any


def _convolve_on_cpu(x: jax.Array, kernel: jax.Array, strides: int, padding: str) -> jax.Array:
    if kernel.shape[:2] == (1, 1):
        return convolution.pointwise(x, kernel, strides)
    if strides == 1:
        return convolution.dense(x, kernel, padding)
    return convolution.channels_last(x, kernel, strides, padding)


class Conv(nn.Module):
    """2-D convolution, channels last; parameters "kernel" (h, w, in, out) and "bias" (out,).

    `before_norm` says that a BatchNorm follows, which subtracts the mean and the bias with it: the gradient of the bias
    is 0, and GPUs and TPUs do not add up whole images to find that.
    """

    features: int
    kernel_size: Sequence[int] = (3, 3)
    strides: int = 1
    padding: str = "SAME"
    use_bias: bool = True
    before_norm: bool = False
    dtype: Dtype | None = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param(
            "kernel", nn.initializers.glorot_uniform(), (*self.kernel_size, x.shape[-1], self.features), jnp.float32
        )
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        implementation = ops.implementation(self.implementation)
        if bias is not None and self.before_norm and implementation in ("gpu", "tpu"):
            bias = lax.stop_gradient(bias)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if implementation == "cpu":
            y = _convolve_on_cpu(x, kernel, self.strides, self.padding)
        elif implementation == "tpu":
            y = convolution.packed(x, kernel, self.strides, self.padding)
        else:
            y = convolution.plain(x, kernel, self.strides, self.padding)
        return y if bias is None else y + bias


class SeparableConv(nn.Module):
    """Depthwise 3x3 and pointwise convolution without bias, same-padded with stride 1.

    Parameters "depthwise_kernel" (3, 3, 1, in) and "pointwise_kernel" (1, 1, in, out).
    """

    features: int
    dtype: Dtype | None = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        glorot = nn.initializers.glorot_uniform
        depthwise = self.param("depthwise_kernel", glorot((0, 1), -1), (3, 3, 1, channels), jnp.float32)
        pointwise = self.param("pointwise_kernel", glorot(), (1, 1, channels, self.features), jnp.float32)
        implementation = ops.implementation(self.implementation)
        if implementation in ("gpu", "tpu"):
            # A matrix unit is mostly idle at few channels: nine times the products cost less than a grouped one's.
            dense = depthwise[:, :, 0, :, None] * pointwise[0]
            x, dense = promote_dtype(x, dense, dtype=self.dtype)
            convolve = convolution.packed if implementation == "tpu" else convolution.plain
            return convolve(x, dense, 1, "SAME")
        x, depthwise, pointwise = promote_dtype(x, depthwise, pointwise, dtype=self.dtype)
        if implementation == "cpu":
            return convolution.pointwise(convolution.depthwise(x, depthwise, 1, "SAME"), pointwise)
        return convolution.plain(convolution.plain(x, depthwise, 1, "SAME", groups=channels), pointwise, 1, "VALID")


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last, with float32 statistics whatever the dtype of the input.

    Parameters "scale", "bias" (C,), statistics "mean", "var" (C,) in collection "batch_stats". `axis_name` is the
    mapped axis over which the statistics of a training batch are averaged, or None for those of the local batch. The
    variance is the biased one, as in Keras and Flax.

    In training the collection gets the statistics of the batch alone: `fer_jax.training.step` averages them over steps.

    `pool` (window, strides, padding) max-pools the result, which a GPU or TPU does before it normalizes.
    """

    epsilon: float = 1e-3
    axis_name: str | None = None
    dtype: Dtype | None = None
    implementation: str = "auto"
    pool: tuple[int, int, str] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        (x,) = promote_dtype(x, dtype=self.dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        if not train:
            return self._pooled(_normalize(x, running_mean.value, running_var.value, scale, bias, self.epsilon))
        implementation = ops.implementation(self.implementation)
        if implementation in ("gpu", "tpu") and x.ndim == 4:
            gpu = implementation == "gpu"
            pool = self.pool and pooling.Pool(*self.pool, by_index=gpu)
            fused: Any = normalization.fused_batch_norm(x, scale, bias, self.epsilon, axis_name, pool, gpu)
            y, mean, var = fused
        elif implementation == "cpu":
            y, mean, var = normalization.batch_norm(x, scale, bias, self.epsilon, axis_name)
            y = self._pooled(y)
        else:
            mean, var = _moments(x, axis_name)
            y = self._pooled(_normalize(x, mean, var, scale, bias, self.epsilon))
        if not self.is_initializing():
            running_mean.value, running_var.value = mean, var
        return y

    @nn.nowrap
    def _pooled(self, y: jax.Array) -> jax.Array:
        return y if self.pool is None else max_pool(y, *self.pool, implementation=self.implementation)


def _moments(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    moments = x.mean(axes), (x * x).mean(axes)
    mean, square = moments if axis_name is None else lax.pmean(moments, axis_name)
    return mean, jnp.maximum(square - mean * mean, 0)


def _normalize(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return ((wide - mean) * (lax.rsqrt(var + epsilon) * scale) + bias).astype(x.dtype)


def max_pool(
    x: jax.Array, window: int, strides: int | None = None, padding: str = "VALID", implementation: str = "auto"
) -> jax.Array:
    """Maximum over `window` x `window` of (N, H, W, C); stride `window` unless given."""
    strides = window if strides is None else strides
    implementation = ops.implementation(implementation)
    if implementation == "cpu":
        return pooling.max_pool(x, window, strides, padding)
    if implementation == "gpu":
        return pooling.max_pool_by_index(x, window, strides, padding)
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)
