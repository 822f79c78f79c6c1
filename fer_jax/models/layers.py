"""Layers with the parameters and results of Flax' own, whose implementation can be chosen.

`implementation="plain"` uses `lax` operations as Flax does: the reference, and what is exported. `"fast"` uses
`fer_jax.ops`, rewritten where XLA's CPU backend is slow. `"auto"` is the one measured to be faster on the default
backend. Parameter names and shapes do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.ops import convolution, normalization, plain_convolution, pooling

Dtype = Any


def _fast(implementation: str) -> bool:
    return implementation == "fast" or (implementation == "auto" and jax.default_backend() == "cpu")


def _convolve(x: jax.Array, kernel: jax.Array, strides: int, padding: str, groups: int = 1) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, (strides, strides), padding, feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Conv(nn.Module):
    """2-D convolution, channels last; parameters "kernel" (h, w, in, out) and "bias" (out,)."""

    features: int
    kernel_size: Sequence[int] = (3, 3)
    strides: int = 1
    padding: str = "SAME"
    use_bias: bool = True
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
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if not _fast(self.implementation):
            y = _convolve(x, kernel, self.strides, self.padding)
        elif self.kernel_size == (1, 1):
            y = convolution.pointwise(x, kernel, self.strides)
        elif self.strides == 1:
            y = convolution.dense(x, kernel, self.padding)
        else:
            y = plain_convolution.convolve(x, kernel, self.strides, self.padding)
        return y if bias is None else y + bias


class SeparableConv(nn.Module):
    """Depthwise 3x3 and pointwise convolution without bias, stride 1.

    Parameters "depthwise_kernel" (h, w, 1, in) and "pointwise_kernel" (1, 1, in, out).
    """

    features: int
    kernel_size: Sequence[int] = (3, 3)
    padding: str = "SAME"
    dtype: Dtype | None = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        depthwise = self.param(
            "depthwise_kernel",
            nn.initializers.glorot_uniform(in_axis=(0, 1), out_axis=-1),
            (*self.kernel_size, 1, channels),
            jnp.float32,
        )
        pointwise = self.param(
            "pointwise_kernel", nn.initializers.glorot_uniform(), (1, 1, channels, self.features), jnp.float32
        )
        x, depthwise, pointwise = nn.dtypes.promote_dtype(x, depthwise, pointwise, dtype=self.dtype)
        if _fast(self.implementation):
            return convolution.pointwise(convolution.depthwise(x, depthwise, 1, self.padding), pointwise)
        return _convolve(_convolve(x, depthwise, 1, self.padding, groups=channels), pointwise, 1, "VALID")


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with float32 statistics whatever the dtype of the input.

    Parameters "scale", "bias" (C,), statistics "mean", "var" (C,) in collection "batch_stats". `axis_name` is the
    mapped axis over which the statistics of a training batch are averaged, or None for those of the local batch. The
    running variance is the biased one, as in Keras and Flax.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3
    axis_name: str | None = None
    dtype: Dtype | None = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        (x,) = nn.dtypes.promote_dtype(x, dtype=self.dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        if not train:
            return _normalize(x, running_mean.value, running_var.value, scale, bias, self.epsilon)
        if _fast(self.implementation):
            y, mean, var = normalization.batch_norm(x, scale, bias, self.epsilon, axis_name)
        else:
            mean, var = _moments(x, axis_name)
            y = _normalize(x, mean, var, scale, bias, self.epsilon)
        if not self.is_initializing():
            for running, batch in ((running_mean, mean), (running_var, var)):
                running.value = self.momentum * running.value + (1 - self.momentum) * batch
        return y


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
    if _fast(implementation):
        return pooling.max_pool(x, window, strides, padding)
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)
