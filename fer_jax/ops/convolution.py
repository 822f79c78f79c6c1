"""Convolutions with the values and gradients of `lax.conv_general_dilated`, for platforms where that is slow.

All take images (N, H, W, C) and kernels as `flax.linen.Conv` keeps them, and "SAME" or "VALID" as padding. For the CPU
are `depthwise`, `pointwise` and `dense`, which compute in the axis order of `fer_jax.ops.cpu`, and `channels_last` for
other strides; for TPUs is `packed`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fer_jax.ops.cpu import BATCH, CHANNEL, HEIGHT, WIDTH, Pads, fusion_barrier, pad, pads_of, per_channel, swap, window

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
PACKED_CHANNELS, TILE = 32, 8


def plain(x: jax.Array, kernel: jax.Array, strides: int, padding: str, groups: int = 1) -> jax.Array:
    """`lax.conv_general_dilated` itself."""
    return lax.conv_general_dilated(
        x, kernel, (strides, strides), padding, feature_group_count=groups, dimension_numbers=CHANNELS_LAST
    )


def depthwise(x: jax.Array, kernel: jax.Array, strides: int = 1, padding: str = "SAME") -> jax.Array:
    """Each channel convolved with its own filter, as a convolution with `feature_group_count=channels`.

    Args:
      x: (N, H, W, C).
      kernel: (h, w, 1, C).
    """
    pads = pads_of(x.shape[1:3], kernel.shape[:2], strides, padding)
    return swap(_depthwise(swap(x), kernel[:, :, 0], strides, pads))


def pointwise(x: jax.Array, kernel: jax.Array, strides: int = 1) -> jax.Array:
    """A 1x1 convolution: every `strides`-th place of (N, H, W, C) times a kernel (1, 1, C, features)."""
    x = swap(x)
    if strides > 1:
        x = window(x, 0, 0, (-(-x.shape[HEIGHT] // strides), -(-x.shape[WIDTH] // strides)), strides)
    return swap(_pointwise(x, kernel[0, 0]))


def dense(x: jax.Array, kernel: jax.Array, padding: str = "SAME") -> jax.Array:
    """A convolution with stride 1 of (N, H, W, C) with a kernel (h, w, C, features), as matrix products.

    Alone it may be slower than `lax`, and takes up to twice the memory; within a network it is faster, since layers
    before and after keep its axis order. Training images a second of whole steps on two cores, against `lax` with the
    gradients of `channels_last`: six_conv, batch 128, 272 for 102; vgg, batch 128, 113 for 62, batch 32, 98 for 77;
    ckplus_model1, batch 32, 13.3 for 4.8; resnet18, batch 32, 41 for 38. Without gradients, batch 512: vgg 382 for 235,
    vgg16 194 for 115, six_conv 772 for 750, resnet18 56 for 45.
    """
    pads = pads_of(x.shape[1:3], kernel.shape[:2], 1, padding)
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


# Channels last --------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def channels_last(x: jax.Array, kernel: jax.Array, strides: int, padding: str) -> jax.Array:
    """A convolution of (N, H, W, C) with (h, w, C, features) whose gradients are plain channels-last ones too.

    `jax.grad` of `plain` gives the same two convolutions with their axes permuted by dimension numbers. Outside of
    loops XLA's CPU backend puts those in order; inside `lax.scan`, where training steps are, it falls back to a loop
    over scalars. Measured for 5x5x32x64 kernels over 8 images of 32x32: 2,500 ms a step for the kernel's gradient and
    270 ms for the image's, against 33 and 39 ms here.
    """
    return plain(x, kernel, strides, padding)


def _channels_last_backward(strides: int, padding: str, residuals: tuple, dy: jax.Array) -> tuple:
    x, kernel = residuals
    before = [low for low, _ in pads_of(x.shape[1:3], kernel.shape[:2], strides, padding)]
    reached = [strides * (size - 1) + 1 for size in dy.shape[1:3]]  # by the strides, beyond which x has no influence

    # Every place of x takes part in h x w outputs: dy spread by the strides, convolved with the kernel turned around.
    around = [
        (h - 1 - low, size - reach + low)
        for h, low, size, reach in zip(kernel.shape[:2], before, x.shape[1:3], reached, strict=True)
    ]
    dx = lax.conv_general_dilated(
        dy,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        around,
        lhs_dilation=(strides, strides),
        dimension_numbers=CHANNELS_LAST,
    )
    # Every weight has met one place of x an output: x convolved with dy, the batch in the place of the channels.
    within = [
        (low, reach + h - 1 - size - low)
        for h, low, size, reach in zip(kernel.shape[:2], before, x.shape[1:3], reached, strict=True)
    ]
    dkernel = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        within,
        rhs_dilation=(strides, strides),
        dimension_numbers=CHANNELS_LAST,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)


channels_last.defvjp(
    lambda x, kernel, strides, padding: (channels_last(x, kernel, strides, padding), (x, kernel)),
    _channels_last_backward,
)


# Packed ---------------------------------------------------------------------------------------------------------------


def packed(x: jax.Array, kernel: jax.Array, strides: int, padding: str) -> jax.Array:
    """A convolution for TPUs of 32 to 32 channels, these in groups of eight along a dimension of space.

    XLA's TPU backend has an emitter that packs the places of a kernel beside each other in the matrix unit, and takes
    it for eight input channels, which fill a tile. 32 channels are four times eight: (N, H, W, 32) is (N, H, W, 4, 8)
    in memory where the batch is innermost, and the kernel reaches over all four groups. By XLA's estimate for v5e it
    takes 230,000 cycles for 297,000 at 22x22 pixels and 1,024 images; 16 and 64 channels lose as much around it.

    Other channels, strides and 1x1 kernels are convolved by `plain`.
    """
    if strides == 1 and kernel.shape[0] > 1 and kernel.shape[2:] == (PACKED_CHANNELS, PACKED_CHANNELS):
        return _packed(x, kernel, pads_of(x.shape[1:3], kernel.shape[:2], 1, padding))
    return plain(x, kernel, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _packed(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    x = x.reshape(*x.shape[:3], PACKED_CHANNELS // TILE, TILE)
    kernel = kernel.reshape(*kernel.shape[:2], PACKED_CHANNELS // TILE, TILE, PACKED_CHANNELS)
    return lax.conv_general_dilated(
        x, kernel, (1, 1, 1), (*pads, (0, 0)), dimension_numbers=("NHWDC", "HWDIO", "NHWDC")
    )[:, :, :, 0]


def _packed_backward(pads: Pads, residuals: tuple, dy: jax.Array) -> tuple:
    x, kernel = residuals
    around = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel.shape[:2], pads, strict=True))
    dx = _packed(dy, kernel[::-1, ::-1].swapaxes(2, 3), around)
    # Only the image's gradient gains.
    of_kernel = functools.partial(
        lax.conv_general_dilated, x, window_strides=(1, 1), padding=pads, dimension_numbers=CHANNELS_LAST
    )
    return dx, jax.linear_transpose(of_kernel, kernel)(dy)[0]


_packed.defvjp(lambda x, kernel, pads: (_packed(x, kernel, pads), (x, kernel)), _packed_backward)
