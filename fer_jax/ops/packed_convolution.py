"""3x3 convolutions of 32 to 32 channels for TPUs, with the channels in groups of eight along a dimension of space.

XLA's TPU backend has an emitter that packs the places of a kernel beside each other in the matrix unit, and takes it
for eight input channels, which fill a tile. 32 channels are four times eight: (N, H, W, 32) is (N, H, W, 4, 8) in
memory where the batch is innermost, and the kernel reaches over all four groups. By XLA's estimate for v5e it takes
230,000 cycles for 297,000 at 22x22 pixels and 1,024 images; 16 and 64 channels lose as much around it.
"""

from __future__ import annotations

import functools

import jax
from jax import lax

CHANNELS, TILE = 32, 8
FLAT, DEEP = ("NHWC", "HWIO", "NHWC"), ("NHWDC", "HWDIO", "NHWDC")


def convolve(x: jax.Array, kernel: jax.Array, strides: int, padding: str) -> jax.Array:
    """As `lax.conv_general_dilated` of (N, H, W, C) with a kernel (h, w, C, features), "SAME" or "VALID".

    Other channels, strides and 1x1 kernels are convolved by `lax` as they are.
    """
    if strides == 1 and kernel.shape[0] > 1 and kernel.shape[2:] == (CHANNELS, CHANNELS):
        pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (1, 1), padding)
        return _convolve(x, kernel, tuple(pads))
    return lax.conv_general_dilated(x, kernel, (strides, strides), padding, dimension_numbers=FLAT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, pads: tuple) -> jax.Array:
    x = x.reshape(*x.shape[:3], CHANNELS // TILE, TILE)
    kernel = kernel.reshape(*kernel.shape[:2], CHANNELS // TILE, TILE, CHANNELS)
    return lax.conv_general_dilated(x, kernel, (1, 1, 1), (*pads, (0, 0)), dimension_numbers=DEEP)[:, :, :, 0]


def _backward(pads: tuple, residuals: tuple, dy: jax.Array) -> tuple:
    x, kernel = residuals
    around = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel.shape[:2], pads, strict=True))
    dx = _convolve(dy, kernel[::-1, ::-1].swapaxes(2, 3), around)
    # Only the image's gradient gains.
    plain = functools.partial(lax.conv_general_dilated, x, window_strides=(1, 1), padding=pads, dimension_numbers=FLAT)
    return dx, jax.linear_transpose(plain, kernel)(dy)[0]


_convolve.defvjp(lambda x, kernel, pads: (_convolve(x, kernel, pads), (x, kernel)), _backward)
