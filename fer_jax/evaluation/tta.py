"""Test-time augmentation: several views of every face, whose logits are averaged.

A figure with views is reported beside the plain one, never instead of it.
"""

from collections.abc import Callable

import numpy as np

IN_WORDS = {"flip": "with mirror images", "ten_crop": "by ten crops"}
VIEWS = tuple(IN_WORDS)
SHIFT = 1 / 12  # of the side: how far the corner crops lie from the center where the network sees the whole image


def of(name: str, images: np.ndarray, crop: int) -> list[np.ndarray]:
    """The views of uint8 images (N, H, W, C).

    "flip" is the images and their mirror images; "ten_crop" is the four corners and the center, each with its mirror
    image (Krizhevsky et al. 2012).

    Args:
      crop: side in pixels of the squares the network sees, `config.input.crop`. With 0 it sees whole images: then the
        corner crops are the images shifted by `SHIFT` of their side, completed at the edge.
    """
    if name == "flip":
        return [images, images[:, :, ::-1]]
    if not crop:
        crop, margin = images.shape[1], round(images.shape[1] * SHIFT)
        images = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    last = images.shape[1] - crop
    center = last // 2
    squares = [
        images[:, y : y + crop, x : x + crop] for y, x in ((center, center), (0, 0), (0, last), (last, 0), (last, last))
    ]
    return [view for square in squares for view in (square, square[:, :, ::-1])]


def mean_logits(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, view: str, crop: int) -> np.ndarray:
    """float32 (N, classes): `predict` averaged over the views of N examples; of the view "" it is `predict(images)`."""
    if not view:
        return predict(images)
    return np.mean([predict(np.ascontiguousarray(shown)) for shown in of(view, images, crop)], axis=0)
