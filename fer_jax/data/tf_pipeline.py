"""The streaming pipeline: the host's threads gather uint8 batches, which tf.data prefetches.

Every thread copies its own rows of a chunk, so that the order of reading decides nothing. Of a mapped set (see
`fer_jax.data.mapped`) the disk is read where a batch needs it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from types import ModuleType
from typing import Any

import jax
import numpy as np

from fer_jax.data import buffered, lazy, sampler
from fer_jax.data.examples import Examples

PREFETCHED_CHUNKS = 2
LARGE_CHUNK = 64 << 20  # bytes above which only one chunk is prefetched
_import_lock = threading.Lock()


class TfPipeline:
    """Batches gathered by tf.data, in exactly the order of the resident pipeline. TensorFlow never sees a GPU.

    Attributes:
      resident: empty, nothing lives on the device.
    """

    resident: Mapping[str, np.ndarray] = {}

    def __init__(self, examples: Examples, order: sampler.Order, batch_size: int, shard: slice):
        """`shard` is this host's part of the global batch: only its rows are read."""
        self._images, self._targets = examples.images, examples.targets()
        self._order, self._batch_size, self._shard = order, batch_size, shard
        if not order.buffer and importlib.util.find_spec("tensorflow") is None:
            _tensorflow()  # raises

    def feeds(self, step: int, steps: int, chunks: int) -> Iterator[dict[str, np.ndarray]]:
        """One feed a chunk of `steps` steps, from `step` on.

        "images" uint8 (steps, host's batch, H, W, C) and "targets" float32 (steps, host's batch, classes).

        TensorFlow takes seconds to import. That begins when the first feed is taken, and until it is there the same
        threads gather the same chunks without it: the first step does not wait.
        """
        if self._order.buffer:
            yield from buffered.feeds(
                self._images, self._targets, self._order, self._batch_size, self._shard, step, steps, chunks
            )
            return
        images, targets = self._images, self._targets
        threads = lazy.reading_threads()
        pool = futures.ThreadPoolExecutor(threads, "gather")

        def rows(chunk: np.ndarray) -> np.ndarray:
            return self._order.indices(step + int(chunk) * steps, steps, self._batch_size)[:, self._shard]

        def gather(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            gathered = np.empty((order.size, *images.shape[1:]), np.uint8)
            parts = zip(np.array_split(order.ravel(), threads), np.array_split(gathered, threads), strict=True)
            for _ in pool.map(lambda part: lazy.gather(images, *part), parts):
                pass
            return gathered.reshape(*order.shape, *images.shape[1:]), targets[order]

        importing = threading.Thread(target=_import_ahead, name="import of TensorFlow", daemon=True)
        for chunk in range(chunks):
            if chunk == 1:
                importing.start()
            elif chunk > 1 and not importing.is_alive():
                break
            x, y = gather(rows(np.int64(chunk)))
            yield {"images": x, "targets": y}
        else:
            return
        tf = _tensorflow()
        tf.config.set_visible_devices([], "GPU")

        def load(chunk: Any) -> dict[str, Any]:
            order = tf.numpy_function(rows, [chunk], tf.int32)
            x, y = tf.numpy_function(gather, [order], (tf.uint8, tf.float32))
            return {"images": x, "targets": y}

        prefetched = 1 if images[:1].nbytes * steps * self._batch_size > LARGE_CHUNK else PREFETCHED_CHUNKS
        stream = tf.data.Dataset.range(chunk, chunks).map(load, num_parallel_calls=1, deterministic=True)
        yield from stream.prefetch(prefetched).as_numpy_iterator()

    def feed_shapes(self, steps: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of one feed of `steps` steps."""
        batch = (steps, self._shard.stop - self._shard.start)
        return {
            "images": jax.ShapeDtypeStruct((*batch, *self._images.shape[1:]), np.uint8),
            "targets": jax.ShapeDtypeStruct((*batch, *self._targets.shape[1:]), np.float32),
        }

    @staticmethod
    def fetch(resident: Mapping[str, jax.Array], feed: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Inside the compiled step: uint8 images (b, H, W, C) and float32 targets (b, classes) of one step's feed."""
        return feed["images"], feed["targets"]


def _tensorflow() -> ModuleType:
    """TensorFlow without Keras, which brings scikit-learn and Matplotlib along: a third of the seconds it takes.

    It imports the Keras that the variable names, and does without where there is none; the variable is restored.
    """
    name = "TF_USE_LEGACY_KERAS"
    with _import_lock:
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            import tensorflow
        finally:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before
    return tensorflow


def _import_ahead() -> None:
    with contextlib.suppress(ImportError):  # raised again where TensorFlow is needed
        _tensorflow()
