"""Faults of cameras and of what stores their pictures, in JAX, each drawn from an example's own key.

FER2013 has sharp press and stock photographs. A webcam's faces differ: exposure and gamma vary, light comes from one
side, faces are small, out of focus or in motion, and the pixels went through a sensor and a JPEG encoder.

Blur and lost resolution are linear along each axis: a bank of square matrices holds them, and an image is multiplied by
one for its rows and one for its columns. So is the cosine transform of JPEG's 8x8 blocks.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

WHITE = 255.0
GAMMA = 2.0  # largest exponent; the smallest is its inverse
SIDE_LIGHT = 0.6  # largest change of brightness from the center to the edge, as a fraction
BLURS = (0.6, 0.9, 1.2, 1.6)  # standard deviations, fractions of 1/48 of the side
RESOLUTIONS = (0.35, 0.42, 0.5, 0.6, 0.75)  # fractions of the side
NOISE = 14.0  # largest standard deviation, of 255
COARSENESS = (0.8, 6.0)  # factors of JPEG's luminance table: qualities of about 60 to 8
BLOCK = 8  # pixels, the side of a block of JPEG
# The luminance table of JPEG's standard, ITU-T T.81 (1992), table K.1.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


def degrade(images: jax.Array, probability: float, keys: jax.Array) -> jax.Array:
    """Images as poor cameras give them: each fault with `probability`, independently of the others.

    Args:
      images: float32 (N, H, W, C) in 0..255.
      probability: of each of gamma, side light, blur or low resolution, noise and JPEG.
      keys: typed PRNG keys (N,).

    Returns:
      float32 (N, H, W, C) in 0..255.
    """
    return jax.vmap(functools.partial(_degrade_one, probability=probability))(images, keys)


def _degrade_one(image: jax.Array, key: jax.Array, probability: float) -> jax.Array:
    draw_key, noise_key = jax.random.split(key)
    happens, amount = jax.random.uniform(draw_key, (2, 8), jnp.float32)
    happens = happens < probability
    image = jnp.clip(image, 0, WHITE)
    gamma = jnp.where(happens[0], GAMMA ** (2 * amount[0] - 1), 1.0)
    image = WHITE * (image / WHITE) ** gamma
    image = image * jnp.where(happens[1], side_light(image.shape[:2], amount[1], amount[5]), 1.0)
    image = jnp.where(happens[2], soften(image, amount[2], amount[6], amount[7]), image)
    noise = jax.random.normal(noise_key, image.shape, jnp.float32)
    image = jnp.clip(image + jnp.where(happens[3], NOISE * amount[3], 0.0) * noise, 0, WHITE)
    coarseness = COARSENESS[0] * (COARSENESS[1] / COARSENESS[0]) ** amount[4]
    return jnp.clip(jnp.where(happens[4], through_jpeg(image, coarseness), image), 0, WHITE)


def side_light(size: tuple[int, ...], strength: jax.Array, direction: jax.Array) -> jax.Array:
    """float32 (H, W, 1): factors of brightness that rise linearly across the image, 1 at its center.

    `strength` in 0..1 is that of `SIDE_LIGHT`, `direction` in 0..1 a fraction of a turn.
    """
    y, x = (jnp.linspace(-1, 1, side) for side in size)
    angle = 2 * jnp.pi * direction
    ramp = jnp.cos(angle) * x[None, :] + jnp.sin(angle) * y[:, None]
    return (1 + SIDE_LIGHT * strength * ramp)[..., None]


def soften(image: jax.Array, kind: jax.Array, axes: jax.Array, axis: jax.Array) -> jax.Array:
    """Blur or lower the resolution of (H, W, C); `kind`, `axes` and `axis` are uniform in [0, 1).

    `kind` chooses the operator. In a quarter of the draws of `axes` it acts along one axis alone, as motion does.
    """
    operators = [_operators(side) for side in image.shape[:2]]
    chosen = jnp.floor(kind * len(operators[0])).astype(jnp.int32)
    rows, columns = (jnp.asarray(bank)[chosen] for bank in operators)
    one_axis = axes < 0.25
    rows = jnp.where(one_axis & (axis < 0.5), jnp.eye(len(rows)), rows)
    columns = jnp.where(one_axis & (axis >= 0.5), jnp.eye(len(columns)), columns)
    return jnp.einsum("ph,hwc,qw->pqc", rows, image, columns)


def through_jpeg(image: jax.Array, coarseness: jax.Array) -> jax.Array:
    """(H, W, C) in 0..255 as decoded from a JPEG whose luminance table is scaled by `coarseness`, for each channel."""
    height, width, _ = image.shape
    padding = [(0, -side % BLOCK) for side in (height, width)]
    padded = jnp.pad(image - 128, [*padding, (0, 0)], mode="edge")
    rows, columns = (jnp.asarray(_cosines(side)) for side in padded.shape[:2])
    blocks = tuple(side // BLOCK for side in padded.shape[:2])
    table = jnp.tile(jnp.maximum(jnp.round(LUMINANCE * coarseness), 1), blocks)[..., None]
    frequencies = jnp.round(jnp.einsum("ph,hwc,qw->pqc", rows, padded, columns) / table) * table
    return jnp.einsum("ph,pqc,qw->hwc", rows, frequencies, columns)[:height, :width] + 128


@functools.cache
def _operators(side: int) -> np.ndarray:
    """float32 (operators, side, side): Gaussian blurs, then reductions to a lower resolution and back."""
    pixels = np.arange(side)
    bank = []
    for deviation in BLURS:
        weights = np.exp(-0.5 * ((pixels[:, None] - pixels) / (deviation * side / 48)) ** 2)
        bank.append(weights / weights.sum(1, keepdims=True))
    for fraction in RESOLUTIONS:
        few = max(round(fraction * side), 1)
        edges = np.linspace(0, side, few + 1)
        # Means over few equal cells, cut through pixels where they must be, then linear interpolation of their centers.
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        means = np.maximum(overlap, 0) * few / side
        centers = (edges[1:] + edges[:-1]) / 2
        back = np.stack([np.interp(pixels + 0.5, centers, cell) for cell in np.eye(few)], axis=1)
        bank.append(back @ means)
    return np.asarray(bank, np.float32)


@functools.cache
def _cosines(side: int) -> np.ndarray:
    """float32 (side, side): the orthonormal cosine transform of every block of 8, `side` a multiple of 8."""
    frequency, pixel = np.mgrid[:BLOCK, :BLOCK]
    cosines = np.sqrt(2 / BLOCK) * np.cos(np.pi * (2 * pixel + 1) * frequency / (2 * BLOCK))
    cosines[0] /= np.sqrt(2)
    return np.kron(np.eye(side // BLOCK), cosines).astype(np.float32)
