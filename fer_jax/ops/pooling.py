"""Max-pooling for the CPU, whose gradient XLA's backend makes of a scalar loop (`select_and_scatter`)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.ops.boundary import isolated
from fer_jax.ops.layout import HEIGHT, WIDTH, padding, swap


def max_pool(x: jax.Array, window: int, strides: int, padding_kind: str = "VALID") -> jax.Array:
    """Maximum over `window` x `window` of (N, H, W, C), as `flax.linen.max_pool` with both gradient and ties.

    Columns first, then rows: of equal maxima the gradient goes to the first one of the first row that has it, which is
    the first in the window's order.
    """
    rows, columns = padding(x.shape[1:3], (window, window), strides, padding_kind)
    x = _pool_axis(swap(x), WIDTH, window, strides, columns)
    return swap(_pool_axis(x, HEIGHT, window, strides, rows))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _pool_axis(x: jax.Array, axis: int, window: int, strides: int, pads: tuple[int, int]) -> jax.Array:
    return _forward(x, axis, window, strides, pads)[0]


def _forward(x: jax.Array, axis: int, window: int, strides: int, pads: tuple[int, int]) -> tuple:
    y, first = _maximum(x, axis, window, strides, pads)
    return y, (first, x.shape[axis])


def _backward(axis: int, window: int, strides: int, pads: tuple[int, int], residuals: tuple, dy: jax.Array) -> tuple:
    first, size = residuals
    return (_to_first(first, dy, axis, window, strides, pads, size),)


_pool_axis.defvjp(_forward, _backward)


def _pad_axis(x: jax.Array, axis: int, pads: tuple[int, int], value: float) -> jax.Array:
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (*pads, 0)
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


@isolated(static_argnums=(1, 2, 3, 4))
def _maximum(x: jax.Array, axis: int, window: int, strides: int, pads: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """The maxima, and how far into its window the first of each lies (int8)."""
    x = _pad_axis(x, axis, pads, -jnp.inf)
    length = (x.shape[axis] - window) // strides + 1
    y, first = None, None
    for i in range(window):
        candidate = lax.slice_in_dim(x, i, i + strides * (length - 1) + 1, strides, axis)
        if y is None:
            y, first = candidate, jnp.zeros(candidate.shape, jnp.int8)
        else:
            first = jnp.where(candidate > y, jnp.int8(i), first)
            y = jnp.maximum(y, candidate)
    return y, first


@isolated(static_argnums=(2, 3, 4, 5, 6))
def _to_first(first: jax.Array, dy: jax.Array, axis: int, window: int, strides: int, pads: tuple[int, int],
              size: int) -> jax.Array:
    """`dy` where `first` points. Places i, i + strides, ... are seen by the same windows: one pass for each such i."""
    overlap = (window - 1) // strides
    length = dy.shape[axis] + overlap
    first, dy = (_pad_axis(v, axis, (overlap, overlap), 0) for v in (first, dy))
    phases = []
    for i in range(strides):
        total = 0
        for back, offset in enumerate(range(i, window, strides)):
            part = functools.partial(lax.slice_in_dim, start_index=overlap - back, limit_index=overlap - back + length,
                                     axis=axis)
            total += jnp.where(part(first) == offset, part(dy), 0)
        phases.append(total if not isinstance(total, int) else jnp.zeros_like(part(dy)))
    x = jnp.stack(phases, axis + 1)
    x = x.reshape(*x.shape[:axis], length * strides, *x.shape[axis + 2:])
    behind = max(0, pads[0] + size - x.shape[axis])  # places beyond the last window
    return lax.slice_in_dim(_pad_axis(x, axis, (0, behind), 0), pads[0], pads[0] + size, axis=axis)
