"""From the pixels of a face to what a network takes: the one function that training, evaluation, export, explanation
and serving share.
"""

from typing import Any

import numpy as np

from fer_jax.errors import UserError

# names that a config and a bundle say: (factor, offset), input = pixel * factor + offset for a pixel in 0..255
SCALINGS = {
    "signed": (1 / 127.5, -1.0),
    "unit": (1 / 255, 0.0),
}


def factor_and_offset(name: str) -> tuple[float, float]:
    """The pair of a scaling by its name; UserError for a name there is not."""
    if name not in SCALINGS:
        raise UserError(f"config.input.scaling is {name!r}: expected one of {', '.join(SCALINGS)}")
    return SCALINGS[name]


def central_crop(images: Any, size: int) -> Any:
    """The central squares, (N, size, size, C) of any array (N, H, W, C); `size` 0 is the whole image."""
    if not size:
        return images
    height, width = images.shape[1:3]
    if size > min(height, width):
        raise ValueError(f"a crop of {size} pixels does not fit into images of {height} x {width}")
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, top : top + size, left : left + size]


def network_input(images: Any, scaling: str, crop: int = 0, constant_rank: int = 0) -> Any:
    """Turn pixels into a network's input, for those that are fitted to its size already.

    Args:
      images: (N, H, W, C) pixels in 0..255, of NumPy or JAX; of floating point where they were augmented.
      scaling: a key of `SCALINGS`.
      crop: side in pixels of the central square that the network sees; 0 is the whole image.
      constant_rank: of the scaling's two constants, 0 for scalars. An exported graph takes the images' rank: a scalar
        over a last axis of 1 costs ONNX Runtime a fifth of mini-Xception's whole time.

    Returns:
      (N, crop or H, crop or W, C) in the range of the scaling; float32, or the images' own floating-point type.

    Raises:
      UserError: a scaling that does not exist.
      ValueError: a crop larger than the images.
    """
    dtype = images.dtype if np.issubdtype(images.dtype, np.floating) else np.float32
    shape = (1,) * constant_rank
    factor, offset = (np.full(shape, value, dtype) for value in factor_and_offset(scaling))
    return central_crop(images, crop).astype(dtype) * factor + offset
