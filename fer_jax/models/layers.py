"""Layers with the parameters and results of Flax' own, whose implementation can be chosen.

`implementation="plain"` uses `lax` operations as Flax does: the reference, and what is exported. `"fast"` uses
`fer_jax.ops`, rewritten where a backend's plain operation is slow. `"auto"` is the one measured to be faster on the
default backend. Parameter names and shapes do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any


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
        kernel = self.param("kernel", nn.initializers.glorot_uniform(),
                            (*self.kernel_size, x.shape[-1], self.features), jnp.float32)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = jax.lax.conv_general_dilated(x, kernel, (self.strides, self.strides), self.padding,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
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
        depthwise = self.param("depthwise_kernel", nn.initializers.glorot_uniform(in_axis=(0, 1), out_axis=-1),
                               (*self.kernel_size, 1, channels), jnp.float32)
        pointwise = self.param("pointwise_kernel", nn.initializers.glorot_uniform(),
                               (1, 1, channels, self.features), jnp.float32)
        x, depthwise, pointwise = nn.dtypes.promote_dtype(x, depthwise, pointwise, dtype=self.dtype)
        x = jax.lax.conv_general_dilated(x, depthwise, (1, 1), self.padding, feature_group_count=channels,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.lax.conv_general_dilated(x, pointwise, (1, 1), "VALID",
                                            dimension_numbers=("NHWC", "HWIO", "NHWC"))


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
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon,
                            axis_name=self.axis_name if not self.is_initializing() else None, dtype=self.dtype,
                            name="bn")(x)


def max_pool(x: jax.Array, window: int, strides: int | None = None, padding: str = "VALID",
             implementation: str = "auto") -> jax.Array:
    """Maximum over `window` x `window` of (N, H, W, C); stride `window` unless given."""
    strides = window if strides is None else strides
    return nn.max_pool(x, window_shape=(window, window), strides=(strides, strides), padding=padding)
