"""The axis order the CPU operations compute in: channels, height, width, batch.

With the batch innermost every elementwise pass, shift and window runs over long contiguous rows whatever the number of
channels or the parity of the image's size, and a 1x1 convolution is one matrix product without a transposition. The
public functions take and return (N, H, W, C); XLA cancels the transpositions between consecutive operations and
assigns elementwise operations in between the layout of their neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax import lax

CHANNEL, HEIGHT, WIDTH, BATCH = range(4)
Pads = tuple[tuple[int, int], tuple[int, int]]


def swap(x: jax.Array) -> jax.Array:
    """(N, H, W, C) to (C, H, W, N), and back."""
    return x.transpose(3, 1, 2, 0)


def padding(size: Sequence[int], window: Sequence[int], strides: int, kind: str) -> Pads:
    """Padding that "SAME" or "VALID" adds before and behind height and width."""
    (top, bottom), (left, right) = lax.padtype_to_pads(size, window, (strides, strides), kind)
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
