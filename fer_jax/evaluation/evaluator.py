"""Logits of every example of a split, each counted exactly once, and of several views of each, averaged."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fer_jax.distributed import parallel
from fer_jax.distributed.parallel import AXIS, Parallel
from fer_jax.preprocess import scaling

FORWARD_BATCHES = 4  # training batches in one of evaluation, which keeps no activations for a gradient
MAX_BATCHES = 16  # of one dispatch
MAX_DISPATCH_BYTES = 64 << 20  # of the images of one dispatch that has several batches
MAX_PLACED_BYTES = 256 << 20  # of the images of a split that stay on the devices
IN_FLIGHT = 2  # dispatches of images that do not
IN_WORDS = {"flip": "with mirror images", "ten_crop": "by ten crops"}
VIEWS = tuple(IN_WORDS)
SHIFT = 1 / 12  # of the side: how far the corner crops lie from the center where the network sees the whole image
Tree = Any
Placed = Callable[[], Iterable[jax.Array]]  # gives the dispatches of a split, as often as it is called


class Evaluator:
    """Predicts whole splits in dispatches of one shape, so that it compiles once in a run."""

    def __init__(self, model: nn.Module, config: ConfigDict, examples: int, devices: list[jax.Device] | None = None):  # pyright: ignore[reportInvalidTypeForm]
        """`examples` is the size of the split that is evaluated most often: the shape is fitted to it."""
        devices = parallel.devices_for(config.batch_size) if devices is None else devices  # where the weights are
        count = len(devices)
        self._batch = -(-min(FORWARD_BATCHES * config.batch_size, max(examples, 1)) // count) * count
        size = self._batch * config.input.size**2 * config.input.channels
        self._batches = max(1, min(MAX_BATCHES, MAX_DISPATCH_BYTES // size, -(-examples // self._batch)))
        self._parallel = Parallel(config.parallel.api, self._batch, devices)
        self._predict: Callable = self._parallel.compile(make_predict(model, config), replicated=1)

    def place(self, images: np.ndarray) -> Placed:
        """Uint8 images (N, H, W, C) on the devices, padded with black ones to whole dispatches; N is at least 1.

        Those of a large split are only placed when they are evaluated, each time, a few dispatches ahead.
        """
        if images.nbytes > MAX_PLACED_BYTES:
            return lambda: self._placed(images)
        kept = list(self._placed(images))
        return lambda: kept

    def _placed(self, images: np.ndarray) -> Iterator[jax.Array]:
        size = self._batch * self._batches
        for start in range(0, len(images), size):
            part = images[start : start + size]
            part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
            part = part.reshape(self._batches, self._batch, *part.shape[1:])
            yield self._parallel.split(part[:, self._parallel.shard], axis=1)

    def logits(self, variables: Tree, images: np.ndarray | Placed, examples: int | None = None) -> np.ndarray:
        """float32 (N, classes) logits, in the order of the images.

        Args:
          images: uint8 (N, H, W, C), or what `place` made of them, and then `examples` is N.
        """
        if not callable(images):
            images, examples = self.place(images), len(images)
        dispatched, parts = [], []
        for part in (placed := images()):
            dispatched.append(self._predict(variables, part))
            if len(dispatched) > IN_FLIGHT and not isinstance(placed, list):
                parts.append(jax.device_get(dispatched.pop(0)))
        parts += jax.device_get(dispatched)
        # (devices, batches, b, classes): a batch is divided over the devices, so batches come before devices.
        return np.concatenate([x.swapaxes(0, 1).reshape(-1, x.shape[-1]) for x in parts])[:examples]


def make_predict(model: nn.Module, config: ConfigDict) -> Callable:
    """`predict(variables, images) -> logits`: per-device function over several batches of uint8 images.

    `images` is uint8 (batches, b, H, W, C) of this device; the result is float32 (devices, batches, b, classes), the
    same on every device.
    """

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        def batch(_: None, x: jax.Array) -> tuple[None, Any]:
            pixels = scaling.network_input(x, config.input.scaling, config.input.crop)
            return None, model.apply(variables, pixels, False)

        return lax.all_gather(lax.scan(batch, None, images)[1], AXIS)

    return predict


def views(name: str, images: np.ndarray, crop: int) -> list[np.ndarray]:
    """The views of uint8 images (N, H, W, C) for test-time augmentation.

    A figure with views is reported beside the plain one, never instead of it.

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
    return np.mean([predict(np.ascontiguousarray(shown)) for shown in views(view, images, crop)], axis=0)
