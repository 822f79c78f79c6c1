"""The input pipelines alone: how many images a second they bring to where a training step takes them."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fer_jax.benchmark import records
from fer_jax.data import pipeline as pipelines
from fer_jax.data.examples import Examples
from fer_jax.distributed.parallel import Parallel


def measure(name: str, config: ConfigDict, examples: Examples, seconds: float, runs: int) -> dict[str, Any]:
    """The speed of pipeline `name`, "tf" or "device", on all local devices, with a step that only adds its images up.

    Args:
      config: the run's: batch, steps of a dispatch, the way to the devices.
      examples: what is fed, over and over.
      seconds: least duration of one run.
      runs: how often it is measured, after one dispatch that compiles.

    Returns:
      "pipeline", "batch", "images_per_s" (median), "runs" and "megabytes_per_s" (of uint8 images).
    """
    steps = config.parallel.steps_per_dispatch
    parallel = Parallel(config.parallel.api, config.batch_size, jax.local_devices())
    pipeline = pipelines.create(name, examples, config.seed, config.batch_size, parallel.shard)
    resident = parallel.replicate(pipeline.resident)

    def add_up(totals: Any, resident: Any, feed: Any) -> Any:
        def step(totals: Any, feed: Any) -> tuple[Any, None]:
            images, targets = pipeline.fetch(resident, feed)
            return (totals[0] + images.sum(dtype=jnp.uint32), totals[1] + targets.sum()), None

        return lax.scan(step, totals, feed)[0]

    compiled = parallel.compile(add_up, 2)
    zeros = parallel.replicate((np.uint32(0), np.float32(0)))
    feeds = pipeline.feeds(0, steps, 2**31 // steps)  # as many as anybody can wait for

    def dispatch() -> None:
        jax.block_until_ready(compiled(zeros, resident, parallel.split(next(feeds), axis=1)))

    def images_per_second() -> float:
        start, dispatches = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds or not dispatches:
            dispatch()
            dispatches += 1
        return dispatches * steps * config.batch_size / spent

    dispatch()
    speed = records.spread("images_per_s", [images_per_second() for _ in range(runs)])
    return {
        "pipeline": name,
        "batch": config.batch_size,
        **speed,
        "megabytes_per_s": speed["images_per_s"] * examples.images[0].nbytes / 1e6,
    }
