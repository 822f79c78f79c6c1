"""Image files and arrays of any kind brought to the one shape a network takes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fer_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict  # a laptop that serves a bundle need not have it

# "area" averages the pixels it merges when it shrinks an image, and is the choice that does not alias
INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


def visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """The entries of a folder by name, without hidden ones: `.DS_Store` and its like are no images."""
    return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)


def read(path: pathlib.Path) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3), whatever its format, depth or channels.

    16 bits become 8 by their high byte, an alpha channel is dropped, grey is repeated, EXIF orientation is applied.
    Raises UserError, naming the file, for one that is no image or cannot be decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected an image: move or remove it") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise UserError(f"{path}: not an image that OpenCV can read ({data.size} bytes): repair or remove the file")
    return image


def fit(image: np.ndarray, input: ConfigDict) -> np.ndarray:
    """Bring a uint8 image (H, W), (H, W, 1) or (H, W, 3) RGB to (input.size, input.size, input.channels) uint8.

    Colour becomes grey by ITU-R BT.601 luma, grey becomes three equal channels; a size that differs is resampled by
    `input.resize`, both sides to the same length whatever the aspect ratio.
    """
    if input.resize not in INTERPOLATIONS:
        raise UserError(f"config.input.resize is {input.resize!r}: expected one of {', '.join(INTERPOLATIONS)}")
    if image.ndim == 3 and image.shape[-1] == 3 and input.channels == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if image.shape[:2] != (input.size, input.size):
        image = cv2.resize(image, (input.size, input.size), interpolation=INTERPOLATIONS[input.resize])
    image = image.reshape(input.size, input.size, -1)
    return np.repeat(image, input.channels, axis=-1) if image.shape[-1] == 1 else image


def fit_all(images: Iterable[np.ndarray], count: int, input: ConfigDict) -> np.ndarray:
    """Fit `count` images one after the other: uint8 (count, input.size, input.size, input.channels)."""
    fitted = np.empty((count, input.size, input.size, input.channels), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        row[...] = fit(image, input)
    return fitted
