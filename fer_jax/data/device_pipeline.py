"""The resident pipeline: the whole set lives on the device as uint8, and only indices travel (4 bytes an example)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from fer_jax.data import sampler
from fer_jax.data.examples import Examples


class DevicePipeline:
    """Batches by gathering from device memory. Needs no TensorFlow.

    Attributes:
      resident: arrays to be replicated on every device: "images" uint8 (N, H, W, C), "targets" float32 (N, classes).
    """

    def __init__(self, examples: Examples, order: sampler.Order, batch_size: int, shard: slice):
        """`shard` is this host's part of the global batch."""
        self.resident: dict[str, np.ndarray] = {"images": np.asarray(examples.images), "targets": examples.targets()}
        self._order, self._batch_size, self._shard = order, batch_size, shard

    def feeds(self, step: int, steps: int, chunks: int) -> Iterator[dict[str, np.ndarray]]:
        """One feed a chunk of `steps` steps, from `step` on: "indices" int32 (steps, host's batch)."""
        for chunk in range(chunks):
            order = self._order.indices(step + chunk * steps, steps, self._batch_size)
            yield {"indices": order[:, self._shard]}

    def feed_shapes(self, steps: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of one feed of `steps` steps."""
        return {"indices": jax.ShapeDtypeStruct((steps, self._shard.stop - self._shard.start), np.int32)}

    @staticmethod
    def fetch(resident: Mapping[str, jax.Array], feed: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Inside the compiled step: uint8 images (b, H, W, C) and float32 targets (b, classes) of one step's feed."""
        rows = feed["indices"]
        return (
            jnp.take(resident["images"], rows, axis=0, mode="clip"),
            jnp.take(resident["targets"], rows, axis=0, mode="clip"),
        )
