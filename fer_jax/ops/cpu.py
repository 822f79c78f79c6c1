"""What the operations for the CPU share: the axis order they compute in, and barriers at which XLA's fusion stops.

The order is channels, height, width, batch. With the batch innermost every elementwise pass, shift and window runs over
long contiguous rows whatever the number of channels or the parity of the image's size, and a 1x1 convolution is one
matrix product without a transposition. The public functions take and return (N, H, W, C); XLA cancels the
transpositions between consecutive operations and assigns elementwise operations in between the layout of their
neighbors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

CHANNEL, HEIGHT, WIDTH, BATCH = range(4)
Pads = tuple[tuple[int, int], tuple[int, int]]


def swap(x: jax.Array) -> jax.Array:
    """(N, H, W, C) to (C, H, W, N), and back."""
    return x.transpose(3, 1, 2, 0)


def pads_of(size: Sequence[int], window: Sequence[int], strides: int, padding: str) -> Pads:
    """Padding that "SAME" or "VALID" adds before and behind height and width."""
    (top, bottom), (left, right) = lax.padtype_to_pads(size, window, (strides, strides), padding)
    return (top, bottom), (left, right)


def pad(x: jax.Array, pads: Pads, value: float = 0.0, interior: int = 0) -> jax.Array:
    """Height and width of (C, H, W, N) padded, with `interior` elements between neighbors; negative pads cut."""
    config = [(0, 0, 0), (*pads[0], interior), (*pads[1], interior), (0, 0, 0)]
    return lax.pad(x, jax.numpy.asarray(value, x.dtype), config)


def window(x: jax.Array, row: int, column: int, size: tuple[int, int], strides: int = 1) -> jax.Array:
    """The elements at (row + strides * i, column + strides * j) for i, j below `size`."""
    height, width = size
    channels, _, _, batch = x.shape
    return lax.slice(
        x,
        (0, row, column, 0),
        (channels, row + strides * (height - 1) + 1, column + strides * (width - 1) + 1, batch),
        (1, strides, strides, 1),
    )


def per_channel(vector: jax.Array) -> jax.Array:
    """(C,) as (C, 1, 1, 1), to be broadcast."""
    return vector[:, None, None, None]


def fusion_barrier(function: Callable | None = None, *, static_argnums: tuple[int, ...] = ()) -> Callable:
    """A decorator: XLA compiles the function as a computation of its own and fuses nothing into it or out of it.

    The CPU backend fuses elementwise work into its consumers until one loop recomputes, index by index, what should
    have been a pass over memory; `lax.optimization_barrier` is dropped there before fusion. Arguments and results are
    materialised, so it belongs around a few passes over an array, not around one multiplication.
    """
    if function is None:
        return functools.partial(fusion_barrier, static_argnums=static_argnums)
    compiled = jax.jit(function, static_argnums=static_argnums)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        # On the results, that is the call: as a context it would also cut every jitted function within off.
        return jax.tree.map(lambda result: set_xla_metadata(result, inlineable="false"), compiled(*args))

    return call
