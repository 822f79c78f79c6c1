"""Max-pooling with gradients of its own, for CPUs and for GPUs.

XLA's CPU backend makes the gradient a scalar loop (`select_and_scatter`), on GPUs it is a copy, a search of all windows
and a scatter.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.ops.cpu import HEIGHT, WIDTH, Pads, fusion_barrier, pad, pads_of, swap


def max_pool(x: jax.Array, window: int, strides: int, padding: str = "VALID") -> jax.Array:
    """Maximum over `window` x `window` (below 64) of (N, H, W, C), for the CPU, as `flax.linen.max_pool`.

    Columns first, then rows: of equal maxima the gradient goes to the first one of the first row that has it, which is
    the first in the window's order, as in `lax`. With `lax` in its place mini-Xception's whole step on two cores
    (batch 128) falls from 1,377 to 672 images/s.
    """
    return swap(_max_pool(swap(x), window, strides, pads_of(x.shape[1:3], (window, window), strides, padding)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, window: int, strides: int, pads: Pads) -> jax.Array:
    # Padded here, where it fuses into what made x; fused into the comparisons it makes them three times slower.
    return _maximum(_maximum(pad(x, pads, -jnp.inf), WIDTH, window, strides), HEIGHT, window, strides)


def _forward(x: jax.Array, window: int, strides: int, pads: Pads) -> tuple:
    padded = pad(x, pads, -jnp.inf)
    rows = _maximum(padded, WIDTH, window, strides)
    y = _maximum(rows, HEIGHT, window, strides)
    shape_of_x = jnp.empty((0, *x.shape[1:]), x.dtype)
    return y, (_first(padded, rows, WIDTH, window, strides), _first(rows, y, HEIGHT, window, strides), shape_of_x)


def _backward(window: int, strides: int, pads: Pads, residuals: tuple, dy: jax.Array) -> tuple:
    first_in_row, first_row, shape_of_x = residuals
    height, width = shape_of_x.shape[HEIGHT], shape_of_x.shape[WIDTH]
    (top, _), (left, _) = pads
    drows = _spread(first_row, dy, HEIGHT, window, strides, slice(top, top + height))
    first_in_row = lax.slice_in_dim(first_in_row, top, top + height, axis=HEIGHT)
    return (_spread(first_in_row, drows, WIDTH, window, strides, slice(left, left + width)),)


def _candidates(x: jax.Array, axis: int, window: int, strides: int) -> list[jax.Array]:
    """The first elements of all windows, their second ones, ..."""
    reach = (x.shape[axis] - window) // strides * strides + 1
    return [lax.slice_in_dim(x, i, i + reach, strides, axis) for i in range(window)]


@fusion_barrier(static_argnums=(1, 2, 3))
def _maximum(x: jax.Array, axis: int, window: int, strides: int) -> jax.Array:
    return functools.reduce(jnp.maximum, _candidates(x, axis, window, strides))


@fusion_barrier(static_argnums=(2, 3, 4))
def _first(x: jax.Array, y: jax.Array, axis: int, window: int, strides: int) -> jax.Array:
    """Position of the first maximum in its window: int8, for the gradient to read a quarter of the memory."""
    first = jnp.full(y.shape, window - 1, jnp.int8)
    for i, candidate in reversed(list(enumerate(_candidates(x, axis, window, strides)[:-1]))):
        first = jnp.where(candidate == y, jnp.int8(i), first)
    return first


def _spread(first: jax.Array, dy: jax.Array, axis: int, window: int, strides: int, places: slice) -> jax.Array:
    """`dy` where `first` points, zero elsewhere, of the `places` of the padded array along `axis`."""
    overlap = (window - 1) // strides
    begin, end = places.start // strides, -(-places.stop // strides)  # groups of `strides` places

    def reach(x: jax.Array) -> jax.Array:
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (overlap - begin, end - x.shape[axis], 0)
        return lax.pad(x, jnp.zeros((), x.dtype), config)

    groups = _to_first(reach(first), reach(dy), axis, overlap, strides)
    dx = groups.reshape(*dy.shape[:axis], -1, *dy.shape[axis + 1 :])
    return lax.slice_in_dim(dx, places.start - begin * strides, places.stop - begin * strides, axis=axis)


@fusion_barrier(static_argnums=(2, 3, 4))
def _to_first(first: jax.Array, dy: jax.Array, axis: int, overlap: int, strides: int) -> jax.Array:
    """`dy` where `first` points. A new axis counts the places of a group, all of which the same windows see."""
    count = dy.shape[axis] - overlap
    places = lax.broadcasted_iota(jnp.int8, (strides, *dy.shape[axis + 1 :]), 0)

    def before(x: jax.Array, windows: int) -> jax.Array:
        return jnp.expand_dims(lax.slice_in_dim(x, overlap - windows, overlap - windows + count, axis=axis), axis + 1)

    return sum(  # pyright: ignore[reportReturnType]
        jnp.where(before(first, i) == places + jnp.int8(i * strides), before(dy, i), 0) for i in range(overlap + 1)
    )


_max_pool.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool_by_index(x: jax.Array, window: int, strides: int, padding: str = "VALID") -> jax.Array:
    """Maximum over `window` x `window` (at most 11) of (N, H, W, C), for GPUs, as `flax.linen.max_pool`.

    The forward pass keeps where each maximum was, and the backward pass reads that: one elementwise kernel, which fuses
    with what is around it. Of equal maxima the gradient goes to the first in the window's order, as in `lax`.
    """
    return _index_forward(x, window, strides, padding)[0]


def _index_forward(x: jax.Array, window: int, strides: int, padding: str) -> tuple:
    n, height, width, channels = x.shape
    (top, bottom), (left, right) = pads_of((height, width), (window, window), strides, padding)
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


def _index_backward(window: int, strides: int, padding: str, residuals: tuple, dy: jax.Array) -> tuple:
    first, shape_of_x = residuals
    height, width = shape_of_x.shape[1:]
    (top, _), (left, _) = pads_of((height, width), (window, window), strides, padding)
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


max_pool_by_index.defvjp(_index_forward, _index_backward)


class Pool(NamedTuple):
    """Max-pooling by `window` x `window`; `by_index` takes `max_pool_by_index` for `lax`'s own gradient."""

    window: int
    strides: int
    padding: str
    by_index: bool = False

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.by_index:
            return max_pool_by_index(x, self.window, self.strides, self.padding)
        return nn.max_pool(x, (self.window, self.window), (self.strides, self.strides), self.padding)
