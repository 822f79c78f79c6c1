"""Max-pooling for GPUs: the forward pass keeps where each maximum was, and the backward pass reads that.

XLA makes the gradient of max-pooling on GPUs a copy, a search of all windows and a scatter. Here it is one elementwise
kernel, which fuses with what comes before and after it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, window: int, strides: int, padding: str = "VALID") -> jax.Array:
    """Maximum over `window` x `window` (at most 11) of (N, H, W, C), as `flax.linen.max_pool`.

    Of equal maxima the gradient goes to the first in the window's order, as in `lax`.
    """
    return _forward(x, window, strides, padding)[0]


def _pads(size: tuple[int, ...], window: int, strides: int, padding: str) -> Pads:
    (top, bottom), (left, right) = lax.padtype_to_pads(size, (window, window), (strides, strides), padding)
    return (top, bottom), (left, right)


def _forward(x: jax.Array, window: int, strides: int, padding: str) -> tuple:
    n, height, width, channels = x.shape
    (top, bottom), (left, right) = _pads((height, width), window, strides, padding)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=-jnp.inf)
    rows = (height + top + bottom - window) // strides + 1
    columns = (width + left + right - window) // strides + 1

    def candidate(place: int) -> jax.Array:
        i, j = divmod(place, window)
        end = (n, i + strides * (rows - 1) + 1, j + strides * (columns - 1) + 1, channels)
        return lax.slice(padded, (0, i, j, 0), end, (1, strides, strides, 1))

    best = candidate(0)
    first = jnp.zeros(best.shape, jnp.int8)
    for place in range(1, window * window):
        other = candidate(place)
        first = jnp.where(other > best, jnp.int8(place), first)
        best = jnp.maximum(other, best)
    return best, (first, jnp.empty((0, height, width), x.dtype))


def _backward(window: int, strides: int, padding: str, residuals: tuple, dy: jax.Array) -> tuple:
    first, shape_of_x = residuals
    height, width = shape_of_x.shape[1:]
    (top, _), (left, _) = _pads((height, width), window, strides, padding)
    rows, columns = dy.shape[1:3]
    dx = 0
    for place in range(window * window):
        i, j = divmod(place, window)
        # `dy` back at the pixels that are at this place of their window, zero elsewhere.
        before = (i - top, j - left)
        behind = (
            height - before[0] - strides * (rows - 1) - 1,
            width - before[1] - strides * (columns - 1) - 1,
        )
        chosen = jnp.where(first == place, dy, 0)
        config = [(0, 0, 0), (before[0], behind[0], strides - 1), (before[1], behind[1], strides - 1), (0, 0, 0)]
        dx = dx + lax.pad(chosen, jnp.zeros((), dy.dtype), config)
    return (dx,)


max_pool.defvjp(_forward, _backward)
