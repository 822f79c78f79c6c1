"""Feeds of the compiled step, by `config.data.pipeline`: the resident set, or batches that tf.data prefetches.

Both give the same batches bit for bit.
"""

import contextlib
import importlib.util
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from fer_jax.data import lazy, sampler
from fer_jax.data.examples import Examples

RESIDENT_SHARE_OF_MEMORY = 0.25  # of a device's memory, that the set may take when "auto" decides
PREFETCHED_CHUNKS = 2
LARGE_CHUNK = 64 << 20  # bytes above which only one chunk is prefetched


class DevicePipeline:
    """The resident pipeline: the set lives on the device as uint8, only indices travel (4 bytes an example).

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
        """Uint8 images (b, H, W, C) and float32 targets (b, classes) of one step's feed, inside the compiled step."""
        rows = feed["indices"]
        return (
            jnp.take(resident["images"], rows, axis=0, mode="clip"),
            jnp.take(resident["targets"], rows, axis=0, mode="clip"),
        )


class TfPipeline:
    """The streaming pipeline: threads of the host gather uint8 batches, which tf.data prefetches.

    Of a mapped set (see `fer_jax.data.cache`) the disk is read where a batch needs it. TensorFlow never sees a GPU.

    Attributes:
      resident: empty, nothing lives on the device.
    """

    resident: Mapping[str, np.ndarray] = {}

    def __init__(self, examples: Examples, order: sampler.Order, batch_size: int, shard: slice):
        """`shard` is this host's part of the global batch: only its rows are read."""
        self._images, self._targets = examples.images, examples.targets()
        self._order, self._batch_size, self._shard = order, batch_size, shard
        if importlib.util.find_spec("tensorflow") is None:
            _tensorflow()  # raises

    def feeds(self, step: int, steps: int, chunks: int) -> Iterator[dict[str, np.ndarray]]:
        """One feed a chunk of `steps` steps, from `step` on.

        "images" uint8 (steps, host's batch, H, W, C) and "targets" float32 (steps, host's batch, classes).

        TensorFlow takes seconds to import. The import begins when the first feed is taken; until it is done the same
        threads gather the same chunks without it, so that the first step does not wait.
        """
        images, targets = self._images, self._targets
        threads = lazy.threads()
        pool = futures.ThreadPoolExecutor(threads, "gather")

        def rows(chunk: np.int64) -> np.ndarray:
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
        """Uint8 images (b, H, W, C) and float32 targets (b, classes) of one step's feed, inside the compiled step."""
        return feed["images"], feed["targets"]


PIPELINES = {"tf": TfPipeline, "device": DevicePipeline}


def create(
    name: str, examples: Examples, seed: int, batch_size: int, shard: slice, sampling: str = "uniform"
) -> DevicePipeline | TfPipeline:
    """The pipeline `name` over `examples`: "tf" streams, "device" is resident, "auto" chooses and says which.

    "auto" is resident on an accelerator whose memory holds the set, else tf.data. `shard` is this host's part of the
    global batch, `sampling` is that of `sampler.Order`.
    """
    if name == "auto":
        device = jax.local_devices()[0]
        memory = (device.memory_stats() or {}).get("bytes_limit", 0) if device.platform != "cpu" else 0
        fits = examples.images.nbytes <= RESIDENT_SHARE_OF_MEMORY * memory
        name = "device" if fits else "tf"
        sizes = (examples.images.nbytes / 1e6, device.platform, memory / 1e6)
        logging.info("data pipeline: %s (the set has %.0f MB, %s %.0f MB of memory)", name, *sizes)
    return PIPELINES[name](examples, sampler.Order(seed, examples.labels, sampling), batch_size, shard)


_import_lock = threading.Lock()


def _tensorflow() -> ModuleType:
    """TensorFlow without Keras, which brings scikit-learn and Matplotlib along: a third of the seconds it takes.

    It imports the Keras that the variable names, and does without where that is not installed; the variable is
    restored.
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
