"""Which pipeline feeds the step, by `config.data.pipeline`."""

from __future__ import annotations

import jax
from absl import logging

from fer_jax.data.device_pipeline import DevicePipeline
from fer_jax.data.examples import Examples
from fer_jax.data.tf_pipeline import TfPipeline
from fer_jax.errors import UserError

PIPELINES = {"tf": TfPipeline, "device": DevicePipeline}
RESIDENT_SHARE_OF_MEMORY = 0.25  # of a device's memory, that the set may take when "auto" decides


def create(
    name: str, examples: Examples, seed: int, batch_size: int, shard: slice, sampling: str = "uniform"
) -> DevicePipeline | TfPipeline:
    """The pipeline `name` over `examples`: "tf" streams, "device" is resident, "auto" chooses and says which.

    "auto" is resident on an accelerator whose memory holds the set, else tf.data. `shard` is this host's part of the
    global batch, `sampling` one of `sampler.SAMPLINGS`. Both give bit-identical batches. UserError for another name.
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
    return PIPELINES[name](examples, seed, batch_size, shard, sampling)
