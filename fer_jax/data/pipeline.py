"""Which pipeline feeds the step, by `config.data.pipeline`."""

from __future__ import annotations

import jax
import numpy as np
from absl import logging

from fer_jax.data import sampler
from fer_jax.data.device_pipeline import DevicePipeline
from fer_jax.data.examples import Examples
from fer_jax.data.tf_pipeline import TfPipeline
from fer_jax.errors import UserError

# Of a block of a shuffle buffer: a spinning disk reads it in about the time that it takes to find its place.
BLOCK_BYTES = 1 << 20
PIPELINES = {"tf": TfPipeline, "device": DevicePipeline}
RESIDENT_SHARE_OF_MEMORY = 0.25  # of a device's memory, that the set may take when "auto" decides


def create(
    name: str,
    examples: Examples,
    seed: int,
    batch_size: int,
    shard: slice,
    sampling: str = "uniform",
    buffer: int = 0,
) -> DevicePipeline | TfPipeline:
    """The pipeline `name` over `examples`: "tf" streams, "device" is resident, "auto" chooses and says which.

    "auto" is resident on an accelerator whose memory holds the set, else tf.data. `shard` is this host's part of the
    global batch, `sampling` and `buffer` are those of `sampler.Order`. Both give bit-identical batches. UserError for
    another name.
    """
    if name == "auto":
        device = jax.local_devices()[0]
        memory = (device.memory_stats() or {}).get("bytes_limit", 0) if device.platform != "cpu" else 0
        fits = examples.images.nbytes <= RESIDENT_SHARE_OF_MEMORY * memory
        name = "device" if fits else "tf"
        logging.info(
            "data pipeline: %s (the set has %.0f MB, %s %.0f MB of memory)",
            name,
            examples.images.nbytes / 1e6,
            device.platform,
            memory / 1e6,
        )
    if name not in PIPELINES:
        raise UserError(f"config.data.pipeline is {name!r}: expected {', '.join(PIPELINES)} or auto")
    order = sampler.Order(seed, examples.labels, sampling, buffer, block_of(examples.images.shape))
    return PIPELINES[name](examples, order, batch_size, shard)


def block_of(shape: tuple[int, ...]) -> int:
    """How many neighbours of images of `shape`, (N, H, W, C), come into a shuffle buffer together."""
    return max(1, BLOCK_BYTES // int(np.prod(shape[1:])))
