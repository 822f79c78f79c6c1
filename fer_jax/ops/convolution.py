"""Convolutions for the CPU, with the values and gradients of `lax.conv_general_dilated`.

All take images (N, H, W, C) and kernels as `flax.linen.Conv` keeps them, and compute in the axis order of
`fer_jax.ops.layout`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.ops.boundary import fusion_barrier
from fer_jax.ops.layout import BATCH, CHANNEL, HEIGHT, WIDTH, Pads, pad, padding, per_channel, swap, window


def depthwise(x: jax.Array, kernel: jax.Array, strides: int = 1, padding_kind: str = "SAME") -> jax.Array:
    """Each channel convolved with its own filter, as a convolution with `feature_group_count=channels`.

    Args:
      x: (N, H, W, C).
      kernel: (h, w, 1, C).
    """
    pads = padding(x.shape[1:3], kernel.shape[:2], strides, padding_kind)
    return swap(_depthwise(swap(x), kernel[:, :, 0], strides, pads))


def pointwise(x: jax.Array, kernel: jax.Array, strides: int = 1) -> jax.Array:
    """A 1x1 convolution: every `strides`-th place of (N, H, W, C) times a kernel (1, 1, C, features)."""
    x = swap(x)
    if strides > 1:
        x = window(x, 0, 0, (-(-x.shape[HEIGHT] // strides), -(-x.shape[WIDTH] // strides)), strides)
    return swap(_pointwise(x, kernel[0, 0]))


def dense(x: jax.Array, kernel: jax.Array, padding_kind: str = "SAME") -> jax.Array:
    """A convolution with stride 1 of (N, H, W, C) with a kernel (h, w, C, features), as matrix products.

    Alone it may be slower than `lax`, and takes up to twice the memory; within a network it is faster, since layers
    before and after keep its axis order. Training images a second of whole steps on two cores, against `lax` with the
    gradients of `plain_convolution`: six_conv, batch 128, 272 for 102; vgg, batch 128, 113 for 62, batch 32, 98 for 77;
    ckplus_model1, batch 32, 13.3 for 4.8; resnet18, batch 32, 41 for 38. Without gradients, batch 512: vgg 382 for 235,
    vgg16 194 for 115, six_conv 772 for 750, resnet18 56 for 45.
    """
    pads = padding(x.shape[1:3], kernel.shape[:2], 1, padding_kind)
    return swap(_dense(pad(swap(x), pads), kernel))


# Depthwise ------------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, strides: int, pads: Pads) -> jax.Array:
    return _depthwise_forward(x, kernel, strides, pads)[0]


def _depthwise_forward(x: jax.Array, kernel: jax.Array, strides: int, pads: Pads) -> tuple:
    padded = pad(x, pads)
    return _shifted_sum(padded, kernel, strides), (padded, kernel)


def _depthwise_backward(strides: int, pads: Pads, residuals: tuple, dy: jax.Array) -> tuple:
    padded, kernel = residuals
    (top, bottom), (left, right) = pads
    h, w = kernel.shape[:2]
    # What the strides never reached, at the far end, has no gradient.
    rest = [padded.shape[axis] - strides * (dy.shape[axis] - 1) - k for axis, k in ((HEIGHT, h), (WIDTH, w))]
    spread = pad(
        dy, ((h - 1 - top, h - 1 - bottom + rest[0]), (w - 1 - left, w - 1 - right + rest[1])), interior=strides - 1
    )
    return _shifted_sum(spread, kernel[::-1, ::-1], 1), _shifted_products(padded, dy, kernel.shape, strides)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


@fusion_barrier(static_argnums=(2,))
def _shifted_sum(padded: jax.Array, kernel: jax.Array, strides: int) -> jax.Array:
    h, w = kernel.shape[:2]
    size = ((padded.shape[HEIGHT] - h) // strides + 1, (padded.shape[WIDTH] - w) // strides + 1)
    return sum(window(padded, i, j, size, strides) * per_channel(kernel[i, j]) for i in range(h) for j in range(w))  # pyright: ignore[reportReturnType]


@fusion_barrier(static_argnums=(2, 3))
def _shifted_products(padded: jax.Array, dy: jax.Array, shape: tuple[int, ...], strides: int) -> jax.Array:
    """Gradient of the kernel (h, w, C): all sums in one pass, where XLA would make a pass and a copy of each."""
    h, w, _ = shape
    dtype = jnp.promote_types(dy.dtype, jnp.float32)
    size = dy.shape[HEIGHT], dy.shape[WIDTH]
    products = [(window(padded, i, j, size, strides) * dy).astype(dtype) for i in range(h) for j in range(w)]
    sums = lax.reduce(
        products,
        [jnp.zeros((), dtype)] * len(products),
        lambda a, b: [p + q for p, q in zip(a, b, strict=True)],
        (HEIGHT, WIDTH, BATCH),
    )
    return jnp.stack(sums).reshape(shape).astype(dy.dtype)


# Pointwise ------------------------------------------------------------------------------------------------------------


@jax.custom_vjp
def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _matmul(kernel.T, x)


def _pointwise_backward(residuals: tuple, dy: jax.Array) -> tuple:
    x, kernel = residuals
    return _matmul(kernel, dy), _outer(x, dy)


_pointwise.defvjp(lambda x, kernel: (_pointwise(x, kernel), (x, kernel)), _pointwise_backward)


@fusion_barrier
def _matmul(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """(O, C) times (C, H, W, N)."""
    return (matrix @ x.reshape(x.shape[CHANNEL], -1)).reshape(-1, *x.shape[1:])


@fusion_barrier
def _outer(x: jax.Array, dy: jax.Array) -> jax.Array:
    """(C, H, W, N) and (O, H, W, N) to (C, O). With the wider on the left the product is up to 2.5 times as fast."""
    x, dy = x.reshape(x.shape[CHANNEL], -1), dy.reshape(dy.shape[CHANNEL], -1)
    return x @ dy.T if len(x) > len(dy) else (dy @ x.T).T


# Dense ----------------------------------------------------------------------------------------------------------------


@jax.custom_vjp
def _dense(padded: jax.Array, kernel: jax.Array) -> jax.Array:
    return _dense_forward(padded, kernel)[0]


def _rows_gathered(kernel_shape: tuple[int, ...]) -> int:
    """Number of the kernel's rows that become channels before the matrix product; the others are summed after it.

    One row: h * features by w * C instead of features by h * w * C, as many multiplications, written and read as h + w
    arrays instead of h * w. All rows: less memory where there are few channels.
    """
    h, w, channels, features = kernel_shape
    return h if h * w * channels < w * channels + h * features else 1


def _dense_forward(padded: jax.Array, kernel: jax.Array) -> tuple:
    h, w = kernel.shape[:2]
    rows = _rows_gathered(kernel.shape)
    gathered = _gather(padded, rows, w)
    return _sum_rows(_matmul(_as_matrix(kernel, rows).T, gathered), h // rows), (gathered, kernel)


def _dense_backward(residuals: tuple, dy: jax.Array) -> tuple:
    gathered, kernel = residuals
    h, w, channels, features = kernel.shape
    rows = _rows_gathered(kernel.shape)
    spread = dy if rows == h else _spread_rows(dy, h)
    dkernel = _outer(gathered, spread).reshape(rows, w, channels, h // rows, features)
    dkernel = dkernel.transpose(3, 0, 1, 2, 4).reshape(kernel.shape)
    return _sum_windows(_matmul(_as_matrix(kernel, rows), spread), rows, w), dkernel


_dense.defvjp(_dense_forward, _dense_backward)


def _as_matrix(kernel: jax.Array, rows: int) -> jax.Array:
    """(h, w, C, O) to (rows * w * C, h / rows * O)."""
    h, w, channels, features = kernel.shape
    kernel = kernel.reshape(h // rows, rows, w, channels, features)
    return kernel.transpose(1, 2, 3, 0, 4).reshape(rows * w * channels, h // rows * features)


@fusion_barrier(static_argnums=(1, 2))
def _gather(padded: jax.Array, rows: int, columns: int) -> jax.Array:
    """Gather what lies up to `rows` and `columns` away, as channels."""
    size = padded.shape[HEIGHT] - rows + 1, padded.shape[WIDTH] - columns + 1
    return jnp.concatenate([window(padded, i, j, size) for i in range(rows) for j in range(columns)], CHANNEL)


@fusion_barrier(static_argnums=(1, 2))
def _sum_windows(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """The transpose of `_gather`."""
    parts = iter(jnp.split(x, rows * columns, CHANNEL))
    return sum(pad(next(parts), ((i, rows - 1 - i), (j, columns - 1 - j))) for i in range(rows) for j in range(columns))  # pyright: ignore[reportReturnType]


@fusion_barrier(static_argnums=(1,))
def _sum_rows(x: jax.Array, count: int) -> jax.Array:
    height = x.shape[HEIGHT] - count + 1
    return sum(  # pyright: ignore[reportReturnType]
        lax.slice_in_dim(part, i, i + height, axis=HEIGHT) for i, part in enumerate(jnp.split(x, count, CHANNEL))
    )


@fusion_barrier(static_argnums=(1,))
def _spread_rows(dy: jax.Array, count: int) -> jax.Array:
    """The transpose of `_sum_rows`."""
    return jnp.concatenate([pad(dy, ((i, count - 1 - i), (0, 0))) for i in range(count)], CHANNEL)
