"""Random changes to training images, in JAX inside the compiled step, drawn from each example's own key.

Since every decision about an example comes from its key alone (and, for mixing, from the neighbor it is mixed with),
the images do not depend on how the batch is spread over devices. A transform whose config value is 0 is not traced.

The order is geometry (one resampling), brightness and contrast, the faults of cameras (`fer_jax.data.camera`), erasing,
then mixup.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from ml_collections import ConfigDict

from fer_jax import ops
from fer_jax.data import camera
from fer_jax.preprocess import scaling

WHITE = 255.0
Warp = Callable[..., jax.Array]  # called as `warp`
Crop = Callable[[jax.Array, int, jax.Array], jax.Array]  # called as `slices_at`
CAMERA_KEY = 3
ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # share of the image, and height over width (Zhong et al., 2017)
PURPOSES = ("augment", "crop", "dropout")  # of a step's random numbers


class Draws(NamedTuple):
    """Uniform float32 numbers in [0, 1), one column (N,) for each decision about an example."""

    flip: jax.Array
    rotation: jax.Array
    shift_y: jax.Array
    shift_x: jax.Array
    zoom_y: jax.Array
    zoom_x: jax.Array
    reserved_y: jax.Array  # unused: without these two columns every seed would draw other brightnesses
    reserved_x: jax.Array
    brightness: jax.Array
    contrast: jax.Array
    erase: jax.Array
    erase_area: jax.Array
    erase_aspect: jax.Array
    erase_y: jax.Array
    erase_x: jax.Array


def augment(
    config: ConfigDict,
    images: jax.Array,
    targets: jax.Array,
    keys: jax.Array,
    no_warp: bool | jax.Array = False,
    resample: Warp | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Images and targets as the network is trained on them, before scaling.

    Args:
      config: `config.augment`, static under `jit`.
      images: uint8 (N, H, W, C) in 0..255.
      targets: float32 (N, classes), every row a distribution.
      keys: typed PRNG keys (N,), one an example.
      no_warp: bool (), True for images without rotation, shift and zoom: nothing is interpolated.
      resample: the platform's, see `warp_of`; None is `warp`.

    Returns:
      float32 images (N, H, W, C) in 0..255 and float32 targets (N, classes).

    Raises:
      ValueError: mixup with an odd N, since neighbors are mixed with each other.
    """
    # Folded in beside the split, so that the other draws of a seed are those without it.
    camera_keys = jax.vmap(lambda key: jax.random.fold_in(key, CAMERA_KEY))(keys) if config.camera else keys
    keys, noise_keys, mix_keys = jax.vmap(lambda key: jax.random.split(key, 3), out_axes=1)(keys)
    draws = Draws(*jax.vmap(lambda key: jax.random.uniform(key, (len(Draws._fields),), jnp.float32), out_axes=1)(keys))
    images = _moved(config, images, draws, no_warp, resample or warp)
    if config.brightness or config.contrast:
        images = adjust(
            images,
            WHITE * _symmetric(draws.brightness, config.brightness),
            1 + _symmetric(draws.contrast, config.contrast),
        )
    if config.camera:
        images = camera.degrade(images, config.camera, camera_keys)
    if config.erase:
        size = images.shape[1], images.shape[2]
        boxes = erase_boxes(size, draws)
        noise = jax.vmap(lambda key: jax.random.bits(key, images.shape[1:], jnp.uint8))(noise_keys)
        erased = box_masks(boxes, size) & _per_image(draws.erase < config.erase)
        images = jnp.where(erased, noise.astype(jnp.float32), images)
    if config.mixup:
        images, targets = mix(images, targets, mix_shares(config.mixup, draws.flip, mix_keys))
    return images, targets


def _moved(config: ConfigDict, images: jax.Array, draws: Draws, no_warp: bool | jax.Array, resample: Warp) -> jax.Array:
    """The geometry: one resampling, or a flip alone where nothing else is asked for."""
    if not (config.rotation or config.shift or config.zoom):
        images = images.astype(jnp.float32)
        return jnp.where(_per_image(draws.flip < config.flip), images[:, :, ::-1], images) if config.flip else images
    height, width = images.shape[1:3]
    # At whole pixels the interpolation gives the pixels themselves, bit by bit.
    rotation, shift, zoom = (jnp.where(no_warp, 0.0, limit) for limit in (config.rotation, config.shift, config.zoom))
    matrices = affine_matrices(
        (height, width),
        flip=draws.flip < config.flip,
        degrees=_symmetric(draws.rotation, rotation),
        shift_y=height * _symmetric(draws.shift_y, shift),
        shift_x=width * _symmetric(draws.shift_x, shift),
        zoom_y=1 + _symmetric(draws.zoom_y, zoom),
        zoom_x=1 + _symmetric(draws.zoom_x, zoom),
    )
    images = resample(images, matrices, config.interpolation)
    return jnp.clip(images, 0.0, WHITE) if config.interpolation == "bicubic" else images


def training_inputs(
    config: ConfigDict,
    images: jax.Array,
    targets: jax.Array,
    step: jax.Array,
    positions: jax.Array,
    no_warp: bool | jax.Array = False,
    resample: Warp | None = None,
    crop_at: Crop | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Inputs of the network in a training step: augmented, cropped at random and scaled.

    Args:
      config: the whole config, static under `jit`.
      images: uint8 (N, H, W, C), the examples of the batch at `positions`.
      targets: float32 (N, classes).
      step: int scalar, the number of the step.
      positions: int (N,), in the global batch: the keys come from seed, step and position, so that the inputs are the
        same whatever the number of devices.
      no_warp: bool scalar, whether the step is in the `config.augment.no_warp_fraction` at the end, see `augment`.
      resample: as in `augment`.
      crop_at: the platform's, see `crop_of`; None is `slices_at`.

    Returns:
      float32 inputs (N, h, w, C) in the range of the scaling, and float32 targets (N, classes).
    """

    def keys_of(key: jax.Array) -> jax.Array:
        return jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)

    seed = config.seed
    images, targets = augment(
        config.augment, images, targets, keys_of(step_key(seed, step, "augment")), no_warp, resample
    )
    if config.input.crop:
        images = random_crop(images, config.input.crop, keys_of(step_key(seed, step, "crop")), crop_at)
    return scaling.network_input(images, config.input.scaling), targets


def step_key(seed: int, step: jax.Array, purpose: str) -> jax.Array:
    """The typed PRNG key of step `step` of the run with this seed, for one of `PURPOSES`."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), len(PURPOSES))
    return keys[PURPOSES.index(purpose)]


def affine_matrices(
    size: tuple[int, int],
    *,
    flip: jax.Array,
    degrees: jax.Array,
    shift_y: jax.Array,
    shift_x: jax.Array,
    zoom_y: jax.Array,
    zoom_x: jax.Array,
) -> jax.Array:
    """float32 (N, 2, 3): from (x, y, 1) of an output pixel to (x, y) of the input pixel, about the image's center.

    The convention of Keras' ImageDataGenerator: the matrices take output to input, so a zoom above 1 makes the face
    smaller, each axis has its own, and a shift of +1 moves the content one pixel up or left. Applied to an output
    coordinate are, in this order, zoom, shift, rotation; the mirror comes last, on the input's side.

    Args:
      size: height and width in pixels; pixel centers lie at whole numbers, the center at (size - 1) / 2.
      flip: bool (N,), mirror left and right.
      degrees: float32 (N,), positive turns the content counter-clockwise on the screen.
      shift_y, shift_x: float32 (N,), in pixels.
      zoom_y, zoom_x: float32 (N,), factors.
    """
    center_y, center_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    radians = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    mirror = jnp.where(flip, -1.0, 1.0)
    # x_in = center + mirror * (cos * u - sin * v), y_in = center + sin * u + cos * v,
    # with u = zoom_x * (x - center) + shift_x and v = zoom_y * (y - center) + shift_y
    to_x = mirror * cos * zoom_x, -mirror * sin * zoom_y, mirror * (cos * shift_x - sin * shift_y)
    to_y = sin * zoom_x, cos * zoom_y, sin * shift_x + cos * shift_y
    rows = [
        jnp.stack([a, b, center + c - a * center_x - b * center_y], -1)
        for (a, b, c), center in ((to_x, center_x), (to_y, center_y))
    ]
    return jnp.stack(rows, axis=1)


def warp(images: jax.Array, matrices: jax.Array, interpolation: str = "bilinear") -> jax.Array:
    """Resample; what lies outside the image takes its nearest edge pixel.

    As `cv2.warpAffine(image, matrix, flags=INTER_LINEAR | WARP_INVERSE_MAP, borderMode=BORDER_REPLICATE)`, or with
    INTER_CUBIC, without OpenCV's rounding of coordinates to 1/32 of a pixel. At whole pixels both give the pixels
    themselves, bit by bit; between them bicubic keeps more of what is fine, and may go beyond the darkest and the
    brightest pixel.

    Args:
      images: (N, H, W, C) of any real dtype.
      matrices: float32 (N, 2, 3), see `affine_matrices`.
      interpolation: "bilinear" or "bicubic".

    Returns:
      float32 (N, H, W, C).
    """
    y, x = jnp.mgrid[: images.shape[1], : images.shape[2]].astype(jnp.float32)
    pixels_at = {"bilinear": _bilinear, "bicubic": _bicubic}[interpolation]

    def sample(pixels: jax.Array, matrix: jax.Array) -> jax.Array:
        at_x, at_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
        return pixels_at(pixels, at_y, at_x)

    every_channel = jax.vmap(sample, in_axes=(-1, None), out_axes=-1)
    return jax.vmap(every_channel)(images.astype(jnp.float32), matrices)


def warp_of(platform: str | None = None, dtype: Any = None) -> Warp:
    """The fastest of the functions that do what `warp` does, on this platform (see `fer_jax.ops`).

    TPUs have no fast way to read single pixels, and multiply matrices instead; the caches of CPUs and GPUs do.

    Args:
      dtype: of the network's computation: in bfloat16 the products are too, see `warp_by_products`.
    """
    if ops.implementation("auto", platform) != "tpu":
        return warp
    return functools.partial(warp_by_products, dtype=dtype)


def warp_by_products(
    images: jax.Array, matrices: jax.Array, interpolation: str = "bilinear", dtype: Any = None
) -> jax.Array:
    """`warp` without reading single pixels: one matrix product an image, and a weighted sum over its rows.

    Along a row the interpolated value is a sum of the differences between neighbors, the first from 0, each times how
    much of it lies before the place: a matrix product of the differences with these weights. Of the rows of the result
    each output pixel takes the two or four that are near it.

    Args:
      images, matrices, interpolation: as in `warp`.
      dtype: of the product's factors. In bfloat16 the differences of uint8 images are exact and their weights have 8
        bits: the result is off by at most 1/512 of the difference between neighboring pixels, bilinear, and by about
        as much bicubic. None is float32 and equal to `warp` but for rounding; as are images other than uint8.

    Returns:
      float32 (N, H, W, C); at whole pixels the pixels themselves, bit by bit.
    """
    count, height, width, channels = images.shape
    exact = dtype is None or images.dtype != jnp.uint8
    wide = jnp.promote_types(images.dtype, jnp.float32)
    # Half the bytes where both are exact: XLA makes all but the first conversion a part of the product.
    pixels = jnp.moveaxis(images.astype(wide if exact else dtype), 3, 1).reshape(count, channels * height, width)
    y, x = jnp.divmod(jnp.arange(height * width), width)
    at_x, at_y = (
        matrices[:, axis, :1] * x + matrices[:, axis, 1:2] * y + matrices[:, axis, 2:] for axis in (0, 1)
    )  # (N, places)
    differences, before = jnp.diff(pixels.astype(wide), prepend=0), _shares_before(at_x, width, interpolation)
    if not exact:
        differences, before = (factor.astype(dtype).astype(wide) for factor in (differences, before))
    along_rows = jnp.einsum("nrq,nqs->nrs", differences, before, precision="highest" if exact else "default")
    along_rows = along_rows.reshape(count, channels, height, height * width)
    warped = (along_rows * _shares_of(at_y, height, interpolation)[:, None]).sum(2)
    return jnp.moveaxis(warped, 1, 2).reshape(images.shape)


def _shares_before(at: jax.Array, size: int, interpolation: str) -> jax.Array:
    """(N, size, places): how much of the step to each pixel lies before each place (N, places); all of the first."""
    pixel = jnp.arange(-1, size - 1)[:, None]
    if interpolation == "bilinear":
        return jnp.clip(jnp.maximum(at, 0)[:, None] - pixel.astype(at.dtype), 0, 1)
    return sum(jnp.where(index[:, None] > pixel, weight[:, None], 0) for index, weight in _taps(at, size))  # pyright: ignore[reportReturnType]


def _shares_of(at: jax.Array, size: int, interpolation: str) -> jax.Array:
    """(N, size, places): the weight of each pixel of a line at each place (N, places)."""
    pixel = jnp.arange(size)[:, None]
    if interpolation == "bilinear":
        return jnp.maximum(0, 1 - jnp.abs(jnp.clip(at, 0, size - 1)[:, None] - pixel.astype(at.dtype)))
    return sum(jnp.where(index[:, None] == pixel, weight[:, None], 0) for index, weight in _taps(at, size))  # pyright: ignore[reportReturnType]


def _bilinear(pixels: jax.Array, at_y: jax.Array, at_x: jax.Array) -> jax.Array:
    return map_coordinates(pixels, [at_y, at_x], order=1, mode="nearest")


def _bicubic(pixels: jax.Array, at_y: jax.Array, at_x: jax.Array) -> jax.Array:
    rows, columns = _taps(at_y, pixels.shape[0]), _taps(at_x, pixels.shape[1])
    return sum(by_y * sum(by_x * pixels[row, column] for column, by_x in columns) for row, by_y in rows)  # pyright: ignore[reportReturnType]


def _taps(at: jax.Array, size: int) -> list[tuple[jax.Array, jax.Array]]:
    """The four pixels along one axis that a place between them is made of, and their weights."""
    before = jnp.floor(at)
    return [
        (jnp.clip(before.astype(jnp.int32) + i, 0, size - 1), weight)
        for i, weight in enumerate(_cubic_weights(at - before), -1)
    ]


def _cubic_weights(t: jax.Array) -> tuple[jax.Array, ...]:
    """Cubic convolution of Keys (1981) at distances 1 + t, t, 1 - t and 2 - t, with OpenCV's slope."""
    a = -0.75

    def near(d: jax.Array) -> jax.Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: jax.Array) -> jax.Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return far(1 + t), near(t), near(1 - t), far(2 - t)


def adjust(images: jax.Array, brightness: jax.Array, contrast: jax.Array) -> jax.Array:
    """Contrast by a factor (N,) about each image's mean, then `brightness` (N,) added, clipped to 0..255."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return jnp.clip((images - mean) * _per_image(contrast) + mean + _per_image(brightness), 0, WHITE)


def erase_boxes(size: tuple[int, int], draws: Draws) -> jax.Array:
    """int32 (N, 4): top, left, height, width of the rectangles of random erasing, always inside the image.

    Zhong et al., "Random Erasing Data Augmentation" (2017): a uniform share of the area, an aspect ratio (height over
    width), any place. The paper draws again until the rectangle fits; here the aspect, log-uniform, is drawn from
    those that fit, and a share above 1 / aspect loses nothing but its longest shapes.
    """
    (height, width), area, aspect = size, ERASED_AREA, ERASED_ASPECT
    pixels = height * width * (area[0] + (area[1] - area[0]) * draws.erase_area)
    lowest = jnp.log(jnp.maximum(aspect[0], pixels / width**2))
    highest = jnp.log(jnp.minimum(aspect[1], height**2 / pixels))
    ratio = jnp.exp(lowest + (highest - lowest) * draws.erase_aspect)
    tall = jnp.clip(jnp.round(jnp.sqrt(pixels * ratio)), 1, height)
    wide = jnp.clip(jnp.round(jnp.sqrt(pixels / ratio)), 1, width)
    top = jnp.floor(draws.erase_y * (height - tall + 1))
    left = jnp.floor(draws.erase_x * (width - wide + 1))
    return jnp.stack([top, left, tall, wide], axis=1).astype(jnp.int32)


def box_masks(boxes: jax.Array, size: tuple[int, int]) -> jax.Array:
    """bool (N, H, W, 1), true inside the boxes int32 (N, 4) of top, left, height, width; they may reach outside."""
    top, left, tall, wide = boxes.T[:, :, None]
    rows, columns = jnp.arange(size[0]), jnp.arange(size[1])
    inside_rows = (rows >= top) & (rows < top + tall)
    inside_columns = (columns >= left) & (columns < left + wide)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[..., None]


def mix_shares(concentration: float, uniform: jax.Array, keys: jax.Array) -> jax.Array:
    """Share of an image that is its partner's: float32 (N, 1, 1, 1) in 0..1, by keys (N,) as in `augment`.

    `uniform` (N,) is any draw in 0..1.

    Drawn from Beta(concentration, concentration): Zhang et al., "mixup" (2017).
    """
    # Never the 0, but no constant: what the compiler folds is rounded otherwise, and a seed would give other images.
    each = jnp.where(uniform < 0, 0.0, concentration).astype(jnp.float32)
    return _per_image(jax.vmap(lambda key, a: jax.random.beta(key, a, a, dtype=jnp.float32))(keys, each))


def mix(images: jax.Array, targets: jax.Array, share: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mix each example with its neighbor: 0 with 1, 2 with 3, and so on.

    Args:
      images: float32 (N, H, W, C), N even.
      targets: float32 (N, classes).
      share: float32 (N, 1, 1, 1), how much of the result is the neighbor's.
    """
    if len(images) % 2:
        raise ValueError(f"mixup mixes neighbors: the batch of a device must be even, got {len(images)}")
    partner_images, partner_targets = (
        value.reshape(-1, 2, *value.shape[1:])[:, ::-1].reshape(value.shape) for value in (images, targets)
    )
    return images + share * (partner_images - images), targets + share[:, :, 0, 0] * (partner_targets - targets)


def random_crop(images: jax.Array, size: int, keys: jax.Array, crop_at: Crop | None = None) -> jax.Array:
    """Squares of `size` pixels, (N, size, size, C), at uniform places of (N, H, W, C), by typed PRNG keys (N,)."""
    limits = jnp.array([images.shape[1] - size + 1, images.shape[2] - size + 1])
    corners = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, limits))(keys)
    return (crop_at or slices_at)(images, size, corners)


def crop_of(platform: str | None = None) -> Crop:
    """`slices_at` or what gives the same on this platform, faster."""
    return selected_at if ops.implementation("auto", platform) == "tpu" else slices_at


def slices_at(images: jax.Array, size: int, corners: jax.Array) -> jax.Array:
    """The squares of `size` pixels whose top left pixels are `corners`, int (N, 2) of row and column."""

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (size, size, image.shape[2]))

    return jax.vmap(crop)(images, corners)


def selected_at(images: jax.Array, size: int, corners: jax.Array) -> jax.Array:
    """The squares of `slices_at`: of the crops at every row, then at every column, each image keeps its own.

    XLA's TPU backend makes a loop over the images of slices that begin at different places.
    """
    for axis in (1, 2):
        begin = corners[:, axis - 1][:, None, None, None]
        crops = [jax.lax.slice_in_dim(images, i, i + size, axis=axis) for i in range(images.shape[axis] - size + 1)]
        images = functools.reduce(
            lambda kept, i, crops=crops, begin=begin: jnp.where(begin == i, crops[i], kept),
            range(1, len(crops)),
            crops[0],
        )
    return images


def _symmetric(uniform: jax.Array, limit: jax.Array | float) -> jax.Array:
    return (2 * uniform - 1) * limit


def _per_image(values: jax.Array) -> jax.Array:
    return values[:, None, None, None]
