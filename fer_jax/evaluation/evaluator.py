"""Logits of every example of a split, each counted exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fer_jax.distributed.parallel import AXIS, Parallel
from fer_jax.preprocess import crop

MAX_BATCHES = 16  # of one dispatch
Tree = Any


class Evaluator:
    """Predicts whole splits in dispatches of one shape, so that it compiles once in a run."""

    def __init__(self, model: nn.Module, config: ConfigDict, examples: int, devices: list[jax.Device] | None = None):
        """`examples` is the size of the split that is evaluated most often: the shape is fitted to it."""
        devices = jax.devices() if devices is None else devices
        count = len(devices)
        self._batch = -(-min(config.eval.batch_size, max(examples, 1)) // count) * count
        self._batches = min(MAX_BATCHES, max(1, -(-examples // self._batch)))
        self._parallel = Parallel(config.parallel.api, self._batch, devices)
        self._predict: Callable = self._parallel.compile(make_predict(model, config), replicated=1)

    def place(self, images: np.ndarray) -> list[jax.Array]:
        """Uint8 images (N, H, W, C) on the devices, padded with black ones to whole dispatches; N may be 0."""
        size = self._batch * self._batches
        placed = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
            part = part.reshape(self._batches, self._batch, *part.shape[1:])
            placed.append(self._parallel.split(part[:, self._parallel.shard], axis=1))
        return placed

    def logits(self, variables: Tree, images: np.ndarray | list[jax.Array], examples: int | None = None) -> np.ndarray:
        """float32 (N, classes) logits, in the order of the images.

        Args:
          images: uint8 (N, H, W, C), or what `place` made of them, and then `examples` is N.
        """
        if not isinstance(images, list):
            images, examples = self.place(images), len(images)
        dispatched = [self._predict(variables, part) for part in images]  # all before the first is read
        # (devices, batches, b, classes): a batch is divided over the devices, so batches come before devices.
        parts = [x.swapaxes(0, 1).reshape(-1, x.shape[-1]) for x in jax.device_get(dispatched)]
        return np.concatenate(parts)[:examples]


def make_predict(model: nn.Module, config: ConfigDict) -> Callable:
    """`predict(variables, images) -> logits`: per-device function over several batches of uint8 images.

    `images` is uint8 (batches, b, H, W, C) of this device; the result is float32 (devices, batches, b, classes), the
    same on every device.
    """

    def predict(variables: Tree, images: jax.Array) -> jax.Array:
        def batch(_: None, x: jax.Array) -> tuple[None, Any]:
            inputs = crop.network_input(x, config.input.scaling, config.input.crop)
            return None, model.apply(variables, inputs, False)

        return lax.all_gather(lax.scan(batch, None, images)[1], AXIS)

    return predict
